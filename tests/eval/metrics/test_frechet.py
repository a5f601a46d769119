import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from magdiff_eval.metrics.frechet import RunningStatistics, frechet_distance, frechet_distance_from_features

Rows = NDArray[np.float64]


class AsTheyAre(torch.nn.Module):
    """Takes features for images, so that torchmetrics judges the same ones."""

    num_features = 24

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def features(num_rows: int, dim: int, seed: int) -> Rows:
    """Rows whose features are correlated, and differ in size by a factor of a hundred."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(1, 0.01, dim)
    return rng.standard_normal((num_rows, dim)) * scales @ rng.standard_normal((dim, dim)) + rng.standard_normal(dim)


def test_gaussians_with_commuting_covariances_have_the_closed_form() -> None:
    mean_a, mean_b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 0.0])
    variances_a, variances_b = np.array([4.0, 9.0, 0.0]), np.array([1.0, 16.0, 25.0])
    turn = scipy.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    covariances = [turn * variances @ turn.T for variances in (variances_a, variances_b)]
    found = frechet_distance(mean_a, covariances[0], mean_b, covariances[1])
    assert found == pytest.approx(4 + 9 + (2 - 1) ** 2 + (3 - 4) ** 2 + (0 - 5) ** 2, rel=1e-12)


def test_two_rows_a_side_have_the_closed_form() -> None:
    a = np.array([[1.0, 0.0], [-1.0, 0.0]])
    b = np.array([[0.0, 3.0], [2.0, 3.0]])
    # means differ by (1, 3); variances along the first axis are 2 and 2, with ddof 0 both 1; the second has none
    assert frechet_distance_from_features(a, b) == pytest.approx(10, rel=1e-12)
    assert frechet_distance_from_features(a, 2 * b, ddof=0) == pytest.approx(4 + 36 + (1 - 2) ** 2, rel=1e-12)


@pytest.mark.parametrize(("num_a", "num_b"), [(300, 200), (90, 400)])
def test_the_distance_is_torchmetrics_and_torch_fidelitys_and_sqrtms(num_a: int, num_b: int) -> None:
    a, b = features(num_a, 24, 1), features(num_b, 24, 2)
    found = frechet_distance_from_features(a, b)
    metric = FrechetInceptionDistance(AsTheyAre(), input_img_size=(24,)).set_dtype(torch.float64)
    metric.update(torch.from_numpy(a), real=True)
    metric.update(torch.from_numpy(b), real=False)
    assert found == pytest.approx(float(metric.compute()), rel=1e-6)
    statistics = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (a, b)]
    fidelity = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert found == pytest.approx(fidelity, rel=1e-6)
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    between = np.sum((a.mean(0) - b.mean(0)) ** 2)
    assert found == pytest.approx(between + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root), rel=1e-6)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(("num_a", "num_b", "dim"), [(100, 80, 20), (12, 9, 40), (12, 80, 40), (41, 40, 40)])
def test_features_and_their_means_and_covariances_give_the_same(num_a: int, num_b: int, dim: int, ddof: int) -> None:
    a, b = features(num_a, dim, 3), features(num_b, dim, 4)
    from_features = frechet_distance_from_features(a, b, ddof=ddof)
    covariances = [np.cov(rows.T, ddof=ddof) for rows in (a, b)]
    from_moments = frechet_distance(a.mean(axis=0), covariances[0], b.mean(axis=0), covariances[1])
    assert from_features == pytest.approx(from_moments, rel=1e-6)


@pytest.mark.parametrize("num_rows", [2, 15, 100])
def test_a_set_is_at_no_distance_from_itself_and_never_below_with_few_rows_or_many(num_rows: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(5):
            rows = features(num_rows, 30, seed)
            covariance = np.cov(rows.T)
            limit = 1e-9 * np.trace(covariance)
            assert 0 <= frechet_distance_from_features(rows, rows) < limit
            assert 0 <= frechet_distance_from_features(rows, rows[::-1]) < limit
            assert 0 <= frechet_distance(rows.mean(0), covariance, rows.mean(0), covariance) < limit


def test_a_constant_set_is_at_the_distance_of_a_point() -> None:
    rows = features(50, 6, 0)
    point = np.tile(rows.mean(axis=0), (3, 1))
    assert frechet_distance_from_features(rows, point) == pytest.approx(np.trace(np.cov(rows.T)), rel=1e-12)


def test_a_large_constant_on_every_feature_changes_nothing() -> None:
    a, b = features(200, 16, 1), features(150, 16, 2)
    near = frechet_distance_from_features(a, b)
    assert frechet_distance_from_features(a + 1e6, b + 1e6) == pytest.approx(near, rel=1e-5)
    streams = []
    for rows in (a, b):
        stream = RunningStatistics(16)
        for start in range(0, len(rows), 7):
            stream.update(rows[start : start + 7] + 1e6)
        streams.append(stream)
    far = frechet_distance(streams[0].mean, streams[0].covariance(), streams[1].mean, streams[1].covariance())
    assert far == pytest.approx(near, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 13, 100, 250])
def test_streamed_statistics_do_not_depend_on_the_batches_size_or_order(batch_size: int) -> None:
    rows = features(250, 12, 5) + 100
    order = np.random.default_rng(6).permutation(250)
    for taken in (rows, rows[order]):
        stream = RunningStatistics(12)
        for start in range(0, 250, batch_size):
            stream.update(taken[start : start + batch_size])
        assert stream.count == 250
        np.testing.assert_allclose(stream.mean, rows.mean(axis=0), rtol=1e-9)
        for ddof in (0, 1):
            expected = np.cov(rows.T, ddof=ddof)
            np.testing.assert_allclose(stream.covariance(ddof), expected, rtol=1e-9, atol=1e-9 * expected.max())


def test_merged_streams_are_one_stream_and_the_merged_stays_as_it_is() -> None:
    rows = features(90, 5, 7)
    parts = []
    for piece in (rows[:20], rows[20:21], rows[21:]):
        parts.append(RunningStatistics(5))
        parts[-1].update(piece)
    whole, last_mean = RunningStatistics(5), parts[2].mean.copy()
    for part in (parts[2], RunningStatistics(5), parts[0], parts[1]):
        whole.merge(part)
    assert (whole.count, parts[2].count) == (90, 69)
    np.testing.assert_allclose(whole.covariance(), np.cov(rows.T), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(parts[2].mean, last_mean)


def test_statistics_come_back_from_a_file_to_the_bit_with_their_stamp(tmp_path: Path) -> None:
    stream = RunningStatistics(4)
    stream.update(features(30, 4, 8))
    stamp = {"protocol": {"name": "magdiff", "ddof": 1}, "frames": 16}
    stream.to_npz(tmp_path / "real.npz", stamp)
    found, read = RunningStatistics.from_npz(tmp_path / "real.npz", expected=stamp)
    assert read == {**stamp, "dim": 4, "count": 30}
    assert found.count == 30
    np.testing.assert_array_equal(found.mean, stream.mean)
    np.testing.assert_array_equal(found.covariance(), stream.covariance())
    with np.load(tmp_path / "real.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["stamp"].tobytes()) == read
    stream.to_npz(tmp_path / "again.npz", stamp)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "real.npz").read_bytes()


def test_statistics_of_another_protocol_and_other_files_are_refused(tmp_path: Path) -> None:
    stream = RunningStatistics(4)
    stream.update(features(30, 4, 8))
    stream.to_npz(tmp_path / "real.npz", {"frames": 16})
    with pytest.raises(ValueError, match=r"real.npz was made with frames 16, wanted is 8: compute it again"):
        RunningStatistics.from_npz(tmp_path / "real.npz", expected={"frames": 8})
    with pytest.raises(ValueError, match="was made with weights None, wanted is 'tf'"):
        RunningStatistics.from_npz(tmp_path / "real.npz", expected={"weights": "tf"})
    with pytest.raises(ValueError, match=r"\['count'\], which are added here"):
        stream.to_npz(tmp_path / "real.npz", {"count": 3})
    np.savez(tmp_path / "pickled.npz", mean=np.array([object()]), allow_pickle=True)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "real.npz").read_bytes()[:200])
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("pickled.npz", "cut.npz", "text.npz"):
        with pytest.raises(ValueError, match=rf"{name} is not a file of running statistics"):
            RunningStatistics.from_npz(tmp_path / name)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row(value: float) -> None:
    rows = features(30, 4, 9)
    bad = rows.copy()
    bad[17, 2] = value
    with pytest.raises(ValueError, match=f"row 17 of b holds {value}"):
        frechet_distance_from_features(rows, bad)
    stream = RunningStatistics(4)
    stream.update(rows)
    with pytest.raises(ValueError, match=f"row 47 of the stream holds {value}"):
        stream.update(bad)
    assert stream.count == 30


def test_too_few_rows_and_features_that_do_not_fit_are_refused() -> None:
    rows = features(30, 4, 10)
    with pytest.raises(ValueError, match="b has 1 rows and needs at least 2"):
        frechet_distance_from_features(rows, rows[:1])
    assert frechet_distance_from_features(rows[:1], rows[:1], ddof=0) == 0
    with pytest.raises(ValueError, match="a has 4 features and b 3"):
        frechet_distance_from_features(rows, rows[:, :3])
    with pytest.raises(ValueError, match=r"a has shape \(4,\)"):
        frechet_distance_from_features(rows[0], rows)
    stream = RunningStatistics(4)
    with pytest.raises(ValueError, match="got 3 features, expected 4"):
        stream.update(rows[:, :3])
    stream.update(rows[:1])
    stream.update(rows[:0])
    with pytest.raises(ValueError, match="1 rows have no covariance with ddof 1: add at least 2"):
        stream.covariance()
    with pytest.raises(ValueError, match="dim is 0"):
        RunningStatistics(0)


def test_matrices_that_are_no_covariances_are_refused() -> None:
    mean, good = np.zeros(2), np.eye(2)
    with pytest.raises(ValueError, match="cov_b has the eigenvalue -1 beside 3"):
        frechet_distance(mean, good, mean, np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="cov_a is not symmetric"):
        frechet_distance(mean, np.array([[1.0, 0.5], [0.0, 1.0]]), mean, good)
    with pytest.raises(ValueError, match=r"mean_a \(2,\) and cov_a \(3, 3\)"):
        frechet_distance(mean, np.eye(3), mean, good)
    with pytest.raises(ValueError, match="cov_b holds values that are not finite"):
        frechet_distance(mean, good, mean, np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="a has 2 features and b 3"):
        frechet_distance(mean, good, np.zeros(3), np.eye(3))
