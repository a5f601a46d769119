import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from magdiff_eval.compare import as_markdown
from magdiff_eval.scoring.compare import as_json, compare, load_results, student_quantile

PROTOCOL = {"clip": {"name": "loveu", "resize_px": 480}, "frames": 8, "maker": {"unet_sha256": "aa"}}
Rows = list[dict[str, Any]]


def written(folder: Path, rows: Rows, **more: Any) -> Path:
    folder.mkdir(parents=True)
    found = {"protocol": PROTOCOL | more.pop("protocol", {}), **more}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "results.json").write_text(json.dumps(found))
    return folder


def scored(values: dict[str, float]) -> Rows:
    return [{"name": name, "fault": None, "scores": {"dino": value}} for name, value in values.items()]


def test_the_interval_of_paired_differences_is_scipys_t_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.3, 25)
    b = a + rng.normal(0.02, 0.05, 25)
    folders = [
        written(tmp_path / name, scored({f"v{i}": value for i, value in enumerate(values)}))
        for name, values in (("a", a), ("b", b))
    ]
    (found,) = compare(*(load_results(folder) for folder in folders)).scores
    reference = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (found.score, found.num_pairs, found.only_a, found.only_b) == ("dino", 25, 0, 0)
    assert (found.mean_a, found.mean_b) == pytest.approx((a.mean(), b.mean()))
    assert found.difference == pytest.approx((b - a).mean())
    assert (found.lower, found.upper) == pytest.approx(tuple(reference), rel=1e-4)


@pytest.mark.parametrize("degrees", [1, 2, 9, 100, 9999])
def test_students_quantiles_are_scipys(degrees: int) -> None:
    for probability in (0.5, 0.9, 0.975, 0.995):
        reference = scipy.stats.t.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(reference, rel=1e-4, abs=1e-9)


def test_only_videos_that_both_scored_count_and_the_others_are_counted_out(tmp_path: Path) -> None:
    rows_a = [
        *scored({"v1": 1.0, "v2": 2.0, "v3": 9.0}),
        {"name": "v4", "fault": {"reason": "unreadable"}, "scores": {}},
    ]
    rows_b = scored({"v2": 2.5, "v1": 1.5, "v4": 7.0, "v5": 8.0})
    found = compare(load_results(written(tmp_path / "a", rows_a)), load_results(written(tmp_path / "b", rows_b)))
    (score,) = found.scores
    assert (score.num_pairs, score.only_a, score.only_b) == (2, 1, 2)
    assert (score.mean_a, score.mean_b, score.difference, score.lower, score.upper) == (1.5, 2.0, 0.5, 0.5, 0.5)
    assert (found.failed_a, found.failed_b) == (["v4"], [])
    text = as_markdown(found)
    assert "| dino | 1.5000 | 2.0000 | +0.5000 | +0.5000 to +0.5000 | 2 | 1 of A, 2 of B |" in text
    assert "1 videos of A have a fault, the first is v4" in text


def test_other_protocols_are_refused_by_their_first_difference_and_shown_when_asked(tmp_path: Path) -> None:
    a = load_results(written(tmp_path / "a", scored({"v": 1.0})))
    other = {"clip": {"name": "loveu", "resize_px": None}, "frames": 16}
    b = load_results(written(tmp_path / "b", scored({"v": 1.0}), protocol=other))
    with pytest.raises(ValueError, match=r"different protocols: clip.resize_px is 480 and null \(1 more differ\)"):
        compare(a, b)
    found = compare(a, b, anyway=True)
    assert found.differences == ["clip.resize_px is 480 and null", "frames is 8 and 16"]
    assert "**Not the same protocol**: clip.resize_px is 480 and null; frames is 8 and 16" in as_markdown(found)
    missing = load_results(written(tmp_path / "c", scored({"v": 1.0}), protocol={"seed": 7}))
    with pytest.raises(ValueError, match="seed is in one alone, 7"):
        compare(a, missing)


