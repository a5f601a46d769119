"""Why a clip was kept, dropped or failed: a closed set, so that ledgers can be counted and compared."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of an input."""

    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"


class Reason(StrEnum):
    """One word for the ledger; `DROPPED_REASONS` are decisions, all others but KEPT are failures."""

    KEPT = "kept"
    SHORT_SIDE_TOO_SMALL = "short_side_too_small"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    CAPTION_MISSING = "caption_missing"
    LABEL_MISSING = "label_missing"
    LABEL_WITHOUT_MEANING = "label_without_meaning"
    SUBJECT_NOT_FOUND = "subject_not_found"
    SUBJECT_LOST = "subject_lost"
    AREA_TOO_SMALL = "area_too_small"
    AREA_TOO_LARGE = "area_too_large"
    OUTSIDE_TRAINING_VIEW = "outside_training_view"
    SUBJECT_ENTERS_LATE = "subject_enters_late"
    SEVERAL_SUBJECTS = "several_subjects"
    STATIC = "static_clip"
    TOO_MUCH_MOTION = "too_much_motion"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    SOURCE_MISSING = "source_missing"
    SOURCE_REFUSED = "source_refused"
    SOURCE_UNREADABLE = "source_unreadable"
    FRAMES_MISSING = "frames_missing"
    LIMIT_EXCEEDED = "limit_exceeded"
    ANSWER_MISSING = "answer_missing"
    BOX_UNUSABLE = "box_unusable"
    SPAN_UNUSABLE = "span_unusable"
    WORKER_DIED = "worker_died"
    INTERNAL_ERROR = "internal_error"


DROPPED_REASONS = frozenset(
    {
        Reason.SHORT_SIDE_TOO_SMALL,
        Reason.TOO_LONG,
        Reason.TOO_SHORT,
        Reason.CAPTION_MISSING,
        Reason.LABEL_MISSING,
        Reason.LABEL_WITHOUT_MEANING,
        Reason.SUBJECT_NOT_FOUND,
        Reason.SUBJECT_LOST,
        Reason.AREA_TOO_SMALL,
        Reason.AREA_TOO_LARGE,
        Reason.OUTSIDE_TRAINING_VIEW,
        Reason.SUBJECT_ENTERS_LATE,
        Reason.SEVERAL_SUBJECTS,
        Reason.STATIC,
        Reason.TOO_MUCH_MOTION,
        Reason.DUPLICATE,
        Reason.NEAR_DUPLICATE,
    }
)


class ClipRejected(Exception):
    """A clip goes no further: the reason for the ledger, and a sentence with the value and the limit."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail

    @property
    def status(self) -> Status:
        """Dropped where a rule decided, failed where something broke."""
        return Status.DROPPED if self.reason in DROPPED_REASONS else Status.FAILED
