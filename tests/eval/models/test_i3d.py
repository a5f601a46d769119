"""Golden values: piergiaj/pytorch-i3d's pytorch_i3d.py with the same filling, its logits averaged over time.

The two agreed to 1e-5 in every logit (of up to 43), exactly where there is one window in time.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from eval.models.filling import fill

from magdiff_eval.models.i3d import InceptionI3d

LOGITS = (0, 1, 100, 200, 399)


@pytest.fixture(scope="module")
def network() -> Iterator[InceptionI3d]:
    made = InceptionI3d()
    fill(made, 7)
    with torch.inference_mode():
        yield made


def video(num_frames: int, num_videos: int = 1) -> torch.Tensor:
    random = np.random.RandomState(8)
    return torch.from_numpy(random.uniform(-1, 1, (num_videos, 3, num_frames, 224, 224)).astype(np.float32))


def test_i3d_has_the_parameters_and_names_of_the_public_files() -> None:
    state = InceptionI3d().state_dict()
    assert sum(parameter.numel() for parameter in InceptionI3d().parameters()) == 12_697_264
    assert tuple(state["Conv3d_1a_7x7.conv3d.weight"].shape) == (64, 3, 7, 7, 7)
    assert tuple(state["Mixed_4f.b2b.conv3d.weight"].shape) == (128, 32, 3, 3, 3)
    assert tuple(state["logits.conv3d.weight"].shape) == (400, 1024, 1, 1, 1)
    assert tuple(state["logits.conv3d.bias"].shape) == (400,)
    units = 1 + 2 + 9 * 6
    assert sum(name.endswith("conv3d.weight") for name in state) == units + 1
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert sum(key.endswith(f".bn.{name}") for key in state) == units
    assert len(state) == units * 6 + 2


@pytest.mark.parametrize(
    ("num_frames", "golden"),
    [
        (9, (4.905198, -10.054436, -9.472595, -12.369696, -3.569465)),
        (16, (8.709830, -12.764719, -10.754901, -17.394802, -2.999834)),
        (17, (11.413910, -13.941364, -11.231736, -16.483372, -3.551626)),
    ],
)
def test_logits_are_those_of_the_reference(network: InceptionI3d, num_frames: int, golden: tuple[float, ...]) -> None:
    logits = network(video(num_frames))
    assert logits.shape == (1, 400)
    assert logits[0, list(LOGITS)].tolist() == pytest.approx(golden, abs=5e-4)


def test_the_norms_epsilon_is_that_asked_for() -> None:
    made = InceptionI3d(bn_eps=1e-5)
    fill(made, 7)
    with torch.inference_mode():
        logits = made(video(9))
    golden = (4.959785, -10.150405, -9.563607, -12.48377, -3.612309)
    assert logits[0, list(LOGITS)].tolist() == pytest.approx(golden, abs=5e-4)


def test_logits_are_linear_in_the_pooled_features_and_do_not_depend_on_the_batch(network: InceptionI3d) -> None:
    both = video(9, num_videos=2)
    features, last = network.pooled_features(both), network(both[1:])
    assert features.shape == (2, 1024)
    assert features[0, [0, 511, 1023]].tolist() == pytest.approx((2.643805, 1.403939, 0), abs=1e-4)
    weight, bias = network.logits.conv3d.weight.flatten(1), network.logits.conv3d.bias
    torch.testing.assert_close(last, features[1:] @ weight.T + bias, rtol=0, atol=1e-4)


def test_other_numbers_of_classes_change_the_last_layer_alone() -> None:
    network = InceptionI3d(num_classes=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264 - 397 * 1025


@pytest.mark.parametrize("num_frames", [1, 8])
def test_eight_frames_and_fewer_are_refused_with_what_to_do(network: InceptionI3d, num_frames: int) -> None:
    with pytest.raises(ValueError, match=rf"I3D got {num_frames} frames and takes 9 or more: .* repeat or resample"):
        network(torch.zeros(1, 3, num_frames, 224, 224))


@pytest.mark.parametrize("shape", [(1, 3, 16, 112, 112), (1, 16, 3, 224, 224), (3, 16, 224, 224)])
def test_other_shapes_are_refused(network: InceptionI3d, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \[B, 3, T, 224, 224\]: make it with prepare_clips"):
        network(torch.zeros(shape))
