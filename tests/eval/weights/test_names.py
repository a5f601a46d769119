"""Names as public sources have them, beside those of the networks here."""

import pytest
import torch

from magdiff_eval.models.c3d import C3D
from magdiff_eval.models.i3d import InceptionI3d
from magdiff_eval.weights.names import c3d_name, i3d_name, translated


def test_the_networks_own_names_are_kept() -> None:
    with torch.device("meta"):
        i3d, c3d = InceptionI3d().state_dict(), C3D().state_dict()
    assert [i3d_name(name) for name in i3d if "num_batches" not in name] == [n for n in i3d if "num_batches" not in n]
    assert [c3d_name(name) for name in c3d] == list(c3d)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv3d_1a_7x7.conv3d.weight", "Conv3d_1a_7x7.conv3d.weight"),
        ("conv3d_2c_3x3.batch3d.running_var", "Conv3d_2c_3x3.bn.running_var"),
        ("mixed_4b.branch_0.batch3d.weight", "Mixed_4b.b0.bn.weight"),
        ("mixed_4b.branch_1.0.conv3d.weight", "Mixed_4b.b1a.conv3d.weight"),
        ("mixed_4b.branch_1.1.batch3d.running_mean", "Mixed_4b.b1b.bn.running_mean"),
        ("mixed_5c.branch_3.1.conv3d.weight", "Mixed_5c.b3b.conv3d.weight"),
        ("conv3d_0c_1x1.conv3d.bias", "logits.conv3d.bias"),
        ("RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/conv_3d/w:0", "Mixed_3b.b0.conv3d.weight"),
        ("RGB/inception_i3d/Mixed_3b/Branch_2/Conv3d_0b_3x3/batch_norm/beta:0", "Mixed_3b.b2b.bn.bias"),
        ("RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w:0", "Mixed_5b.b2b.conv3d.weight"),
        (
            "RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_1x1/batch_norm/moving_variance:0",
            "Mixed_5b.b2a.bn.running_var",
        ),
        ("RGB/inception_i3d/Mixed_4f/Branch_3/Conv3d_0b_1x1/conv_3d/w:0", "Mixed_4f.b3b.conv3d.weight"),
        ("RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b:0", "logits.conv3d.bias"),
        ("module.Mixed_3c.b2a.conv3d.weight", "Mixed_3c.b2a.conv3d.weight"),
    ],
)
def test_ports_of_i3d_are_understood(theirs: str, ours: str) -> None:
    assert i3d_name(theirs) == ours


@pytest.mark.parametrize(
    "name", ["layer1.0.weight", "Mixed_3b.b4.conv3d.weight", "Mixed_3b.b0.bn.scale", "conv1a.weight"]
)
def test_other_networks_names_are_not(name: str) -> None:
    assert i3d_name(name) is None


def test_c3ds_names_are_chainers_or_pytorchs() -> None:
    assert c3d_name("conv1a/W") == "conv1a.weight"
    assert c3d_name("conv5b/b") == "conv5b.bias"
    assert c3d_name("conv2.weight") == "conv2a.weight"
    assert c3d_name("fc8/W") == "fc8.weight"
    assert c3d_name("pre/W") is None


def test_two_names_for_one_tensor_are_refused() -> None:
    with pytest.raises(ValueError, match=r"both conv1a/W and conv1\.weight, which mean the same"):
        translated(["conv1a/W", "conv1.weight"], c3d_name)
