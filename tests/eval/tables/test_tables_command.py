"""The command, as a person calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magdiff_eval.tables.__main__ import TablesCommand, rendered


def write(folder: Path, benchmark: str, score: str, value: float) -> Path:
    folder.mkdir()
    content = {"benchmark": benchmark, "method": "MagDiff", "scores": {score: value}}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_all_seven_tables_are_printed_in_every_format() -> None:
    assert rendered(TablesCommand()).count("\n### Table ") + 1 == 7
    assert rendered(TablesCommand(format="latex")).count(r"\begin{tabular}") == 7
    assert rendered(TablesCommand(format="html")).count("<table>") == 7


def test_one_table_with_results_is_printed(tmp_path: Path) -> None:
    folders = (write(tmp_path / "a", "ucf101", "video-is", 12.3), write(tmp_path / "b", "msrvtt", "fvd", 700.2))
    text = rendered(TablesCommand(table=5, results=folders))
    assert text.startswith("### Table 5 of the paper.")
    assert "| MagDiff |  |  |  | 12.30 | - | 700 |" in text


def test_a_result_stands_in_the_tables_that_have_its_columns_only(tmp_path: Path) -> None:
    text = rendered(TablesCommand(results=(write(tmp_path / "a", "davis", "clip-text", 0.3),)))
    assert text.count("Measured here") == 1
    assert "| MagDiff |  | 30.00 | - |" in text


def test_results_that_no_column_takes_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "toyworld", "fvd", 3.0)
    with pytest.raises(ValueError, match=r"MagDiff has toyworld/fvd, and Table 3 has no column .* only for davis/clip"):
        rendered(TablesCommand(table=3, results=(folder,)))
    with pytest.raises(ValueError, match="the tables have no column"):
        rendered(TablesCommand(results=(folder,)))


def test_the_command_writes_a_file_and_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "magdiff_eval.tables", "--table"]
    output = tmp_path / "new" / "tables.tex"
    subprocess.run([*command, "6", "--format", "latex", "--output", str(output)], check=True)
    assert output.read_text(encoding="utf-8") == rendered(TablesCommand(table=6, format="latex"))
    failed = subprocess.run([*command, "9"], capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "tables: the paper has no Table 9: choose from 1 to 7\n"
