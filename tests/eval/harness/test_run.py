import json
import shutil
from pathlib import Path

import pytest
from eval.harness.small import NUM_ITEMS, small

from magdiff_eval.run import main, run
from magdiff_eval.scoring.compare import compare, load_results

OURS = ("motion", "error")
"""Scores that the paper does not have."""
TABLES = {"davis": (3,), "ucf101": (1, 2, 5, 6, 7), "msrvtt": (1, 2, 5, 6, 7), "dreambooth": (2,)}


@pytest.mark.parametrize(
    "benchmark",
    ["davis", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ucf101", "msrvtt", "dreambooth"))],
)
def test_a_run_scores_every_item_beside_the_papers_rows_and_makes_nothing_twice(
    benchmark: str, benchmarks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small(benchmark, benchmarks, tmp_path / "run")
    results = run(settings)
    count = NUM_ITEMS[benchmark]
    subjects = [json.loads(path.read_bytes()) for path in (tmp_path / "run" / "subjects").glob("*.json")]
    assert len([one for one in subjects if one["masks"]]) >= 0.75 * len(subjects)  # the zoo's detector finds them
    nulls = sum(one["masks"] is None for one in subjects)
    assert results["made"] == {"items": count, "made_here": count, "null_masks": nulls}
    assert {results["details"][score]["videos"] for score in results["scores"]} == {count}
    assert set(results["not_comparable"]) == {name for name in results["scores"] if name.split("-")[0] not in OURS}
    text = (tmp_path / "run" / "results.md").read_text()
    for number in TABLES[benchmark]:
        assert f"### Table {number} of the paper" in text
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "frames").rglob("*")}
    capsys.readouterr()
    again = run(settings)
    assert again == results
    assert f"{count} videos, {count} of them made by earlier runs" in (told := capsys.readouterr().out)
    assert f"0 of {count} videos read now" in told
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "frames").rglob("*")} == made


def test_toyworld_is_judged_by_its_oracles_and_a_folder_of_videos_scores_as_the_run_that_made_them(
    tmp_path: Path,
) -> None:
    made = run(small("toyworld", tmp_path, tmp_path / "made"))
    assert {"fvd", "class", "action", "background", "nearer-to-own", "error-inside"} <= set(made["scores"])
    page = (tmp_path / "made" / "report.html").read_text()
    assert "edit-00001" in page
    given = small("toyworld", tmp_path, tmp_path / "given", videos=tmp_path / "made" / "frames", method="Somebody")
    found = run(given)
    assert found["method"] == "Somebody"
    shared = set(found["scores"])
    assert shared == set(made["scores"]) - {"error-inside", "error-outside", "error-flat"}  # a folder frames nothing
    assert {name: made["scores"][name] for name in shared} == found["scores"]
    compared = compare(*(load_results(tmp_path / name) for name in ("made", "given")))
    assert {score.difference for score in compared.scores} == {0}
    assert compared.model_differences
    assert len(list((tmp_path / "given" / "videos").glob("*.mp4"))) == 4  # for the page


def test_every_fault_of_a_folder_is_told_before_a_model_is_looked_for(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "davis"
    shutil.copytree(benchmarks / "davis", data)
    with (data / "LOVEU-TGVE-2023_Dataset.csv").open("a", newline="") as file:
        file.write("ghost,a,b,c,d,e\r\n")
    next((data / "DAVIS_480p" / "480p_frames").glob("*/00003.jpg")).unlink()
    command = ["run", "davis", "--data", str(data), "--model", str(tmp_path / "none"), "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert "run: the folder of davis has 2 faults, nothing was made:" in str(stopped.value.code)
    assert "ghost" in str(stopped.value.code)
    assert "frame 3 is missing" in str(stopped.value.code)
    assert not (tmp_path / "run.json").exists()


def test_what_cannot_be_run_is_refused_before_anything_is_made(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give one of --model CHECKPOINT, --baseline NAME and --videos FOLDER"):
        small("davis", benchmarks, tmp_path, model=tmp_path, videos=tmp_path)
    with pytest.raises(ValueError, match="i2vgen-xl cannot edit: take instruct-pix2pix"):
        run(small("davis", benchmarks, tmp_path, baseline="i2vgen-xl"))
    with pytest.raises(ValueError, match="this benchmark has no videos of its own: give --reference"):
        run(small("davis", benchmarks, tmp_path, metrics=("clip", "fvd")))
    with pytest.raises(ValueError, match=r"is no MagDiff checkpoint, it has no model_index\.json"):
        run(small("davis", benchmarks, tmp_path, model=tmp_path))
    with pytest.raises(ValueError, match="weights for clip-l14"):
        run(small("davis", benchmarks, tmp_path, extractors="published", weights=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_another_run_in_the_same_folder_is_refused(benchmarks: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"maker": {"steps": 99}}))
    with pytest.raises(ValueError, match="holds a run with another maker, listing, num_frames: choose another"):
        run(small("davis", benchmarks, tmp_path))


def test_a_video_that_cannot_be_made_is_a_line_and_a_row_and_stops_no_other(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from magdiff_eval.harness.makers import MagDiffMaker

    make = MagDiffMaker.make

    def sometimes(self: MagDiffMaker, request: object) -> object:
        if "watercolor" in request.prompt:  # type: ignore[attr-defined]
            raise ValueError("no colours left")
        return make(self, request)  # type: ignore[arg-type]

    monkeypatch.setattr(MagDiffMaker, "make", sometimes)
    results = run(small("davis", benchmarks, tmp_path / "run"))
    failed = [json.loads(line) for line in (tmp_path / "run" / "failed.jsonl").read_text().splitlines()]
    assert [line["name"].split("/")[1] for line in failed] == ["style", "multiple"]
    assert {line["reason"] for line in failed} == {"no colours left"}
    assert results["videos"]["faults"] == {"not_there": 2}
    assert results["details"]["clip-text"]["videos"] == 2
    monkeypatch.setattr(MagDiffMaker, "make", make)
    assert run(small("davis", benchmarks, tmp_path / "run"))["details"]["clip-text"]["videos"] == 4
    assert (tmp_path / "run" / "failed.jsonl").read_text() == ""


def test_a_source_that_cannot_be_read_costs_its_own_video_alone(benchmarks: Path, tmp_path: Path) -> None:
    shutil.copytree(benchmarks / "msrvtt", tmp_path / "data" / "msrvtt")
    broken = sorted((tmp_path / "data" / "msrvtt" / "TestVideo").glob("*.mp4"))[1]
    broken.write_bytes(broken.read_bytes()[:1000])
    results = run(small("msrvtt", tmp_path / "data", tmp_path / "run", metrics=("dino", "motion")))
    assert results["videos"]["faults"] == {"not_there": 1}
    assert results["details"]["dino"]["videos"] == 2
    (line,) = (tmp_path / "run" / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == broken.stem


def test_settings_that_would_do_nothing_are_refused(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--solver is MagDiff's"):
        small("davis", benchmarks, tmp_path, videos=tmp_path, solver="unipc")
    with pytest.raises(ValueError, match="leave out steps"):
        small("davis", benchmarks, tmp_path, videos=tmp_path, steps=2)
    with pytest.raises(ValueError, match="--baseline-settings are a baseline's"):
        small("davis", benchmarks, tmp_path, baseline_settings=("num_frames=4",))
    with pytest.raises(ValueError, match=r"give --reference videos, or an \.npz"):
        small("davis", benchmarks, tmp_path, reference=tmp_path / "none")
