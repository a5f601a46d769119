import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval.scoring.tiny import TinyClips, moving, write_mp4, write_pictures
from PIL import Image as PillowImage

from magdiff_curation.toyworld.captions import plain_caption
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.metrics.fvd_interval import fvd_with_interval
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.score import ScoreSettings, main, score
from magdiff_eval.scoring.compare import compare, load_results
from magdiff_eval.scoring.folder import score_folder
from magdiff_eval.scoring.metric import LoadedMetric


def named(name: str, seed: int = 0) -> TinyClips:
    net = TinyClips(seed)
    net.name = name
    return net


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of eight videos, the first with a broken one too."""
    folder = tmp_path_factory.mktemp("sets")
    for number in range(8):
        write_pictures(folder / "made" / f"{number}", moving(number, 8))
        write_pictures(folder / "real" / f"{number}", moving(number + 50, 8))
    write_mp4(folder / "made" / "short.mp4", moving(0, 5))
    return folder / "made", folder / "real"


def run(sets: tuple[Path, Path], folder: Path, seed: int = 0, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"metrics": ("fvd", "video-is"), "reference": sets[1], "interval_resamples": 20} | more
    settings = ScoreSettings(videos=sets[0], output=folder / "out", features=folder / "features", **given)
    return score(settings, {metric: LoadedMetric(extractor=named(metric, seed)) for metric in settings.metrics})


def test_scores_rows_and_protocol_are_written_and_the_second_time_the_same(
    sets: tuple[Path, Path], tmp_path: Path
) -> None:
    results = run(sets, tmp_path)
    made, real = (score_folder(folder, [named("fvd")], tmp_path / "features").features("fvd") for folder in sets)
    assert results["scores"] == {
        "fvd": frechet_distance_from_features(made, real, ddof=1),
        "video-is": inception_score(made)[0],
    }
    assert results["videos"]["found"] == 9
    assert results["videos"]["counted"] == {"fvd": 8, "video-is": 8}
    assert results["videos"]["faults"] == {"fvd: length_not_taken": 1, "video-is: length_not_taken": 1}
    entry = results["protocol"]["fvd"]
    assert (entry["videos"], entry["reference"]["videos"], entry["ddof"]) == (8, 8, 1)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert json.loads(written["results.json"]) == results
    rows = [json.loads(line) for line in written["rows.jsonl"].splitlines()]
    assert [row["name"] for row in rows] == [*map(str, range(8)), "short"]
    run(sets, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written


def test_kept_statistics_stand_for_the_reference_folder(sets: tuple[Path, Path], tmp_path: Path) -> None:
    real, kept = (sets[1], sets[1]), tmp_path / "real.npz"
    alone = run(real, tmp_path, metrics=("fvd",), reference=None, statistics=kept)
    assert alone["scores"] == {}
    whole = run(sets, tmp_path, metrics=("fvd",))
    found = run(sets, tmp_path, metrics=("fvd",), reference=kept)
    assert found["scores"]["fvd"] == pytest.approx(whole["scores"]["fvd"], rel=1e-6)
    reference = [results["protocol"]["fvd"]["reference"]["contents_sha256"] for results in (whole, found)]
    assert reference[0] == reference[1]
    with pytest.raises(ValueError, match="was made with extractor"):
        run(sets, tmp_path, seed=1, metrics=("fvd",), reference=kept)


def test_two_results_compare_only_with_one_reference(sets: tuple[Path, Path], tmp_path: Path) -> None:
    run(sets, tmp_path / "a")
    run((sets[1], sets[1]), tmp_path / "b")
    a, b = (load_results(tmp_path / name / "out") for name in ("a", "b"))
    (distance, _) = compare(a, b).scores
    assert distance.score == "fvd"
    assert distance.mean_a > distance.mean_b
    assert distance.mean_b == pytest.approx(0, abs=1e-6)
    run((sets[0], sets[0]), tmp_path / "c")
    with pytest.raises(ValueError, match=r"fvd\.reference\.contents_sha256 is"):
        compare(a, load_results(tmp_path / "c" / "out"))


def test_settings_that_cannot_be_scored_are_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fvd is a distance: give --reference"):
        run(sets, tmp_path, reference=None)
    with pytest.raises(ValueError, match="--statistics is for one metric, not fvd, video-is"):
        run(sets, tmp_path, statistics=tmp_path / "s.npz")
    with pytest.raises(ValueError, match=r"give some of fvd, video-is, clip, .*, pickscore, each once"):
        run(sets, tmp_path, metrics=("fvd", "fvd"))
    assert not (tmp_path / "out").exists()


def test_splits_give_the_inception_scores_deviation(sets: tuple[Path, Path], tmp_path: Path) -> None:
    results = run(sets, tmp_path, metrics=("video-is",), splits=2)
    logits = score_folder(sets[0], [named("video-is")], tmp_path / "features").features("video-is")
    mean, deviation = inception_score(logits, 2)
    assert results["scores"] == {"video-is": mean}
    assert results["details"]["video-is"] == {"videos": 8, "deviation_over_splits": deviation}
    assert np.isfinite(deviation)


def test_a_distance_comes_with_its_interval_or_says_why_not(sets: tuple[Path, Path], tmp_path: Path) -> None:
    found = run(sets, tmp_path, metrics=("fvd",))
    made, real = (score_folder(folder, [named("fvd")], tmp_path / "features").features("fvd") for folder in sets)
    expected = fvd_with_interval(made, real, ddof=1, num_resamples=20, seed=0)
    assert found["scores"] == {"fvd": expected.value}
    assert found["intervals"] == {"fvd": [expected.lower, expected.upper]}
    details = found["details"]["fvd"]
    assert (details["num_a"], details["num_b"], details["reliable"]) == (8, 8, False)
    assert details["extrapolated"] == expected.extrapolated
    without = run(sets, tmp_path, metrics=("fvd",), interval_resamples=0)
    assert without["scores"]["fvd"] == pytest.approx(expected.value, rel=1e-9)
    assert "interval-resamples" in without["details"]["fvd"]["no_interval"]


def test_the_command_scores_offline_with_toyworlds_own_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["name,prompt,references"]
    for index in range(6):
        scene = sample_scene(5, index)
        frames, _ = render(scene, height=64, width=64, num_frames=8)
        write_pictures(tmp_path / ("made" if index < 3 else "real") / f"{index}", frames)
        PillowImage.fromarray(frames[0]).save(tmp_path / f"{index}.png")
        prompt = plain_caption(scene.subject.class_name, scene.action, scene.background)
        lines += [f"{index},{prompt},{index}.png"] if index < 3 else []
    (tmp_path / "items.csv").write_text("\n".join(lines))
    command = ["score", "--videos", str(tmp_path / "made"), "--reference", str(tmp_path / "real")]
    command += ["--items", str(tmp_path / "items.csv"), "--output", str(tmp_path / "out")]
    command += ["--features", str(tmp_path / "features"), "--extractors", "toyworld", "--num-frames", "8"]
    command += ["--metrics", "fvd", "video-is", "clip", "dino", "motion"]
    monkeypatch.setattr("sys.argv", command)
    main()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    names = ["fvd", "video-is", "clip-consistency", "clip-text", "dino", "motion"]
    assert list(results["scores"]) == names
    for metric in ("fvd", "video-is", "clip", "dino"):
        assert "not comparable with published numbers" in results["protocol"][metric]["about"]
    assert "no_interval" in results["details"]["fvd"]
    assert 0.9 < results["scores"]["clip-consistency"] <= 1
    assert 0.5 < results["scores"]["dino"] <= 1
    assert "dino: " in capsys.readouterr().out


def test_a_metric_that_cannot_be_had_leaves_the_others_their_scores(sets: tuple[Path, Path], tmp_path: Path) -> None:
    write_pictures(tmp_path / "one" / "only", moving(0, 8))
    single = (sets[0], tmp_path / "one")
    found = run(single, tmp_path / "both")
    assert list(found["scores"]) == ["video-is"]
    assert "has 1 rows and needs at least 2" in found["not_scored"]["fvd"]
    with pytest.raises(ValueError, match="has 1 rows and needs at least 2"):
        run(single, tmp_path / "alone", metrics=("fvd",))
