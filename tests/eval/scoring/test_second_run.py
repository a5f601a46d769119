"""`bench/scoring.py` with few videos: what it claims of ten thousand holds of two hundred."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench" / "scoring.py"


@pytest.mark.slow
def test_a_second_run_is_twenty_times_as_fast_and_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--videos", "200", "--folder", str(tmp_path), "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    first, second = found["first"], found["second"]
    assert first["videos"] == second["videos"] == 200
    assert first["faults"] == second["faults"] == {}
    assert first["distance"] == second["distance"]
    assert first["seconds"] > 20 * second["seconds"]
    for run in (first, second):
        assert run["peak_mib"] - run["imports_mib"] < 100
    assert found["kept_bytes"] < 200 * 1000
