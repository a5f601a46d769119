"""Videos made by several processes on Ray are those that one process makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_makers_on_ray_make_the_videos_that_one_process_makes(tmp_path: Path) -> None:
    shared = ["toyworld", "--model", "zoo/toyworld", "--features", str(tmp_path / "f"), "--num-clips", "5"]
    shared += ["--steps", "1", "--guidance-scale", "1", "--precision", "fp32"]
    spread = [sys.executable, "pipelines/benchmark.py", "--makers", "2", "--address", "local"]
    alone = [sys.executable, "-m", "magdiff_eval.run"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as Ray gives a maker of one CPU: two round otherwise
    for name, command in (("spread", spread), ("alone", alone)):
        output = str(tmp_path / name)
        subprocess.run([*command, *shared, "--output", output], cwd=ROOT, env=one_thread, check=True, timeout=600)
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("spread", "alone")]
    assert results[0]["scores"] == results[1]["scores"]
    assert results[0]["made"]["made_here"] == 10
