"""A run that is killed with SIGKILL at any moment, and run again, gives what one run would have given."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from eval.scoring.tiny import TinyClips, moving, write_mp4, write_pictures

from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.scoring.engine import EngineSettings
from magdiff_eval.scoring.folder import score_folder
from magdiff_eval.scoring.lines import read_lines

KILLS = 8
NUM_VIDEOS = 60


@pytest.mark.slow
def test_no_video_is_scored_twice_and_none_is_missed_and_the_number_is_the_same(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    for number in range(NUM_VIDEOS):
        if number % 2:
            write_mp4(videos / f"{number:03d}.mp4", moving(number, 8))
        else:
            write_pictures(videos / f"{number:03d}", moving(number, 8))
    (videos / "broken.mp4").write_bytes(b"no video")
    whole = score_folder(videos, [TinyClips(log=log)], tmp_path / "whole", report=lambda line: None)
    rows = whole.features("tiny")
    shown_as = dict(zip(log.read_text().splitlines(), whole.counted("tiny"), strict=True))
    assert len(shown_as) == NUM_VIDEOS

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    script = Path(__file__).with_name("killed_scoring.py")
    command = [sys.executable, str(script), str(videos), str(tmp_path / "killed"), str(KILLS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["distance"] == frechet_distance_from_features(rows[::2], rows[1::2]).hex()
    assert found["rows"] == [video.row() for video in whole.videos]
    assert [run["status"] for run in found["runs"]].count(signal.SIGKILL) >= KILLS // 2
    assert found["runs"][-1]["status"] == 0
    for run in found["runs"]:  # nothing that was kept is shown again
        assert not {shown_as[line].content for line in run["shown"]} & set(run["known"])
        assert len(set(run["shown"])) == len(run["shown"])
    lost = sum(len(run["shown"]) for run in found["runs"]) - NUM_VIDEOS
    assert 0 <= lost <= KILLS * EngineSettings(group=3).group
    main = tmp_path / "killed" / "features" / "main"
    for name in (f"{TinyClips().key}.jsonl", "videos.jsonl"):
        contents = [line["content"] for line in read_lines(main / name)]
        assert len(set(contents)) == len(contents) == NUM_VIDEOS + (name == "videos.jsonl")
