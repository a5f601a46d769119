"""pipelines/score_videos.py on Ray: killed and run again, it leaves the features that one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from eval.scoring.tiny import TinyClips, load_tiny, moving, write_mp4
from tests_support import ZOO

from magdiff_eval.scoring.engine import open_store, score_part
from magdiff_eval.scoring.folder import ScoredFolder, score_folder
from magdiff_eval.scoring.lines import read_lines
from magdiff_eval.scoring.videos import list_videos

ROOT = ZOO.parents[1]
RUN = """
import sys
from pathlib import Path
from eval.scoring.tiny import load_tiny
from score_videos import ScoreSettings, score, told
videos, features = map(Path, sys.argv[1:])
print(told(score(ScoreSettings(videos=videos, features=features, part_videos=4, workers=1, scorers=2), load_tiny)))
"""


def start(videos: Path, features: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'pipelines'}"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(videos), str(features)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_scoring_on_ray_that_was_killed_goes_on_and_gives_what_one_process_gives(tmp_path: Path) -> None:
    videos, features = tmp_path / "videos", tmp_path / "features"
    for number in range(30):
        write_mp4(videos / f"{number:03d}.mp4", moving(number))
    (videos / "broken.mp4").write_bytes(b"no video")

    killed = start(videos, features)
    until = time.monotonic() + 120
    while len(list(features.glob("part-*/videos.jsonl"))) < 2:
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    time.sleep(3)  # Ray's own processes end, once they see that it is gone
    kept = len(open_store(features, load_tiny(None)).videos)
    assert 2 <= kept < 31

    again = start(videos, features)
    said = again.communicate(timeout=180)[0]
    assert again.returncode == 0, said
    assert f"{31 - kept} of 31 videos to score" in said
    assert "tiny: 30 of 31 videos count" in said
    assert "1 videos with unreadable" in said

    store = open_store(features, load_tiny(None))
    assert store.parts() == ["main"]
    found = ScoredFolder(list_videos(videos), load_tiny(None), store)
    whole = score_folder(videos, load_tiny(None), tmp_path / "whole", report=lambda line: None)
    assert [video.row() for video in found.videos] == [video.row() for video in whole.videos]
    for name in ("tiny", "tiny-frames"):
        np.testing.assert_array_equal(found.features(name), whole.features(name))
    contents = [line["content"] for line in read_lines(features / "main" / f"{TinyClips().key}.jsonl")]
    assert len(set(contents)) == len(contents) == 30
    assert score_part(list_videos(videos), load_tiny(None), store) == 0
