"""The extractor is written on the spot; the committed one has its own tests beside the zoo's."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_eval.models.toyworld import ToyworldExtractor
from magdiff_eval.weights import load_toyworld, stamp_of
from magdiff_eval.weights.registry import EXTRACTOR_SHA256


def test_half_precision_weights_give_the_same_logits_and_a_stamp_that_tells_they_are_not_the_zoos(
    tmp_path: Path,
) -> None:
    torch.manual_seed(3)
    network = ToyworldExtractor()
    halves = {name: value.half() for name, value in network.state_dict().items()}
    save_file(halves, tmp_path / "extractor.safetensors")
    network.load_state_dict({name: value.float() for name, value in halves.items()})
    told = f"wrong sha256: {sha256_of_file(tmp_path / 'extractor.safetensors')}, not {EXTRACTOR_SHA256}"
    with pytest.raises(ValueError, match=rf"weights for toyworld: .*extractor\.safetensors: {told}.*unchecked=True"):
        load_toyworld(tmp_path)
    loaded = load_toyworld(tmp_path, unchecked=True)
    video = torch.rand(2, 3, 8, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(loaded(video), network(video))
    assert not loaded.training
    assert stamp_of(loaded).checked == f"taken as it is: {told}"
    assert stamp_of(loaded).notes == ("toyworld's own extractor: not comparable with published numbers",)


def test_a_missing_extractor_is_named_with_where_it_is(tmp_path: Path) -> None:
    told = r"extractor\.safetensors: missing; to get it: it is part of the repository, in zoo/toyworld_extractor"
    with pytest.raises(ValueError, match=told):
        load_toyworld(tmp_path)


def test_a_truncated_extractor_and_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "extractor.safetensors"
    state = ToyworldExtractor().state_dict()
    save_file(state | {"squeeze.bias": torch.zeros(5)}, path)
    with pytest.raises(ValueError, match=r"squeeze\.bias has shape \[5\], and squeeze\.bias is \[16\]"):
        load_toyworld(tmp_path, unchecked=True)
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(ValueError, match=r"extractor\.safetensors cannot be read .*get it again"):
        load_toyworld(tmp_path, unchecked=True)
