"""The paper's three filtering rules (Supplement C): resolution, area, meaning. Each names its value and its limit."""

from __future__ import annotations

from collections.abc import Sequence

from magdiff_curation.clips.masks import Masks, area_ratio
from magdiff_curation.clips.windows import middle_square, sample_stride
from magdiff_curation.config import FilterSettings
from magdiff_curation.meaning import meaning_problem
from magdiff_curation.reasons import ClipRejected, Reason


def check_short_side(width: int, height: int, settings: FilterSettings) -> None:
    """Raise ClipRejected where the source's short side is under the limit (rule 1)."""
    if min(width, height) < settings.min_short_side_px:
        raise ClipRejected(
            Reason.SHORT_SIDE_TOO_SMALL,
            f"{width}x{height} px: the short side {min(width, height)} is under {settings.min_short_side_px}",
        )


def check_area(ratios: Sequence[float], settings: FilterSettings) -> None:
    """Raise ClipRejected where the subject's share of the frame is out of range (rule 2).

    Args:
        ratios: the share per frame, 0 to 1; which of them count is `settings.area_frames`.
    """
    problem = _area_problem(ratios, settings)
    if problem is not None:
        raise problem


def _area_problem(ratios: Sequence[float], settings: FilterSettings) -> ClipRejected | None:
    counted = {"first": [ratios[0]], "mean": [sum(ratios) / len(ratios)], "every": list(ratios)}[settings.area_frames]
    which = {"first": "in the first frame", "mean": "on average", "every": "in at least one frame"}[
        settings.area_frames
    ]
    if min(counted) < settings.min_area_ratio:
        return ClipRejected(
            Reason.AREA_TOO_SMALL, f"the subject covers {min(counted):.3f} {which}, under {settings.min_area_ratio}"
        )
    if max(counted) > settings.max_area_ratio:
        return ClipRejected(
            Reason.AREA_TOO_LARGE, f"the subject covers {max(counted):.3f} {which}, over {settings.max_area_ratio}"
        )
    return None


def share_of_samples(masks: Masks, settings: FilterSettings) -> float:
    """Return the share of training's possible samples that pass the area rule within training's crop, 0 to 1.

    Args:
        masks: bool [F, H, W].
        settings: the rule, and in `training_view` what a sample is.
    """
    view = settings.training_view
    if len(masks) < view.num_frames:
        return 0.0
    ratios = [area_ratio(mask) for mask in middle_square(masks)]
    stride = sample_stride(len(masks), view.num_frames, view.frame_stride)
    reach = stride * (view.num_frames - 1)
    samples = [ratios[start : start + reach + 1 : stride] for start in range(len(masks) - reach)]
    return sum(sample[0] > 0 and _area_problem(sample, settings) is None for sample in samples) / len(samples)


def check_training_view(share: float, settings: FilterSettings) -> None:
    """Raise ClipRejected where too few of training's samples pass the area rule."""
    view = settings.training_view
    if share < view.min_share:
        raise ClipRejected(
            Reason.OUTSIDE_TRAINING_VIEW,
            f"in {share:.3f} of the samples of {view.num_frames} frames the subject's share of the middle square is "
            f"in range, under {view.min_share:g}",
        )


def check_meaning(label: str | None, settings: FilterSettings) -> None:
    """Raise ClipRejected where there is no label, or one that names no subject (rule 3)."""
    if label is None:
        raise ClipRejected(Reason.LABEL_MISSING, "the answer matched no subject word and the caption has no noun")
    problem = meaning_problem(label, max_words=settings.max_label_words, max_characters=settings.max_label_characters)
    if problem:
        raise ClipRejected(Reason.LABEL_WITHOUT_MEANING, problem)
