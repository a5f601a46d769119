from pathlib import Path

import pytest
from eval.models.tiny_hub import save_clip, save_dino

from magdiff_eval.weights import stamp_of
from magdiff_eval.weights.hub import load_clip, load_dino, load_toyworld_clip


def test_dino_without_a_published_hash_is_taken_and_stamped_so(tmp_path: Path) -> None:
    save_dino(tmp_path / "dino-vits16")
    stamp = stamp_of(load_dino(tmp_path))
    assert stamp.checked == "nothing: no published sha256 is known"
    assert [one.file for one in stamp.beside] == ["config.json", "preprocessor_config.json"]


def test_another_clip_than_the_published_is_refused_unless_asked_for(tmp_path: Path) -> None:
    save_clip(tmp_path / "clip-vit-large-patch14")
    with pytest.raises(ValueError, match=r"1,?710,?540,?580"):
        load_clip("clip-l14", tmp_path)
    stamp = stamp_of(load_clip("clip-l14", tmp_path, unchecked=True))
    assert stamp.checked.startswith("taken as it is")


def test_missing_weights_are_told_with_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hf download yuvalkirstain/PickScore_v1 --local-dir"):
        load_clip("pickscore", tmp_path)


def test_the_zoos_clip_is_stamped_with_both_its_encoders() -> None:
    stamp = stamp_of(load_toyworld_clip())
    assert (stamp.file, stamp.beside[0].file) == (
        "image_encoder/model.safetensors",
        "text_encoder/model.safetensors",
    )


def test_without_the_zoo_its_clip_is_told_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run in the repository"):
        load_toyworld_clip(tmp_path)
