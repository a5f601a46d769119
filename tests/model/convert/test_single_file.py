"""A whole model in one file is named as such first, with the way to a folder; a pickle is not opened."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

UNET = "model.diffusion_model.input_blocks.0.0.weight"
STABLE_DIFFUSION_2 = [UNET, "first_stage_model.encoder.conv_in.weight", "cond_stage_model.model.positional_embedding"]
IS_LDM = r"is a single file in Stable Diffusion's original \(LDM\) layout"
TO_FOLDER = r"StableDiffusionPipeline.from_single_file\('.*', config='sd2-community.*'\).save_pretrained\('FOLDER'\)"


def tensors(names: list[str]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(2) for name in names}


@pytest.mark.parametrize("with_parts", [False, True])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_ldm_file_is_named_before_anything_else_is_asked_for(
    run, tmp_path, stable_diffusion, suffix, with_parts
) -> None:
    file = tmp_path / f"v2-1_512-ema-pruned{suffix}"
    if suffix == ".safetensors":
        save_file(tensors(STABLE_DIFFUSION_2), file)
    else:
        torch.save({"state_dict": tensors(STABLE_DIFFUSION_2)}, file)
    with pytest.raises(ValueError, match=f"{file.name} {IS_LDM}: make a folder.*{TO_FOLDER}"):
        run(file, parts=str(stable_diffusion) if with_parts else None)


@pytest.mark.parametrize(
    ("name", "names", "words"),
    [
        ("a", [UNET, "conditioner.embedders.0.x"], f"{IS_LDM}, and by its text encoder SDXL: start from"),
        ("a", [UNET, "cond_stage_model.transformer.x"], f"{IS_LDM}, and by its text encoder Stable Diffusion 1.x"),
        ("sd_turbo", STABLE_DIFFUSION_2, f"{IS_LDM}, and by its name distilled, for 1 to 4 steps without guidance"),
        ("a", ["conv_in.weight", "conv_out.weight"], "is a UNet alone, in diffusers' layout: give the whole pipeline"),
        ("a", ["lora_unet.lora_up.weight"], r"is not VidRD's: it has lora_unet.lora_up.weight, and no unet"),
    ],
)
def test_other_files_are_named_too(run, tmp_path, name, names, words) -> None:
    save_file(tensors(names), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=words):
        run(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("suffix", [".ckpt", ".CKPT"])
def test_a_ckpt_is_refused_without_being_opened(run, tmp_path, stable_diffusion, monkeypatch, suffix) -> None:
    file = tmp_path / f"v2-1_512-ema-pruned{suffix}"
    file.write_bytes(b"never read")
    read = Path.open

    def closed(self: Path, *arguments: object, **options: object) -> object:
        assert self != file, "a .ckpt was opened"
        return read(self, *arguments, **options)

    def no_load(*_: object, **__: object) -> None:
        raise AssertionError("a .ckpt was loaded")

    monkeypatch.setattr(Path, "open", closed)
    monkeypatch.setattr("torch.load", no_load)
    for parts in (None, str(stable_diffusion)):
        with pytest.raises(ValueError, match=f"is a single .ckpt file.*a pickle.*was not opened.*{TO_FOLDER}.*name it"):
            run(file, parts=parts)


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_folder_around_a_single_file_leads_to_the_same_advice(run, tmp_path, suffix) -> None:
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "downloaded" / f"v2-1{suffix}").touch()
    with pytest.raises(ValueError, match=f"If v2-1{suffix} is Stable Diffusion 2.x in a single file.*{TO_FOLDER}"):
        run(tmp_path / "downloaded")


def test_a_file_that_is_nowhere_is_named_as_it_was_given(run) -> None:
    with pytest.raises(ValueError, match=r"there is no file https://huggingface.co/a/b/resolve/main/v2.safetensors"):
        run("https://huggingface.co/a/b/resolve/main/v2.safetensors")
