"""What cannot be converted is refused with the reason and what to do, before anything is written."""

import pytest
import torch
from safetensors.torch import load_file, save_file

UNETS = [
    ({"cross_attention_dim": 768, "use_linear_projection": False, "attention_head_dim": 8}, "Stable Diffusion 1.x"),
    ({"use_linear_projection": False}, "use_linear_projection is False"),
    ({"addition_embed_type": "text_time"}, "so it is SDXL"),
    ({"class_embed_type": "projection"}, "an unCLIP model"),
    ({"in_channels": 9}, "an inpainting, depth or upscaling model"),
    ({"transformer_layers_per_block": 2}, "transformer_layers_per_block is 2"),
    ({"freq_shift": 1}, "freq_shift is 1"),
    ({"invented_by_someone": "x"}, "invented_by_someone is 'x'"),
    ({"down_block_types": ["DownBlock2D", "DownBlock2D"]}, "has no such levels"),
    ({"attention_head_dim": [4, 8]}, r"they have 8, 8 channels, not 16.*\[5, 10, 20, 20\]"),
    ({"attention_head_dim": 4}, "they have 8, 16 channels, not 16"),
    ({"attention_head_dim": [2]}, "they have unknown channels"),
    ({"_class_name": "UNetMotionModel"}, "AnimateDiff's UNet"),
    ({"_class_name": "MagDiffUNet3DConditionModel"}, "a MagDiff pipeline already"),
    ({"_class_name": "OtherUNet"}, "has a OtherUNet: another family"),
    ({"_class_name": None}, "names no _class_name; get the checkpoint again"),
]


@pytest.mark.parametrize(("changes", "words"), UNETS)
def test_another_family_or_head_width_is_refused(stable_diffusion, run, change, changes, words) -> None:
    change(stable_diffusion / "unet" / "config.json", **changes)
    with pytest.raises(ValueError, match=words):
        run(stable_diffusion)


def test_the_heads_of_stable_diffusion_are_the_default(stable_diffusion, run) -> None:
    with pytest.raises(ValueError, match="they have 16, 16 channels, not 64"):
        run(stable_diffusion, head_channels=64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention_head_dim": 8}, "attention_head_dim is 8, not 16 channels a head.*ModelScope has 64"),
        ({"time_cond_proj_dim": 4}, "time_cond_proj_dim is 4"),
    ],
)
def test_modelscope_with_other_settings_is_refused(modelscope, run, change, changes, words) -> None:
    change(modelscope / "unet" / "config.json", **changes)
    with pytest.raises(ValueError, match=words):
        run(modelscope)


def test_choices_that_the_weights_do_not_leave_are_refused(modelscope, stable_diffusion, run) -> None:
    with pytest.raises(ValueError, match="leave out --temporal-layout"):
        run(modelscope, temporal_layout="vidrd")
    with pytest.raises(ValueError, match="leave out --position-code"):
        run(modelscope, position_code="branch")
    with pytest.raises(ValueError, match="leave out --position-code"):
        run(stable_diffusion, temporal_layout="modelscope", position_code="residual")
    with pytest.raises(ValueError, match="--parts goes with VidRD's file"):
        run(stable_diffusion, parts=str(stable_diffusion))
    with pytest.raises(ValueError, match="size_px is 15; the VAE makes a latent of 2 px"):
        run(stable_diffusion, size_px=15)
    with pytest.raises(ValueError, match="num_frames is 0: give 1 or more"):
        run(stable_diffusion, num_frames=0)
    with pytest.raises(ValueError, match=r"--revision main goes with a hub id, and .* is a folder here: leave it out"):
        run(stable_diffusion, revision="main")


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("model_index.json", {"vae": None}, "has nothing as vae; MagDiff needs AutoencoderKL"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel as text_encoder"),
        ("model_index.json", {"text_encoder_2": ["transformers", "CLIPTextModel"]}, "has 2 text encoders"),
        ("model_index.json", {"unet": None, "transformer": ["diffusers", "X"]}, "has no UNet, but"),
        (
            "text_encoder/config.json",
            {"hidden_size": 32},
            "states have 32 channels, the UNet's cross-attention takes 24",
        ),
        ("vae/config.json", {"latent_channels": 16}, "latents have 16 channels"),
        ("vae/config.json", {"block_out_channels": None}, "block_out_channels is None in .*vae/config.json, no list"),
        ("model_index.json", {"vae": ["diffusers"]}, "has nothing as vae; MagDiff needs AutoencoderKL"),
        ("scheduler/scheduler_config.json", {"beta_schedule": None}, "has no beta_schedule"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "predicts sample"),
    ],
)
def test_parts_that_are_missing_or_do_not_fit_are_refused(stable_diffusion, run, change, part, changes, words) -> None:
    change(stable_diffusion / part, **changes)
    with pytest.raises(ValueError, match=words):
        run(stable_diffusion)


