"""Rows from results.json files, and their place in a table."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from magdiff_eval.tables import OurRow, paper_table, read_rows
from magdiff_eval.tables.layout import Cell, lay_out


def write(folder: Path, **content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"method": "MagDiff", "scores": {"fvd": 300.0}} | content))
    return folder


def cells(number: int, *rows: OurRow) -> list[tuple[Cell, ...]]:
    return list(lay_out(paper_table(number), rows).ours)


def test_folders_of_one_method_become_one_row(tmp_path: Path) -> None:
    a = write(
        tmp_path / "a",
        benchmark="ucf101",
        scores={"fvd": 320.5, "dino": 0.5},
        intervals={"fvd": [300, 340.25]},
        protocol={
            "whole set": {
                "extractor": {"network": "I3D", "weights": {"sha256": "ab" * 32, "file": "i3d.pt"}},
                "videos": 64,
                "reference": {"videos": 128},
                "scores": ["fvd"],
                "ddof": 1,
                "about": "a copy",
            },
            "dino": {
                "extractor": {"subject_crop": "none", "frames": {"side": 224}},
                "videos": 60,
                "scores": ["dino"],
                "about": "pairs all",
            },
            "reader": {"size": "own"},
            "maker": {"unet_sha256": "cd" * 32, "steps": 50, "masked": True, "solver": None},
        },
        not_comparable={"dino": "pairs all; another DINO"},
        attributes={"HFA": "✓"},
    )
    b = write(tmp_path / "b", benchmark="msrvtt", scores={"fvd": 201}, not_comparable={"fvd": "toyworld's extractor"})
    (row,) = read_rows([a, b / "results.json"])
    assert row == OurRow(
        method="MagDiff",
        values={"ucf101/fvd": 320.5, "ucf101/dino": 0.5, "msrvtt/fvd": 201.0},
        intervals={"ucf101/fvd": (300.0, 340.25)},
        attributes={"HFA": "✓"},
        protocol={
            "ucf101/fvd": "64 videos, 128 in the reference, network I3D, weights abababababab, ddof 1, a copy; "
            "unet_sha256 cdcdcdcdcdcd, steps 50, masked yes",
            "ucf101/dino": "60 videos, subject_crop none; unet_sha256 cdcdcdcdcdcd, steps 50, masked yes",
            "msrvtt/fvd": "",
        },
        not_comparable={"ucf101/dino": "pairs all; another DINO", "msrvtt/fvd": "toyworld's extractor"},
    )


def test_methods_have_rows_of_their_own_in_the_order_given(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, benchmark="ucf101", method=name) for name in ("Z", "A")]
    assert [row.method for row in read_rows(folders)] == ["Z", "A"]


def test_a_benchmark_that_was_run_twice_gives_two_rows_named_after_their_folders(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / "first", benchmark="ucf101", scores={"fvd": 1.0}),
        write(tmp_path / "second", benchmark="ucf101", scores={"fvd": 2.0}),
        write(tmp_path / "other", benchmark="msrvtt", scores={"fvd": 3.0}),
    ]
    rows = {row.method: row.values for row in read_rows(folders)}
    assert rows == {
        "MagDiff": {"msrvtt/fvd": 3.0},
        "MagDiff (first)": {"ucf101/fvd": 1.0},
        "MagDiff (second)": {"ucf101/fvd": 2.0},
    }


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [write(tmp_path / name / "scores", benchmark="ucf101") for name in "ab"]
    assert [row.method for row in read_rows(folders)] == [f"MagDiff ({folder})" for folder in folders]


def test_one_result_given_twice_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", benchmark="ucf101")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=f"{folder / 'results.json'} is given twice"):
        read_rows([folder, tmp_path / "b" / ".." / "a" / "results.json"])


def test_one_method_that_is_two_things_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", benchmark="ucf101", attributes={"HFA": "✓"})
    b = write(tmp_path / "b", benchmark="msrvtt", attributes={"HFA": "✗"})
    with pytest.raises(ValueError, match="HFA ✗ of MagDiff, another file of it ✓: give different methods"):
        read_rows([a, b])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("\ud800", "is not JSON"),
        ("[]", "holds list, not an object"),
        ('{"method": "M", "scores": {"fvd": 1}}', "benchmark is None, not a text"),
        ('{"benchmark": "ucf101", "method": " ", "scores": {"fvd": 1}}', "method is ' ', not a text"),
        ('{"benchmark": "ucf101", "method": "M"}', "has no scores"),
        ('{"benchmark": "ucf101", "method": "M", "scores": [1]}', "scores is [1], not an object"),
        ('{"benchmark": "ucf101", "method": "M", "scores": {"fvd": NaN}}', "scores.fvd is nan, not a finite number"),
        ('{"benchmark": "ucf101", "method": "M", "scores": {"fvd": true}}', "scores.fvd is True, not a finite"),
        ('{"benchmark": "ucf101", "method": "M", "scores": {"fvd": "3"}}', "scores.fvd is '3', not a finite"),
        ('{"benchmark": "u", "method": "M", "scores": {"fvd": 1}, "intervals": {"fvd": [1]}}', "not [lower, upper]"),
        ('{"benchmark": "u", "method": "M", "scores": {"fvd": 1}, "intervals": {"fvd": [2, 1]}}', "wrong way round"),
        (
            '{"benchmark": "u", "method": "M", "scores": {"fvd": 1}, "not_comparable": {"fdv": "x"}}',
            "not_comparable speaks of 'fdv', which is no score there; the nearest is 'fvd'",
        ),
        ('{"benchmark": "u", "method": "M", "scores": {"fvd": 1}, "not_comparable": {"fvd": ""}}', "fvd is '', not"),
    ],
)
def test_a_bad_file_is_refused_with_the_entry(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        read_rows([tmp_path])
    assert str(file) in str(refused.value)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*results\.json: give a folder"):
        read_rows([tmp_path])


def test_cosines_and_their_intervals_are_shown_in_the_papers_unit() -> None:
    row = OurRow(
        method="M", values={"davis/clip-text": 0.27654}, intervals={"davis/clip-text": (0.2701, 0.283)}, attributes={}
    )
    ((_, _, text, consistency),) = cells(3, row)
    assert (text.text, text.interval) == ("27.65", "[27.01, 28.30]")
    assert consistency == Cell(text="-")


def test_ours_in_bold_takes_the_papers_bold() -> None:
    layout = lay_out(paper_table(1), [OurRow(method="M", values={"ucf101/fvd": 339.61, "ucf101/video-is": 48.564})])
    ((_, _, _, score, distance, other),) = layout.ours
    assert (distance.text, distance.bold, other.bold) == ("339.61", True, False)
    assert (score.text, score.bold) == ("48.56", False)
    assert [cell.bold for cell in layout.paper[-1][3:]] == [True, False, True]


def test_equal_as_printed_is_bold_twice() -> None:
    layout = lay_out(paper_table(6), [OurRow(method="M", values={"msrvtt/fvd": 244.6})])
    assert (layout.ours[0][3].text, layout.ours[0][3].bold, layout.paper[1][3].bold) == ("245", True, True)


def test_what_does_not_compare_has_a_dagger_and_its_reason_and_is_never_bold() -> None:
    row = OurRow(
        method="M",
        values={"ucf101/fvd": 1.0, "msrvtt/fvd": 2.0},
        not_comparable={"ucf101/fvd": "toyworld's extractor"},
        protocol={"ucf101/fvd": "20 videos", "msrvtt/fvd": "20 videos"},
    )
    layout = lay_out(paper_table(6), [row])
    _, _, marked, plain = layout.ours[0]
    assert (marked.flag, marked.bold, plain.flag, plain.bold) == ("†", False, "", True)
    assert [layout.notes[note - 1] for note in marked.notes] == [
        "Does not compare with the paper's: toyworld's extractor.",
        "How it was made: 20 videos.",
    ]
    assert plain.notes == marked.notes[1:]
    assert layout.paper[1][2].bold


def test_what_does_not_compare_is_not_bold_where_it_equals_the_papers_best() -> None:
    row = OurRow(method="M", values={"ucf101/fvd": 339.62}, not_comparable={"ucf101/fvd": "20 videos"})
    layout = lay_out(paper_table(6), [row])
    assert (layout.ours[0][2].text, layout.ours[0][2].bold, layout.paper[1][2].bold) == ("339.62", False, True)


def test_only_tuning_free_methods_compete_in_table_3() -> None:
    values = {"davis/clip-text": 0.5, "davis/clip-consistency": 0.95}
    tuned, free = (
        OurRow(method="M", values=values, attributes={"Inference method": kind})
        for kind in ("Fine-Tuning", "Tuning-Free")
    )
    assert [cell.bold for cell in cells(3, tuned)[0]] == [False, False, False, False]
    assert [cell.bold for cell in cells(3, free)[0]] == [False, False, True, True]


def test_rows_without_a_score_of_the_table_are_left_out() -> None:
    assert cells(3, OurRow(method="M", values={"ucf101/fvd": 1.0})) == []
