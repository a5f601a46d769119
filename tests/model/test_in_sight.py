"""Subjects outside what the model sees are told before the checkpoint is loaded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import ZOO

from magdiff_model.edit import Edit, edit
from magdiff_model.generate import Generate, generate
from magdiff_model.in_sight import check_frames, check_picture
from magdiff_model.video_command import Models


def masks_at(*columns: slice) -> np.ndarray:
    """One mask a slice of columns, of 160x128 px, whose middle square is x 16 to 144."""
    masks = np.zeros((len(columns), 128, 160), bool)
    for mask, part in zip(masks, columns, strict=True):
        mask[40:80, part] = True
    return masks


LEFT, MIDDLE, ALL = slice(2, 12), slice(60, 100), slice(10, 150)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", lambda _: pytest.fail("loaded"))


@pytest.mark.usefixtures("unloaded")
def test_a_pictures_subject_at_its_rim_is_told_with_both_places(media: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(masks_at(LEFT)[0].astype(np.uint8) * 255).save(tmp_path / "mask.png")
    command = Generate(
        checkpoint=str(ZOO),
        prompt="p",
        image=media / "image.png",
        mask=tmp_path / "mask.png",
        output=tmp_path / "o.gif",
    )
    told = (
        "the subject, at x 2 to 12 and y 40 to 80 of 160x128 px, lies outside the middle square, x 16 to 144 and "
        "y 0 to 128, which is all that the model sees: crop the picture around it, or choose another subject"
    )
    with pytest.raises(ValueError, match=f"^{told}$"):
        generate(command)


@pytest.mark.usefixtures("unloaded")
def test_an_edits_frames_without_the_subject_are_told_by_their_numbers_in_the_source(
    media: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    for number, mask in enumerate(masks_at(*([MIDDLE] * 4 + [LEFT] * 5 + [MIDDLE] * 7))):
        PillowImage.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{number}.png")
    command = Edit(
        checkpoint=str(ZOO),
        prompt="p",
        video=media / "video.mp4",
        masks=tmp_path / "masks",
        output=tmp_path / "o.gif",
    )
    with pytest.raises(ValueError, match=r"^frames \[4, 6, 8\]: the subject, .* lies outside .*: crop the video"):
        edit(command)


def test_a_subject_too_small_for_the_models_square_is_not_said_to_lie_outside() -> None:
    check_picture(masks_at(slice(60, 62)), 128)
    with pytest.raises(ValueError, match=r"at x 60 to 62 .* is too small, .* to be seen at 16 px: crop the picture"):
        check_picture(masks_at(slice(60, 62)), 16)


def test_where_the_background_is_kept_the_subject_may_come_and_go_but_not_stay_away() -> None:
    check_frames(masks_at(LEFT, MIDDLE), [0, 4], "background", 64)
    with pytest.raises(ValueError, match=r"frames \[0, 4\]: the subject, .* lies outside"):
        check_frames(masks_at(LEFT, LEFT), [0, 4], "background", 64)


def test_a_subject_that_fills_the_square_leaves_no_background_to_keep() -> None:
    filled = masks_at(ALL, MIDDLE)
    filled[0, :, 10:150] = True
    check_frames(filled, [0, 4], "subject", 64)
    with pytest.raises(ValueError, match=r"frames \[0\]: the subject fills the middle square, .* leave --keep out"):
        check_frames(filled, [0, 4], "background", 64)


def test_a_checkpoint_that_takes_whole_frames_may_have_the_subject_anywhere(media: Path, tmp_path: Path) -> None:
    index = json.loads((ZOO / "model_index.json").read_bytes())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"subject_masked": False}))
    masks = masks_at(LEFT)
    PillowImage.fromarray(masks[0].astype(np.uint8) * 255).save(tmp_path / "mask.png")
    command = Generate(checkpoint=str(tmp_path), image=media / "image.png", mask=tmp_path / "mask.png")
    models = Models(command)
    assert np.array_equal(command.shown(models.finder, 8, models.seen_px).masks, masks)
    assert Models(replace(command, checkpoint=str(ZOO))).seen_px == 64