def test_weights_that_are_not_what_the_config_describes_are_refused(stable_diffusion, run) -> None:
    file = stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors"
    good = load_file(file)
    for changed, words in (
        (
            {name: value for name, value in good.items() if name != "conv_in.bias"},
            "lack weights, 1 in all.*conv_in.bias",
        ),
        (good | {"add_embedding.bias": torch.zeros(3)}, "no place for, 1 in all, such as add_embedding.bias"),
        (good | {"conv_in.bias": torch.zeros(3)}, r"other shapes.*conv_in.bias \(3,\) instead of \(32,\)"),
        (good | {"conv_in.bias": torch.full((32,), torch.nan)}, "conv_in.bias has values that are not finite"),
    ):
        save_file(changed, file)
        with pytest.raises(ValueError, match=words):
            run(stable_diffusion)
    file.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"cannot read .*get it again"):
        run(stable_diffusion)
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(ValueError, match=r"it has diffusion_pytorch_model.fp16.safetensors: choose by --variant"):
        run(stable_diffusion)


def test_a_value_that_half_precision_does_not_hold_is_refused(stable_diffusion, run) -> None:
    file = stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"conv_in.bias": torch.full((32,), 1e6)}, file)
    with pytest.raises(ValueError, match="not finite in float16: choose --dtype float32"):
        run(stable_diffusion, dtype="float16")


def test_a_part_without_some_of_its_weights_is_refused(stable_diffusion, run) -> None:
    file = stable_diffusion / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if name != "decoder.conv_in.bias"}, file)
    with pytest.raises(ValueError, match=r"1 weights are missing or of another shape, such as decoder.conv_in.bias"):
        run(stable_diffusion)


def test_what_is_no_pipeline_is_named(stable_diffusion, run, tmp_path, change) -> None:
    with pytest.raises(ValueError, match="is no folder here and no hub id"):
        run(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there is no file"):
        run(tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="It is a single UNet2DConditionModel; give the whole pipeline's folder"):
        run(stable_diffusion / "unet")
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "config.json").write_text('{"_class_name": "MotionAdapter"}')
    with pytest.raises(ValueError, match="AnimateDiff's motion adapter"):
        run(tmp_path / "motion")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "ModelT2V.pth").touch()
    with pytest.raises(ValueError, match=r"If ModelT2V.pth is VidRD's, give the file itself"):
        run(tmp_path / "assets")
    with pytest.raises(ValueError, match="Give the folder above unet/"):
        run(tmp_path)


def test_a_hub_id_without_a_network_is_a_clear_error(run, stable_diffusion, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"no folder nobody/nothing here; .*network: hf download nobody/nothing"):
        run("nobody/nothing")
    assert "getting nobody/nothing from the hub" in capsys.readouterr().out
    with pytest.raises(ValueError, match="'nobody/clip' is not in the hub's cache here"):
        run(stable_diffusion, image_encoder="nobody/clip")


def test_without_a_fitting_image_encoder_nothing_is_converted(stable_diffusion, run, clip, tmp_path, change) -> None:
    with pytest.raises(ValueError, match="has no image encoder: give --image-encoder, for instance laion"):
        run(stable_diffusion, image_encoder=None)
    with pytest.raises(ValueError, match=r"--image-encoder './nowhere' is no folder here and no hub id \(owner/name\)"):
        run(stable_diffusion, image_encoder="./nowhere")
    with pytest.raises(ValueError, match="--image-encoder takes a CLIP"):
        run(stable_diffusion, image_encoder=str(stable_diffusion / "text_encoder"))
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((clip / name).read_bytes())
    change(tmp_path / "config.json", image_size=32)
    with pytest.raises(ValueError, match="it takes 32 px, its processor makes 16"):
        run(stable_diffusion, image_encoder=str(tmp_path))
