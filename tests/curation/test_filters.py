import pytest

from magdiff_curation.config import FilterSettings
from magdiff_curation.filters import check_area, check_meaning, check_short_side
from magdiff_curation.reasons import ClipRejected, Reason, Status


def reason(check, *arguments) -> Reason | None:
    try:
        check(*arguments)
    except ClipRejected as rejection:
        assert rejection.status == Status.DROPPED
        return rejection.reason
    return None


@pytest.mark.parametrize(("size", "expected"), [((512, 2000), None), ((1920, 511), Reason.SHORT_SIDE_TOO_SMALL)])
def test_short_sides_under_the_limit_are_dropped(size: tuple[int, int], expected: Reason | None) -> None:
    assert reason(check_short_side, *size, FilterSettings()) == expected


@pytest.mark.parametrize(
    ("frames", "ratios", "expected"),
    [
        ("mean", [0.05, 0.05], None),
        ("mean", [0.6, 0.6], None),
        ("mean", [0.01, 0.2], None),
        ("first", [0.01, 0.2], Reason.AREA_TOO_SMALL),
        ("every", [0.2, 0.01], Reason.AREA_TOO_SMALL),
        ("every", [0.2, 0.61], Reason.AREA_TOO_LARGE),
        ("mean", [0.7, 0.7], Reason.AREA_TOO_LARGE),
    ],
)
def test_the_area_rule_reads_the_frames_it_is_told_to(
    frames: str, ratios: list[float], expected: Reason | None
) -> None:
    assert reason(check_area, ratios, FilterSettings(area_frames=frames)) == expected


@pytest.mark.parametrize("label", ["dog", "big dog", "red car", "собака"])
def test_labels_that_name_something_pass(label: str) -> None:
    assert reason(check_meaning, label) is None


@pytest.mark.parametrize("label", ["background", "it", "", "   ", "42", "!!!", "🐶", "the picture"[4:], "red"])
def test_labels_that_name_nothing_are_dropped(label: str) -> None:
    assert reason(check_meaning, label) == Reason.LABEL_WITHOUT_MEANING


def test_no_label_has_its_own_reason() -> None:
    assert reason(check_meaning, None) == Reason.LABEL_MISSING
