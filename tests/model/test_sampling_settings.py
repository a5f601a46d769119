"""What no video can be sampled with is refused, with the value."""

from dataclasses import replace

import pytest
import torch

from magdiff_model.sampling_settings import SamplingSettings


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["guidance_scale", "image_guidance_scale", "frame_rate"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} is {value}; it must"):
        replace(SamplingSettings(), **{name: value}).check()


@pytest.mark.parametrize("device", ["cuba", "", "meta", "mps:7", "xla", "cuda:-1"])
def test_devices_that_torch_cannot_use_here_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"^--device {device} is none that torch has here; give cpu, cuda or auto$"):
        SamplingSettings(device=device).usable_device()


@pytest.mark.parametrize(
    ("device", "num_gpus", "words"),
    [
        ("cuda", 0, "torch finds no GPU here; give cpu or auto"),
        ("cuda:0", 0, "torch finds no GPU here; give cpu or auto"),
        ("cuda:2", 2, "torch finds only cuda:0, cuda:1 here; give cuda, cpu or auto"),
    ],
)
def test_gpus_that_are_not_there_are_refused(monkeypatch, device: str, num_gpus: int, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    with pytest.raises(ValueError, match=f"^--device {device}: {words}$"):
        SamplingSettings(device=device).usable_device()


def test_devices_that_are_there_are_taken(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert SamplingSettings(device="cuda:1").usable_device() == torch.device("cuda", 1)
    assert SamplingSettings(device="cpu").usable_device() == torch.device("cpu")
