"""A batch's log only grows, and has one writer at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magdiff_model.batch_log import NAME, batch_log

HOLD = """
import sys, time
from pathlib import Path
from magdiff_model.batch_log import batch_log
with batch_log(Path(sys.argv[1])) as append:
    append({"row": 1})
    print("held", flush=True)
    time.sleep(60)
"""


def rows(folder: Path) -> list[int]:
    return [json.loads(line)["row"] for line in (folder / NAME).read_text().splitlines()]


def test_lines_are_added_to_those_of_earlier_runs(tmp_path: Path) -> None:
    for row in (1, 2):
        with batch_log(tmp_path / "new" / "folder") as append:
            append({"row": row})
            assert rows(tmp_path / "new" / "folder") == [1, 2][:row]


@pytest.mark.parametrize(
    ("before", "kept"),
    [('{"row": 1}\n{"row": 2', [1]), ('{"row": 1}\n{"row": 2}', [1, 2]), ('{"ro', []), ("", [])],
)
def test_a_line_that_a_killed_run_did_not_finish_spoils_no_other(tmp_path: Path, before: str, kept: list[int]) -> None:
    (tmp_path / NAME).write_text(before)
    with batch_log(tmp_path) as append:
        append({"row": 3})
    assert rows(tmp_path) == [*kept, 3]


def test_a_folder_is_free_again_when_the_process_that_held_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(ValueError, match=f"{tmp_path}: wait until it ends, or give another --output"):  # noqa: SIM117
                with batch_log(tmp_path):
                    pass
        finally:
            process.kill()
    with batch_log(tmp_path) as append:
        append({"row": 2})
    assert rows(tmp_path) == [1, 2]