def test_what_was_scored_may_differ_and_is_shown(tmp_path: Path) -> None:
    a = load_results(written(tmp_path / "a", scored({"v": 1.0})))
    b = load_results(
        written(tmp_path / "b", scored({"v": 2.0}), protocol={"maker": {"unet_sha256": "bb", "steps": 20}})
    )
    text = as_markdown(compare(a, b))
    assert 'What was scored: maker.unet_sha256 is "aa" and "bb"; maker.steps is in one alone, 20' in text
    assert "Not the same" not in text


def test_scores_of_whole_sets_have_no_interval(tmp_path: Path) -> None:
    a = load_results(written(tmp_path / "a", scored({"v": 1.0}), scores={"fvd": 100.0, "set": "mixed"}))
    b = load_results(written(tmp_path / "b", scored({"v": 2.0}), scores={"fvd": 90.0}) / "results.json")
    found = {score.score: score for score in compare(a, b).scores}
    assert list(found) == ["dino", "fvd"]
    assert (found["dino"].num_pairs, found["dino"].lower) == (1, None)
    assert (found["fvd"].difference, found["fvd"].num_pairs, found["fvd"].lower) == (-10, None, None)


def test_scores_that_are_no_numbers_are_left_out_of_the_pairs(tmp_path: Path) -> None:
    a = load_results(written(tmp_path / "a", scored({"v1": 1.0, "v2": 2.0})))
    rows = [*scored({"v1": 3.0}), {"name": "v2", "scores": {"dino": None}}]
    (score,) = compare(a, load_results(written(tmp_path / "b", rows))).scores
    assert (score.num_pairs, score.only_a, score.difference) == (1, 1, 2.0)


def test_results_that_cannot_be_compared_are_told_apart(tmp_path: Path) -> None:
    a = load_results(written(tmp_path / "a", scored({"v": 1.0})))
    with pytest.raises(ValueError, match=r"there is no .*nowhere"):
        load_results(tmp_path / "nowhere")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "results.json").write_text("[]")
    with pytest.raises(ValueError, match=r"no results.json with a protocol and rows"):
        load_results(tmp_path / "list")
    with pytest.raises(ValueError, match="has v twice"):
        load_results(written(tmp_path / "twice", [*scored({"v": 1.0}), *scored({"v": 1.0})]))
    with pytest.raises(ValueError, match="no score of one video in common"):
        compare(a, load_results(written(tmp_path / "other", scored({"w": 1.0}))))


def test_the_command_prints_markdown_or_json_and_fails_with_a_sentence(tmp_path: Path) -> None:
    folders = [str(written(tmp_path / name, scored({"v1": 1.0, "v2": 2.0}), protocol=more)) for name, more in (
        ("a", {}), ("b", {}), ("c", {"frames": 16}))]  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "magdiff_eval.compare", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "| dino | 1.5000 | 1.5000 | +0.0000 |" in run(folders[0], folders[1]).stdout
    found = json.loads(run(folders[0], folders[1], "--json").stdout)
    assert found == json.loads(as_json(compare(*(load_results(Path(folder)) for folder in folders[:2]))))
    refused = run(folders[0], folders[2])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("compare: ")
    assert "frames is 8 and 16" in refused.stderr


def test_a_metric_that_one_result_alone_has_is_no_difference(tmp_path: Path) -> None:
    rows = [{"name": name, "scores": {"dino": 0.5}} for name in "ab"]
    shared = {"dino": {"extractor": "d", "scores": ["dino"]}}
    for name, more in (("a", {"motion": {"extractor": "m", "scores": ["motion"]}}), ("b", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tmp_path / name / "results.json").write_text(json.dumps({"protocol": {**shared, **more}}))
    a, b = (load_results(tmp_path / name) for name in "ab")
    assert [score.score for score in compare(a, b).scores] == ["dino"]
