"""`SamSegmenter` on tiny random weights of segment-anything's classes, and the published sizes without weights."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import segment_anything
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TINY_SAM, save_tiny_sam

from magdiff_curation import sam as sam_module
from magdiff_curation.clips.masks import Box, Image
from magdiff_curation.sam import ARCHITECTURES, SamSegmenter, load_sam, new_sam, save_sam
from magdiff_curation.toyworld.scene import render, sample_scene

BOX = (20.0, 10.0, 70.0, 50.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("sam") / "tiny")


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> SamSegmenter:
    return SamSegmenter(folder)


@pytest.fixture
def published(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file in the published form, a pickled state dict, whose name says an architecture that is tiny here."""
    monkeypatch.setitem(sam_module.ARCHITECTURES, "vit_b", TINY_SAM)
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(load_file(folder / "model.safetensors"), path)
    return path


def picture(index: int, height: int = 64, width: int = 96) -> Image:
    return render(sample_scene(6, index), height=height, width=width, num_frames=1)[0][0]


def test_a_saved_sam_comes_back_with_its_architecture_and_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = new_sam(TINY_SAM)
    save_sam(before, TINY_SAM, tmp_path / "new" / "folder")
    after = load_sam(tmp_path / "new" / "folder")
    assert json.loads((tmp_path / "new" / "folder" / "config.json").read_text())["patch_size_px"] == 8
    assert list(after.state_dict()) == list(before.state_dict())
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in after.state_dict().items())
    assert not after.training
    assert not any(weight.requires_grad for weight in after.parameters())


def test_a_published_file_is_told_by_its_name_and_gives_the_same_masks(
    segmenter: SamSegmenter, published: Path
) -> None:
    other = SamSegmenter(published)
    assert np.array_equal(other.segment(picture(0), BOX), segmenter.segment(picture(0), BOX))
    assert other.name.startswith("segment-anything sam_vit_b_01ec64.pth@")
    assert segmenter.name.startswith("segment-anything tiny@")
    assert len(segmenter.name.partition("@")[2]) == 12


def test_the_name_changes_with_the_weights(segmenter: SamSegmenter, tmp_path: Path) -> None:
    copy = save_tiny_sam(tmp_path / "tiny")
    assert SamSegmenter(copy).name == segmenter.name
    weights = load_file(copy / "model.safetensors")
    weights["mask_decoder.iou_token.weight"] += 1
    save_file(weights, copy / "model.safetensors")
    assert SamSegmenter(copy).name != segmenter.name


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (33, 90), (200, 310)])
def test_the_mask_has_the_pictures_size(segmenter: SamSegmenter, size: tuple[int, int]) -> None:
    mask = segmenter.segment(picture(0, *size), (4.0, 4.0, size[1] - 4.0, size[0] - 4.0))
    assert mask.shape == size
    assert mask.dtype == np.bool_
    assert 0 < mask.mean() < 1


def test_every_picture_has_its_own_embedding(folder: Path) -> None:
    first, second = picture(0), picture(1)
    alone = [SamSegmenter(folder).segment(image, BOX) for image in (first, second)]
    assert not np.array_equal(*alone)
    together = SamSegmenter(folder)
    in_turn = [together.segment(image, BOX) for image in (first, second, first)]
    assert np.array_equal(in_turn[0], alone[0])
    assert np.array_equal(in_turn[1], alone[1])
    assert np.array_equal(in_turn[2], alone[0])
    changed = first.copy()
    assert np.array_equal(together.segment(changed, BOX), alone[0])
    changed[:] = second  # the same array with other contents is another picture
    assert np.array_equal(together.segment(changed, BOX), alone[1])


def test_the_box_matters_and_only_its_part_inside_the_picture_counts(segmenter: SamSegmenter) -> None:
    image = picture(0)
    mask = segmenter.segment(image, (0.0, 0.0, 40.0, 40.0))
    assert np.array_equal(segmenter.segment(image, (-50.0, -3.0, 40.0, 40.0)), mask)
    assert not np.array_equal(segmenter.segment(image, (50.0, 20.0, 90.0, 60.0)), mask)


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 10.0, 10.0, 40.0),
        (40.0, 10.0, 20.0, 30.0),
        (10.0, 30.0, 40.0, 30.0),
        (float("nan"), 10.0, 40.0, 40.0),
        (10.0, 10.0, float("inf"), 40.0),
        (-60.0, 10.0, -20.0, 40.0),
        (96.0, 10.0, 160.0, 40.0),
    ],
)
def test_a_box_without_area_in_the_picture_is_refused_with_its_value(segmenter: SamSegmenter, box: Box) -> None:
    with pytest.raises(ValueError, match="box") as raised:
        segmenter.segment(picture(0), box)
    assert str(box) in str(raised.value)


@pytest.mark.parametrize("name", ["sam_vit_b_01ec64.pth", "some_folder"])
def test_missing_weights_say_where_they_are_published(tmp_path: Path, name: str) -> None:
    (tmp_path / "some_folder").mkdir()
    with pytest.raises(ValueError, match=r"are not at .*download sam_vit_b_01ec64.pth from https://.*config.json"):
        SamSegmenter(tmp_path / name)


def test_a_file_whose_name_says_no_architecture_is_refused(published: Path) -> None:
    path = published.rename(published.with_name("weights.pth"))
    with pytest.raises(ValueError, match=r"weights.pth: the file's name must say the architecture \(vit_b, vit_l"):
        SamSegmenter(path)


def test_weights_of_another_architecture_are_refused(folder: Path, published: Path, tmp_path: Path) -> None:
    wider = tmp_path / "wider"
    save_sam(new_sam(TINY_SAM), dataclasses.replace(TINY_SAM, embed_dim=32), wider)
    with pytest.raises(ValueError, match=r"weights of .*wider do not fit their architecture: .*size mismatch"):
        SamSegmenter(wider)
    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    torch.save(weights, published)
    with pytest.raises(ValueError, match=r"do not fit their architecture: .*iou_token"):
        SamSegmenter(published)


def test_a_config_with_an_unknown_size_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_sam(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"embedding": 3}))
    with pytest.raises(ValueError, match="there is no setting 'embedding'; did you mean 'embed_dim'"):
        SamSegmenter(folder)


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the file ran code",))


def test_a_pickle_that_runs_code_and_a_file_that_is_cut_off_are_refused(published: Path) -> None:
    content = published.read_bytes()
    published.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"sam_vit_b_01ec64.pth cannot be read"):
        SamSegmenter(published)
    torch.save({"image_encoder.pos_embed": Harmful()}, published, pickle_module=pickle)
    with pytest.raises(ValueError, match=r"sam_vit_b_01ec64.pth cannot be read"):
        SamSegmenter(published)


def test_a_folder_whose_weights_are_cut_off_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_sam(tmp_path / "tiny")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"tiny cannot be read"):
        SamSegmenter(folder)


@pytest.mark.parametrize(("name", "millions"), [("vit_b", 93.7), ("vit_l", 312.3), ("vit_h", 641.1)])
def test_full_size_has_the_published_number_of_parameters(name: str, millions: float) -> None:
    """segment-anything's own builders are the reference; the numbers are those of the published files' tensors."""
    with torch.device("meta"):
        ours, theirs = new_sam(ARCHITECTURES[name]), segment_anything.sam_model_registry[name]()
    assert sum(weight.numel() for weight in ours.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert ours.image_encoder.img_size == theirs.image_encoder.img_size
    assert ours.pixel_mean.shape == theirs.pixel_mean.shape
    windows = [[block.window_size for block in model.image_encoder.blocks] for model in (ours, theirs)]
    assert windows[0] == windows[1]
