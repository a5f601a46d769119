import json
import sys
from pathlib import Path

import numpy as np
import pytest
from eval.human.studies import small_study

from magdiff_eval.human.estimates import ordinal_alpha, rank_of, summarize
from magdiff_eval.human.ratings import Rating, Ratings, of_csv, of_study
from magdiff_eval.human.report import ReportSettings, as_markdown, report
from magdiff_eval.human.store import Answer, Store
from magdiff_eval.human.study import ANSWERS, ASPECTS

HEAD = "rater,video,method,aspect,score\n"


def ratings(scores: dict[str, dict[str, int]], method: str = "m", aspect: str = "quality") -> list[Rating]:
    """Video -> rater -> score, as rows."""
    return [Rating(r, v, method, aspect, score) for v, given in scores.items() for r, score in given.items()]


def write_csv(path: Path, rows: list[Rating]) -> Path:
    path.write_text(HEAD + "".join(f"{r.rater},{r.video},{r.method},{r.aspect},{r.score}\n" for r in rows))
    return path


def test_alpha_is_what_it_is_by_hand_with_answers_missing() -> None:
    rows = ratings({"u1": {"a": 1, "b": 2}, "u2": {"a": 4, "c": 4}, "u3": {"a": 2, "b": 2, "c": 3}, "u4": {"b": 5}})
    # u4 has one score and pairs with nothing. Coincidences: 12: 1, 21: 1, 44: 2, 22: 1, 23: 1, 32: 1; so of 1, 2, 3
    # and 4 there are 1, 3, 1 and 2, together 7. Squared ordinal distances: 12: 4, 13: 16, 14: 30.25, 23: 4, 24: 12.25,
    # 34: 2.25. Observed: 2 (4 + 4) = 16; expected: 2 (3·4 + 16 + 2·30.25 + 3·4 + 6·12.25 + 2·2.25) / 6 = 59.5.
    assert ordinal_alpha(rows) == pytest.approx(1 - 16 / 59.5, abs=1e-12)


def test_alpha_is_the_one_in_krippendorffs_own_example() -> None:
    observers = {  # Computing Krippendorff's Alpha-Reliability (2011), section D: 0.815 for ordinal data
        "A": "123321412...",
        "B": "1233224125.3",
        "C": ".3332342251.",
        "D": "12332441251.",
    }
    rows = [
        Rating(rater, str(unit), "m", "quality", int(value))
        for rater, values in observers.items()
        for unit, value in enumerate(values)
        if value != "."
    ]
    found = ordinal_alpha(rows)
    assert found is not None
    assert round(found, 3) == 0.815


def test_alpha_is_one_for_full_agreement_and_none_where_it_says_nothing() -> None:
    assert ordinal_alpha(ratings({"u1": {"a": 4, "b": 4}, "u2": {"a": 2, "b": 2}})) == 1
    assert ordinal_alpha(ratings({"u1": {"a": 3, "b": 3}, "u2": {"a": 3, "b": 3}})) is None
    assert ordinal_alpha(ratings({"u1": {"a": 3}, "u2": {"b": 5}})) is None


def test_a_missing_package_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "krippendorff", None)
    with pytest.raises(ValueError, match=r"krippendorff is not installed: pip install 'magdiff-eval\[human\]'"):
        ordinal_alpha(ratings({"u1": {"a": 4, "b": 4}}))


def test_one_video_s_name_with_two_methods_is_two_units() -> None:
    rows = ratings({"dog": {"a": 1, "b": 1}}, "ours") + ratings({"dog": {"a": 5, "b": 5}}, "theirs")
    assert ordinal_alpha(rows) == 1


def test_means_ranks_and_intervals_are_what_they_are_by_hand(tmp_path: Path) -> None:
    rows = ratings({"v": {"a": 2, "b": 4}, "w": {"a": 2, "b": 4}}, "ours")
    rows += ratings({"v": {"a": 3, "b": 3}, "w": {"a": 3, "b": 3}}, "theirs")
    rows += ratings({"v": {"a": 1, "b": 1}, "w": {"a": 1, "b": 2}}, "others")
    cells = summarize(of_csv(write_csv(tmp_path / "a.csv", rows)), seed=0)
    # A quarter of resamples are a twice, a quarter b twice: the percentiles are the two raters' own means.
    found = [(c.method, c.mean, c.rank, c.lower, c.upper, c.num_scores) for c in cells]
    assert found == [("ours", 3, 1, 2, 4, 4), ("theirs", 3, 1, 3, 3, 4), ("others", 1.25, 3, 1, 1.5, 4)]


