import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval.scoring.tiny import TinyClips, moving, write_mp4, write_pictures

from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.score import ScoreSettings, score
from magdiff_eval.scoring.compare import compare, load_results
from magdiff_eval.scoring.folder import score_folder


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
    given: dict[str, Any] = {"metrics": ("toyworld-fvd", "toyworld-is"), "reference": sets[1]} | more
    settings = ScoreSettings(videos=sets[0], output=folder / "out", features=folder / "features", **given)
    return score(settings, [named(metric, seed) for metric in settings.metrics])


def test_scores_rows_and_protocol_are_written_and_the_second_time_the_same(
    sets: tuple[Path, Path], tmp_path: Path
) -> None:
    results = run(sets, tmp_path)
    made, real = (
        score_folder(folder, [named("toyworld-fvd")], tmp_path / "features").features("toyworld-fvd") for folder in sets
    )
    assert results["scores"] == {
        "toyworld-fvd": frechet_distance_from_features(made, real, ddof=1),
        "toyworld-is": inception_score(made)[0],
    }
    assert results["videos"]["found"] == 9
    assert results["videos"]["counted"] == {"toyworld-fvd": 8, "toyworld-is": 8}
    assert results["videos"]["faults"] == {"toyworld-fvd: length_not_taken": 1, "toyworld-is: length_not_taken": 1}
    entry = results["protocol"]["toyworld-fvd"]
    assert (entry["videos"], entry["reference"]["videos"], entry["ddof"]) == (8, 8, 1)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert json.loads(written["results.json"]) == results
    rows = [json.loads(line) for line in written["rows.jsonl"].splitlines()]
    assert [row["name"] for row in rows] == [*map(str, range(8)), "short"]
    run(sets, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == written


def test_kept_statistics_stand_for_the_reference_folder(sets: tuple[Path, Path], tmp_path: Path) -> None:
    real, kept = (sets[1], sets[1]), tmp_path / "real.npz"
    alone = run(real, tmp_path, metrics=("toyworld-fvd",), reference=None, statistics=kept)
    assert alone["scores"] == {}
    whole = run(sets, tmp_path, metrics=("toyworld-fvd",))
    found = run(sets, tmp_path, metrics=("toyworld-fvd",), reference=kept)
    assert found["scores"]["toyworld-fvd"] == pytest.approx(whole["scores"]["toyworld-fvd"], rel=1e-6)
    reference = [results["protocol"]["toyworld-fvd"]["reference"]["contents_sha256"] for results in (whole, found)]
    assert reference[0] == reference[1]
    with pytest.raises(ValueError, match="was made with extractor"):
        run(sets, tmp_path, seed=1, metrics=("toyworld-fvd",), reference=kept)


def test_two_results_compare_only_with_one_reference(sets: tuple[Path, Path], tmp_path: Path) -> None:
    run(sets, tmp_path / "a")
    run((sets[1], sets[1]), tmp_path / "b")
    a, b = (load_results(tmp_path / name / "out") for name in ("a", "b"))
    (distance, _) = compare(a, b).scores
    assert distance.score == "toyworld-fvd"
    assert distance.mean_a > distance.mean_b
    assert distance.mean_b == pytest.approx(0, abs=1e-6)
    run((sets[0], sets[0]), tmp_path / "c")
    with pytest.raises(ValueError, match=r"toyworld-fvd\.reference\.contents_sha256 is"):
        compare(a, load_results(tmp_path / "c" / "out"))


def test_settings_that_cannot_be_scored_are_refused(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="toyworld-fvd is a distance: give --reference"):
        run(sets, tmp_path, reference=None)
    with pytest.raises(ValueError, match="--statistics is for one metric, not toyworld-fvd, toyworld-is"):
        run(sets, tmp_path, statistics=tmp_path / "s.npz")
    with pytest.raises(ValueError, match="give some of fvd, video-is, toyworld-fvd, toyworld-is, each once"):
        run(sets, tmp_path, metrics=("fvd", "fvd"))
    assert not (tmp_path / "out").exists()


def test_splits_give_the_inception_scores_deviation(sets: tuple[Path, Path], tmp_path: Path) -> None:
    results = run(sets, tmp_path, metrics=("toyworld-is",), splits=2)
    logits = score_folder(sets[0], [named("toyworld-is")], tmp_path / "features").features("toyworld-is")
    mean, deviation = inception_score(logits, 2)
    assert results["scores"] == {"toyworld-is": mean, "toyworld-is deviation": deviation}
    assert np.isfinite(deviation)
