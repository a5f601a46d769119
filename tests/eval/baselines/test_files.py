"""Files that are missing, pickles, damaged weights and other pipelines are told before anything runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from magdiff_eval.baselines import BASELINES, baseline_of, load_baseline, problems


@pytest.fixture
def copied(weights: Path, tmp_path: Path) -> Path:
    return shutil.copytree(weights, tmp_path / "my weights")


@pytest.mark.parametrize("name", BASELINES)
def test_toy_checkpoints_are_complete_and_an_empty_folder_lacks_every_file(
    weights: Path, tmp_path: Path, name: str
) -> None:
    baseline = baseline_of(name)
    assert problems(baseline, weights) == []
    told = problems(baseline, tmp_path)
    files = [f"{tmp_path / part.name / file}: missing" for part in baseline.parts for file in part.files]
    commands = [f"get them: {part.command(tmp_path)}" for part in baseline.parts]
    assert sorted(told) == sorted([*files, *commands])
    assert not any(file.endswith((".bin", ".ckpt", ".pt")) for part in baseline.parts for file in part.files)


def test_all_that_is_missing_is_listed_at_once_with_commands_for_just_that(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "stable-diffusion-v1-5" / "unet" / "config.json").unlink()
    (copied / "stable-diffusion-v1-5" / "tokenizer" / "merges.txt").unlink()
    shutil.rmtree(copied / "IP-Adapter")
    monkeypatch.setattr("magdiff_eval.baselines.parts.network", None)  # nothing is loaded
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        load_baseline("animatediff-ip-adapter", copied)
    assert [line.strip().replace(str(copied), "W") for line in str(caught.value).splitlines()] == [
        "animatediff-ip-adapter cannot be loaded from W:",
        "W/stable-diffusion-v1-5/tokenizer/merges.txt: missing",
        "W/stable-diffusion-v1-5/unet/config.json: missing",
        "get them: hf download stable-diffusion-v1-5/stable-diffusion-v1-5 tokenizer/merges.txt unet/config.json "
        "--local-dir 'W/stable-diffusion-v1-5'",
        "W/IP-Adapter/models/ip-adapter_sd15.safetensors: missing",
        "W/IP-Adapter/models/image_encoder/config.json: missing",
        "W/IP-Adapter/models/image_encoder/model.safetensors: missing",
        "get them: hf download h94/IP-Adapter models/ip-adapter_sd15.safetensors models/image_encoder/config.json "
        "models/image_encoder/model.safetensors --local-dir 'W/IP-Adapter'",
    ]


@pytest.mark.parametrize(
    ("name", "weights_file", "pickle"),
    [
        ("i2vgen-xl", "i2vgen-xl/unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("instruct-pix2pix", "instruct-pix2pix/text_encoder/model.safetensors", "pytorch_model.bin"),
        ("animatediff-ip-adapter", "IP-Adapter/models/ip-adapter_sd15.safetensors", "ip-adapter_sd15.bin"),
    ],
)
def test_a_pickle_is_not_read_and_the_command_gets_safetensors(
    copied: Path, name: str, weights_file: str, pickle: str
) -> None:
    path = copied / weights_file
    torch.save(load_file(path), path.parent / pickle)
    path.unlink()
    told = f"{path}: missing; {pickle} is a pickle, and is not read"
    repository, _, inside = weights_file.partition("/")
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        load_baseline(name, copied)
    assert told in str(caught.value)
    assert f"/{repository} {inside} --local-dir" in str(caught.value)


def test_another_pipeline_in_the_folder_is_told(copied: Path) -> None:
    path = copied / "text-to-video-ms-1.7b" / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "WanPipeline"}))
    with pytest.raises(ValueError, match="is a WanPipeline, not a TextToVideoSDPipeline: move it away and get ali-vil"):
        load_baseline("modelscope-t2v", copied)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is a damaged model_index\.json, not a TextToVideoSDPipeline"):
        load_baseline("modelscope-t2v", copied)


@pytest.mark.parametrize(
    ("weights_file", "tensor"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "conv_in.weight"),
        ("text_encoder/model.safetensors", "text_model.encoder.layers.1.mlp.fc2.bias"),
    ],
)
def test_weights_that_a_library_would_fill_in_at_random_are_refused(
    copied: Path, weights_file: str, tensor: str
) -> None:
    path = copied / "instruct-pix2pix" / weights_file
    tensors = load_file(path)
    del tensors[tensor]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lacks {tensor.removeprefix('text_model.')} of a"):
        load_baseline("instruct-pix2pix", copied, device="cpu")


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"])
def test_a_download_that_broke_off_is_refused_with_its_folder(copied: Path, part: str) -> None:
    path = copied / "text-to-video-ms-1.7b" / f"{part}.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"{path.parent.name} is no \w+: .*; get it again"):
        load_baseline("modelscope-t2v", copied, device="cpu")


def test_gated_weights_say_what_to_do_first() -> None:
    part = baseline_of("stable-video-diffusion").parts[0]
    assert part.command(Path("w"), ["vae/config.json"]) == (
        "hf download stabilityai/stable-video-diffusion-img2vid-xt vae/config.json "
        "--local-dir w/stable-video-diffusion-img2vid-xt (accept its licence on the model's page first)"
    )