def test_a_partial_rater_counts_by_what_was_answered(tmp_path: Path) -> None:
    rows = ratings({"v": {"a": 5, "b": 1}, "w": {"a": 5}, "x": {"a": 5}})
    found = of_csv(write_csv(tmp_path / "a.csv", rows))
    assert (found.complete, found.partial) == (["a"], ["b"])
    (cell,) = summarize(found, seed=0)
    assert (cell.mean, cell.lower, cell.upper) == (4, 1, 5)  # 16 / 4, b twice, a twice


def test_intervals_of_many_raters_are_those_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(5)
    scores = rng.integers(1, 6, (200, 1))
    rows = [Rating(str(i), "v", "m", "quality", int(s)) for i, (s,) in enumerate(scores)]
    study = small_study(1, ("m",))
    found = Ratings(rows=rows, methods=list(study.methods), aspects=["quality"], num_videos=1, complete=[], partial=[])
    (cell,) = summarize(found, seed=1)
    margin = 1.96 * scores.std() / 200**0.5
    assert cell.lower == pytest.approx(cell.mean - margin, abs=0.05 * margin)
    assert cell.upper == pytest.approx(cell.mean + margin, abs=0.05 * margin)
    assert summarize(found, seed=1) == [cell]
    assert summarize(found, seed=2) != [cell]


def test_a_single_rater_has_no_interval(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ratings({"v": {"a": 2}, "w": {"a": 3}}))
    results = report(ReportSettings(csv=path))
    assert (results["means"][0]["mean"], results["means"][0]["lower"]) == (2.5, None)
    assert results["alpha"] == {"quality": None}
    assert "| m | 2.50 (1) |" in as_markdown(results)
    assert "| Krippendorff's alpha (ordinal) | none |" in as_markdown(results)


def test_a_method_without_a_score_in_an_aspect_has_an_empty_cell(tmp_path: Path) -> None:
    rows = ratings({"v": {"a": 2, "b": 2}}, "ours") + ratings({"v": {"a": 4, "b": 5}}, "theirs", "text_alignment")
    text = as_markdown(report(ReportSettings(csv=write_csv(tmp_path / "a.csv", rows))))
    assert "| ours |  | 2.00 (1), 2.00 to 2.00 |" in text
    assert "| theirs | 4.50 (1), 4.00 to 5.00 |  |" in text
    assert "(paper)" not in text  # its columns are others


def test_ranks_share_a_place_and_do_not_hang_on_the_last_digits() -> None:
    means = [0.1 + 0.2, 0.3, 0.25]
    assert [rank_of(mean, means) for mean in means] == [1, 1, 3]


def answered_study(folder: Path) -> None:
    """One item of two methods: Ada answers all, Ben half, Cy nothing."""
    study = small_study(1, ("ours", "theirs"))
    study.save(folder)
    store = Store(folder / ANSWERS)
    ada, ben, _ = (store.join(name) for name in ("Ada", "Ben", "Cy"))
    ours, theirs = (video.id for video in study.items[0].videos)
    for aspect in ASPECTS:
        store.answer(Answer(rater=ada.number, video=ours, aspect=aspect, score=5))
        store.answer(Answer(rater=ada.number, video=theirs, aspect=aspect, score=2))
        store.answer(Answer(rater=ben.number, video=ours, aspect=aspect, score=3))


def test_a_study_s_report_has_the_paper_s_rows_beside_it(tmp_path: Path) -> None:
    answered_study(tmp_path)
    results = report(ReportSettings(study=tmp_path, output=tmp_path / "out"))
    assert results["raters"] == {"complete": 1, "partial": 1, "without_an_answer": 1}
    text = (tmp_path / "out" / "results.md").read_text()
    assert text == as_markdown(results)
    assert "Raters: 1 complete, 1 partial, 1 without an answer; videos: 2; scores: 9." in text
    assert "| method | Image-prompt alignment | Text-prompt alignment | Quality |" in text
    assert "| ours | 4.00 (1), 3.00 to 5.00 | 4.00 (1), 3.00 to 5.00 | 4.00 (1), 3.00 to 5.00 |" in text
    assert "| theirs | 2.00 (2) | 2.00 (2) | 2.00 (2) |" in text
    assert "| VideoCrafter1 (paper) | 3.2 (3) | 2.8 (3) | 3.2 (3) |" in text
    assert "| AnimateDiff (V3) (paper) | 3.5 (2) | 3.6 (2) | 3.3 (2) |" in text
    assert "| MagDiff (paper) | 4.4 (1) | 4.1 (1) | 3.7 (1) |" in text
    assert json.loads((tmp_path / "out" / "results.json").read_bytes()) == results
    lines = (tmp_path / "out" / "rows.csv").read_text().splitlines()
    assert lines[0] == "rater,video,method,aspect,score"
    assert "1,item-0,ours,image_alignment,5" in lines
    assert "2,item-0,ours,quality,3" in lines
    assert len(lines) == 10
    assert "Ada" not in text + str(results) + str(lines)


