import json
from pathlib import Path

import numpy as np
import pytest
from tests_support import ZOO

from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_eval import robustness
from magdiff_eval.harness.toyworld import Spoilt
from magdiff_eval.robustness import RobustnessCommand, means_by_task, sheet, table


def test_sources_are_spoilt_as_far_as_is_said() -> None:
    frames, masks = render(sample_scene(1, 0), height=128, width=128, num_frames=2)
    grey, same = Spoilt(contrast=0.25).shown(frames, masks, 0)
    means = frames.mean(axis=(1, 2, 3)), grey.mean(axis=(1, 2, 3))
    assert grey.std() == pytest.approx(frames.std() / 4, rel=0.05)
    np.testing.assert_allclose(*means, atol=1)
    assert np.array_equal(same, masks)
    middle = np.full_like(frames, 128)
    noisy, _ = Spoilt(noise=20).shown(middle, masks, 0)
    assert noisy.std() == pytest.approx(20, rel=0.02)
    assert np.array_equal(noisy, Spoilt(noise=20).shown(middle, masks, 0)[0])
    grown, shrunk = (Spoilt(mask_error_px=error).shown(frames, masks, 0)[1] for error in (3, -3))
    assert (grown >= masks).all()
    assert (shrunk <= masks).all()
    assert grown.sum() > 1.1 * masks.sum() > 1.2 * shrunk.sum()
    unspoilt = Spoilt().shown(frames, masks, 0)
    assert np.array_equal(unspoilt[0], frames)
    assert np.array_equal(unspoilt[1], masks)


def test_a_smaller_subject_covers_less_and_is_otherwise_the_same_scene() -> None:
    scene = sample_scene(1, 0)
    small = Spoilt(subject_size=0.5).scene(scene)
    areas = [render(one, height=128, width=128, num_frames=1)[1].mean() for one in (scene, small)]
    assert areas[1] == pytest.approx(areas[0] / 4, rel=0.2)
    assert (small.action, small.background, small.subject.appearance) == (
        scene.action,
        scene.background,
        scene.subject.appearance,
    )
    with pytest.raises(ValueError, match="contrast and subject size are from 0 to 1"):
        Spoilt(contrast=2)


def test_means_are_told_for_each_task() -> None:
    rows = [
        {"name": "edit-00000", "scores": {"class": 1.0, "motion": 9.0}},
        {"name": "edit-00001", "scores": {"class": 0.0}},
        {"name": "generate-00000", "scores": {"class": 1.0}},
    ]
    assert means_by_task(rows) == {"edit: class": 0.5, "generate: class": 1.0}


def test_the_sheet_has_a_line_for_every_level_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(robustness, "LEVELS", {"contrast": (0.1,), "mask_error_px": (6,)})
    settings = RobustnessCommand(
        model=ZOO,
        output=tmp_path / "sheet",
        features=tmp_path / "features",
        num_clips=1,
        tasks=("edit",),
        steps=1,
        guidance_scale=1.0,
        precision="fp32",
        metrics=("motion",),
    )
    lines = sheet(settings)
    assert [(line["kind"], line["level"]) for line in lines] == [("none", 0), ("contrast", 0.1), ("mask_error_px", 6)]
    errors = [line["scores"]["edit: error-flat"] for line in lines]
    assert errors[1] < errors[0] / 50  # a grey subject is nearly its mean colour
    text = (tmp_path / "sheet" / "sheet.md").read_text()
    assert "| mask_error_px | 6 |" in text
    assert len(table(lines)[2]) == 3
    capsys.readouterr()
    assert sheet(settings) == lines == json.loads((tmp_path / "sheet" / "sheet.json").read_text())
    assert capsys.readouterr().out.count("1 videos, 1 of them made by earlier runs") == 3
