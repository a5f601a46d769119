"""Plain words for the ledger's codes, and the stage that a reason belongs to."""

from __future__ import annotations

from magdiff_curation.reasons import Reason

STAGES = ("shots", "normalize", "answer", "label", "mask", "pack", "elsewhere")
"""The funnel's stages in order; "elsewhere" takes what names none of the others."""

STAGE_SENTENCES = {
    "shots": "find the cuts",
    "normalize": "open the source, make the canonical clip",
    "answer": "ask what is in the foreground",
    "label": "choose the subject's label",
    "mask": "find the subject, follow it",
    "pack": "put clips into shards",
    "elsewhere": "no stage recorded",
}

SENTENCES = {
    Reason.KEPT: "Passed every stage and is in a shard.",
    Reason.SHORT_SIDE_TOO_SMALL: "The source's short side has too few pixels.",
    Reason.TOO_LONG: "The clip takes longer than the limit.",
    Reason.TOO_SHORT: "The clip has too few frames to train on.",
    Reason.CAPTION_MISSING: "There is no caption, and none was made.",
    Reason.LABEL_MISSING: "Neither the answer nor the caption names a subject.",
    Reason.LABEL_WITHOUT_MEANING: "The label does not say clearly what the subject is.",
    Reason.SUBJECT_NOT_FOUND: "Nothing in the picture was taken for the label.",
    Reason.SUBJECT_LOST: "The subject was found, but could not be followed to the end.",
    Reason.AREA_TOO_SMALL: "The subject covers too little of the frame.",
    Reason.AREA_TOO_LARGE: "The subject covers too much of the frame.",
    Reason.OUTSIDE_TRAINING_VIEW: "Too little of the subject is left in the crop that training sees.",
    Reason.SUBJECT_ENTERS_LATE: "The subject is not yet there in the first frame.",
    Reason.SEVERAL_SUBJECTS: "Several subjects go by this label, and one was wanted.",
    Reason.STATIC: "The picture hardly moves.",
    Reason.TOO_MUCH_MOTION: "The picture moves too fast.",
    Reason.DUPLICATE: "The very same clip is there already.",
    Reason.NEAR_DUPLICATE: "A clip that looks almost the same is there already.",
    Reason.SOURCE_MISSING: "There is no file where the source should be.",
    Reason.SOURCE_REFUSED: "The source is of a kind that is not opened: container, codec or playlist.",
    Reason.SOURCE_UNREADABLE: "The source could not be opened as a video.",
    Reason.FRAMES_MISSING: "Some of the source's frames are missing or damaged.",
    Reason.LIMIT_EXCEEDED: "Opening the source took more time, memory or pixels than allowed.",
    Reason.ANSWER_MISSING: "No answer was given for this clip.",
    Reason.BOX_UNUSABLE: "The box given for the subject cannot be used.",
    Reason.SPAN_UNUSABLE: "The start and end given for the clip make no span.",
    Reason.WORKER_DIED: "The process that worked on this clip died.",
    Reason.INTERNAL_ERROR: "The program failed; the details name the error.",
}


def sentence(reason: str) -> str:
    """Return one plain sentence for a reason code; a code of another version gets one that says so."""
    return SENTENCES.get(Reason(reason), reason) if reason in list(Reason) else "A reason that this version lacks."


def stage_of(stage: str, reason: str) -> str:
    """Return which of `STAGES` a row's outcome belongs to; duplicates show only at packing."""
    if reason in (Reason.DUPLICATE, Reason.NEAR_DUPLICATE):
        return "pack"
    stage = "pack" if stage == "commit" else stage
    return stage if stage in STAGES else "elsewhere"