def test_the_csv_that_a_report_wrote_gives_the_same_report(tmp_path: Path) -> None:
    answered_study(tmp_path)
    first = report(ReportSettings(study=tmp_path, output=tmp_path / "out"))
    again = report(ReportSettings(csv=tmp_path / "out" / "rows.csv"))
    assert again["means"] == first["means"]
    assert again["alpha"] == first["alpha"]


def test_complete_only_leaves_partial_raters_out(tmp_path: Path) -> None:
    answered_study(tmp_path)
    results = report(ReportSettings(study=tmp_path, complete_only=True))
    assert [(cell["mean"], cell["num_scores"]) for cell in results["means"]] == [(5, 1)] * 3 + [(2, 1)] * 3
    assert "Raters: 1 complete, 1 partial and left out, 1 without" in as_markdown(results)
    Store(tmp_path / ANSWERS)._connection.execute("DELETE FROM answers WHERE rater = 1")
    with pytest.raises(ValueError, match="none of 1 raters is complete: leave --complete-only out"):
        report(ReportSettings(study=tmp_path, complete_only=True))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("rater,video,method,score\n", "has the columns rater, video, method, score: name them rater, video"),
        ("", "has the columns none"),
        (HEAD, "has no rows"),
        (
            HEAD + "a,v,m,quality,6\na,v,m,,3\na,v,m,q,1,2\n",
            "(?s)3 faults.*line 2 has the score '6': need 1 to 5.*line 3 has an empty cell.*line 4 has too many",
        ),
        (HEAD + "a,v,m,quality,3.5\n", "line 2 has the score '3.5'"),
        (HEAD + "a,v,m,quality,3\n\na,v,m,quality,4\n", "line 4 answers what line 2 answered"),
        (HEAD + "a,v,m\n", "line 2 has an empty cell"),
    ],
)
def test_a_csv_that_cannot_be_used_is_told_by_line(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ValueError, match=told):
        of_csv(tmp_path / "a.csv")


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("score,aspect,rater,method,video\n4,quality,a,ours,v\n")
    assert of_csv(tmp_path / "a.csv").rows == [Rating("a", "v", "ours", "quality", 4)]


def test_what_there_is_no_report_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither of --study and --csv"):
        report(ReportSettings())
    with pytest.raises(ValueError, match="both of --study and --csv"):
        report(ReportSettings(study=tmp_path, csv=tmp_path / "a.csv"))
    study = small_study(1)
    with pytest.raises(ValueError, match="nobody has taken part yet"):
        of_study(tmp_path, study)
    store = Store(tmp_path / ANSWERS)
    with pytest.raises(ValueError, match="has no answer yet"):
        of_study(tmp_path, study)
    store.answer(Answer(rater=store.join("Ada").number, video="other", aspect="quality", score=1))
    with pytest.raises(ValueError, match="an answer on other, quality, which the study has not"):
        of_study(tmp_path, study)


def test_a_full_panel_s_report_has_the_paper_s_number_of_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        Rating(f"r{r}", f"v{v}", method, aspect, int(rng.integers(1, 6)))
        for r in range(34)
        for v in range(15)
        for method in ("magdiff", "videocrafter1", "animatediff")
        for aspect in ASPECTS
    ]
    results = report(ReportSettings(csv=write_csv(tmp_path / "a.csv", rows)))
    assert results["num_scores"] == 4590
    assert results["raters"]["complete"] == 34
    assert all(abs(value) < 0.03 for value in results["alpha"].values())  # chance
    assert all(cell["upper"] - cell["lower"] < 0.4 for cell in results["means"])
