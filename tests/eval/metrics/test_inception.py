import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_fidelity.metric_isc import isc_features_to_metric
from torchmetrics.image.inception import InceptionScore

from magdiff_eval.metrics.inception import inception_score


def logits(num_rows: int, classes: int = 17, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((num_rows, classes)) * 3


def test_sure_and_even_predictions_score_the_number_of_classes() -> None:
    sure = np.tile(np.eye(5) * 200, (4, 1))
    assert inception_score(sure) == pytest.approx((5, 0), rel=1e-12)
    assert inception_score(np.ones((6, 5))) == pytest.approx((1, 0), rel=1e-12)


def test_two_predictions_have_the_closed_form() -> None:
    # p = (3/4, 1/4) and (1/4, 3/4), so p(y) is even and every row's divergence is log 2 minus its entropy
    rows = np.log(np.array([[3.0, 1.0], [1.0, 3.0]]))
    divergence = np.log(2) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    assert inception_score(rows)[0] == pytest.approx(np.exp(divergence), rel=1e-12)


@pytest.mark.parametrize("splits", [1, 3, 10])
@pytest.mark.parametrize("seed", [None, 42, 2020])
def test_mean_and_deviation_are_torch_fidelitys_for_the_same_seed(splits: int, seed: int | None) -> None:
    rows = logits(205)
    theirs = isc_features_to_metric(torch.from_numpy(rows), splits, shuffle=seed is not None, rng_seed=seed)
    mean, deviation = inception_score(rows, splits, seed)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert deviation == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all")
def test_the_score_is_torchmetrics_but_for_how_its_deviation_divides() -> None:
    rows = torch.from_numpy(logits(200))
    metric = InceptionScore(torch.nn.Identity(), splits=10).set_dtype(torch.float64)
    metric.update(rows)
    torch.manual_seed(3)
    theirs = metric.compute()
    torch.manual_seed(3)
    mean, deviation = inception_score(rows[torch.randperm(200)].numpy(), splits=10)
    assert mean == pytest.approx(float(theirs[0]), rel=1e-6)
    assert deviation == pytest.approx(float(theirs[1]) * np.sqrt(9 / 10), rel=1e-6)


def test_seed_42_shuffles_as_stylegan_v_does() -> None:
    rows = logits(123)
    probabilities = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    np.random.RandomState(42).shuffle(probabilities)
    scores = []
    for index in range(10):
        part = probabilities[index * 123 // 10 : (index + 1) * 123 // 10]
        scores.append(np.exp(np.mean(np.sum(part * (np.log(part) - np.log(part.mean(axis=0))), axis=1))))
    assert inception_score(rows, 10, 42) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-9)


def test_probabilities_that_underflow_add_nothing() -> None:
    rows = np.array([[0.0, -5000.0, -6000.0], [-5000.0, 0.0, -6000.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert inception_score(rows)[0] == pytest.approx(2, rel=1e-12)
        assert inception_score(rows + 1e4)[0] == pytest.approx(2, rel=1e-12)


def test_splits_and_logits_that_cannot_be_used_are_refused() -> None:
    rows = logits(5)
    for splits in (0, 6):
        with pytest.raises(ValueError, match=f"splits is {splits} for 5 rows: need 1 to 5"):
            inception_score(rows, splits)
    rows[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3 of logits holds nan"):
        inception_score(rows)
    with pytest.raises(ValueError, match="logits has shape"):
        inception_score(rows[0])
