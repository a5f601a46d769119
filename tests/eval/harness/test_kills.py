import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eval.harness.small import small
from tests_support import ZOO

from magdiff_eval.run import run

ROOT = Path(__file__).parents[3]


def made(output: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in (output / "frames").rglob("made.json")}


@pytest.mark.slow
def test_a_run_that_is_killed_makes_no_video_twice_and_ends_with_the_same_results(tmp_path: Path) -> None:
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "magdiff_eval.run", "toyworld", "--model", str(ZOO), "--output", str(output)]
    command += ["--features", str(tmp_path / "f"), "--num-clips", "6", "--steps", "2", "--guidance-scale", "1"]
    command += ["--precision", "fp32", "--vision", "toyworld"]
    rng, kills = random.Random(0), 0
    while len(before := made(output)) < 12:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
        wanted = len(before) + rng.randint(1, 3)
        while len(made(output)) < wanted and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.2))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        after = made(output)
        assert {name: after[name] for name in before} == before
    assert kills >= 3
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((output / "results.json").read_text())
    whole = run(small("toyworld", tmp_path, tmp_path / "whole", num_clips=6, steps=2))
    assert found["scores"] == whole["scores"]
    assert found["made"] == whole["made"]
    rows = [(folder / "rows.jsonl").read_bytes() for folder in (output, tmp_path / "whole")]
    assert rows[0] == rows[1]
