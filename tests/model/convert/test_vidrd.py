"""VidRD's checkpoint, made from its published names and layout, becomes the same UNet."""

import json
import re
import shutil
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.convert.vidrd import EXPECTED, MODULES
from magdiff_model.models.unet import MagDiffUNet3DConditionModel

UNET = {
    "block_out_channels": (32, 64),
    "attention_levels": (True, False),
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 16,
    "apa_mode": "text_only",
    "hfa_scales": 0,
}


def to_vidrd(name: str) -> str:
    for theirs, ours in MODULES.items():
        name = name.replace(f".{ours}.", f".{theirs}.")
    return name


def of_text(unet, text):
    return unet.condition(text, None, None, (10, 10))


@pytest.fixture
def unet() -> MagDiffUNet3DConditionModel:
    """Return a UNet whose every weight is random, temporal layers too."""
    made = MagDiffUNet3DConditionModel(**UNET).eval()
    generator = torch.Generator().manual_seed(8)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.08
    return made


@pytest.fixture
def tensors(unet, stable_diffusion) -> dict[str, torch.Tensor]:
    """Return what VidRD's Lightning checkpoint holds, with a text encoder of its own and a VAE."""
    text = load_file(stable_diffusion / "text_encoder" / "model.safetensors")
    state = {f"unet.{to_vidrd(name)}": value for name, value in unet.state_dict().items()}
    state |= {f"text_encoder.text_model.{name}": value + 1 for name, value in text.items()}
    state["text_encoder.text_model.embeddings.position_ids"] = torch.arange(16)[None]
    return OrderedDict(state | {"vae.encoder.conv_in.bias": torch.zeros(8), "clip.logit_scale": torch.zeros(())})


@pytest.fixture
def convert_file(run, stable_diffusion, tmp_path):
    def convert(content: object, **changes: object):
        torch.save(content, tmp_path / "ModelT2V.pth")
        return run(tmp_path / "ModelT2V.pth", **{"parts": str(stable_diffusion)} | changes)

    return convert


@torch.no_grad()
def test_vidrds_names_become_the_same_unet(unet, tensors, convert_file, noisy) -> None:
    made = load_pipeline(convert_file({"state_dict": tensors, "hyper_parameters": dict(EXPECTED), "epoch": 3})).unet
    assert (made.config.temporal_layout, made.config.position_code) == ("vidrd", "residual")
    sample, timestep, text = noisy
    expected = unet(sample, timestep, of_text(unet, text))
    torch.testing.assert_close(made(sample, timestep, of_text(made, text)), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_every_temporal_convolution_computes_what_vidrds_list_of_layers_does(unet, tensors) -> None:
    compared = 0
    for name, module in unet.named_modules():
        if not re.search(r"temp_convs\.\d+$", name):
            continue
        width = module.conv1[0].num_channels
        layers = [
            [nn.GroupNorm(8, width), nn.SiLU(), nn.Dropout(0.1), nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))]
            for _ in range(4)
        ]
        theirs = nn.ModuleList(layer for four in layers for layer in four).eval()
        start = f"unet.{name}.convs."
        theirs.load_state_dict({key.removeprefix(start): tensors[key] for key in tensors if key.startswith(start)})
        video = torch.randn(2, width, 5, 3, 3)
        hidden = video
        for layer in theirs:
            hidden = layer(hidden)
        ours = module(video.transpose(1, 2).flatten(0, 1), num_frames=5).unflatten(0, (2, 5)).transpose(1, 2)
        torch.testing.assert_close(ours, video + hidden, rtol=0, atol=1e-5)
        compared += 1
    assert compared == 2 * 2 + 2 + 2 * 3


def test_the_files_text_encoder_wins_and_the_rest_is_ignored_for_a_reason(
    tensors, convert_file, stable_diffusion, capsys
) -> None:
    made = load_pipeline(convert_file({"state_dict": tensors}))
    before = load_file(stable_diffusion / "text_encoder" / "model.safetensors")
    after = made.text_encoder.state_dict()
    torch.testing.assert_close(after, {name: value + 1 for name, value in before.items()}, rtol=0, atol=0)
    told = capsys.readouterr().out
    for reason in ("1 keys: the VAE is the pipeline's", "1 keys: a CLIP that VidRD measures", "1 keys: a constant"):
        assert reason in told
    assert "note: the file does not say how it was trained" in told


def test_the_unet_alone_is_enough(unet, tensors, convert_file) -> None:
    alone = {name.removeprefix("unet."): value for name, value in tensors.items() if name.startswith("unet.")}
    made = load_pipeline(convert_file(alone)).unet
    torch.testing.assert_close(made.state_dict(), unet.state_dict(), rtol=0, atol=0)


class Code:
    def __reduce__(self):
        return print, ("code in a checkpoint ran",)


def test_a_file_with_code_is_refused_and_the_code_does_not_run(tensors, convert_file, capsys) -> None:
    with pytest.raises(ValueError, match="holds Python objects beside its weights, and reading those can run code"):
        convert_file({"state_dict": tensors, "hyper_parameters": Code()})
    assert "code in a checkpoint ran" not in capsys.readouterr().out


def test_what_does_not_fit_is_refused(tensors, convert_file, stable_diffusion) -> None:
    for changes, words in (
        ({"parts": None}, "give the Stable Diffusion 2.1 base that VidRD began with as --parts"),
        ({"position_code": "branch"}, "would give noise with others"),
        ({"temporal_layout": "modelscope"}, "would give noise with others"),
    ):
        with pytest.raises(ValueError, match=words):
            convert_file({"state_dict": tensors}, **changes)
    with pytest.raises(ValueError, match="was trained with prepend_first_frame is True"):
        convert_file({"state_dict": tensors, "hyper_parameters": EXPECTED | {"prepend_first_frame": True}})
    with pytest.raises(ValueError, match=r"is not VidRD's: it has a.weight, and no unet"):
        convert_file({"state_dict": {"a.weight": torch.zeros(3)}})
    with pytest.raises(ValueError, match=r"no place for, 1 in all, such as unet.temp_transformer.norm.weight"):
        convert_file({"state_dict": tensors | {"unet.temp_transformer.norm.weight": torch.zeros(32)}})
    with pytest.raises(ValueError, match=r"lack weights, 1 in all.*temporal.norm.bias"):
        gone = "unet.mid_block.attentions.0.transformer_blocks.0.temp_norm.bias"
        convert_file({"state_dict": {name: value for name, value in tensors.items() if name != gone}})
    with pytest.raises(ValueError, match="the source's text encoder is not the pipeline's: 1 weights differ"):
        gone = "text_encoder.text_model.embeddings.position_embedding.weight"
        convert_file({"state_dict": {name: value for name, value in tensors.items() if name != gone}})
    with pytest.raises(ValueError, match="holds no table of weights"):
        convert_file([1, 2])


def test_parts_that_predict_v_are_refused(convert_file, tensors, stable_diffusion, tmp_path) -> None:
    parts = shutil.copytree(stable_diffusion, tmp_path / "sd-v")
    path = parts / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(ValueError, match="VidRD's weights predict the noise: give the 512 px base"):
        convert_file({"state_dict": tensors}, parts=str(parts))
