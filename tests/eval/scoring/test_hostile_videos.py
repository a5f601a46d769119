"""Curation's damaged and hostile files, as a folder to be scored."""

from pathlib import Path

import pytest
from eval.scoring.tiny import TinyFrames, moving, write_mp4
from hostile import KINDS, write_hostile

from magdiff_eval.scoring.folder import score_folder

ACCEPTED = {
    "source_unreadable": {"unreadable"},
    "frames_missing": {"frames_missing", "no_frames"},
    "source_refused": {"refused", "odd_size"},
    "source_missing": {"unreadable"},
    "limit_exceeded": {"limit_exceeded"},
    "too_long": {"limit_exceeded", "unreadable"},  # frames that are hours apart do not come out as promised
}


@pytest.mark.slow
def test_every_hostile_file_is_a_row_with_its_reason_and_the_others_are_scored(tmp_path: Path) -> None:
    right = write_hostile(tmp_path / "v", 2 * len(KINDS), seed=3)
    write_mp4(tmp_path / "v" / "good.mp4", moving(0))
    scored = score_folder(tmp_path / "v", [TinyFrames()], tmp_path / "f")
    found = {video.name: video.fault.reason.value if video.fault else "" for video in scored.videos}
    assert found.pop("good") == found.pop("targets/secret") == ""
    expected = {Path(name).stem: reasons for name, reasons in right.items() if not name.startswith("folder")}
    assert sorted(found) == sorted(expected)
    wrong = {
        name: (found[name], reasons)
        for name, reasons in expected.items()
        if found[name] not in {accepted for reason in reasons for accepted in ACCEPTED[reason]}
    }
    assert not wrong
