"""From settings to models: what answers, what grounds, what segments, what tracks. Only what is asked for is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from magdiff_curation.clips.masks import Frames, Mask
from magdiff_curation.foreground import Captioner, ForegroundAnswerer, ManifestAnswerer
from magdiff_curation.grounding import Detection, Grounder, GroundingRequest, ManifestFirstGrounder, ManifestGrounder
from magdiff_curation.models import local_model
from magdiff_curation.reasons import ClipRejected, Reason
from magdiff_curation.sam_track import Followed, SamTrack, whole
from magdiff_curation.segment import GrabCutSegmenter, Segmenter
from magdiff_curation.trackers import Tracker
from magdiff_curation.trackers.optical_flow import OpticalFlowTracker
from magdiff_curation.vision_config import AnswerSettings, HubModelSettings, MaskSettings, models_in_use

_HubModel = TypeVar("_HubModel", bound=HubModelSettings)


class Masker(Protocol):
    """Anything that follows a label through a clip."""

    models: dict[str, str]
    """What is done -> model and revision, for the clip's provenance."""

    def follow(self, frames: Frames, request: GroundingRequest, check_first: Callable[[Mask], None]) -> Followed:
        """Return the subject's masks; `request` is the first frame's, `check_first` gets the first mask early.

        Raises:
            ClipRejected: the subject cannot be followed.
        """
        ...


class SamTrackMasker:
    """A grounder, a segmenter and a tracker, in SAM-Track's way."""

    def __init__(self, settings: MaskSettings) -> None:
        self.settings = settings
        self.grounder = new_grounder(settings)
        segmenter = new_segmenter(settings)
        tracker = new_tracker(settings, segmenter)
        self.sam_track = SamTrack(segmenter, tracker, settings.sam_track)
        self.models = {"ground": self.grounder.name, "segment": segmenter.name, "track": tracker.name}

    def follow(self, frames: Frames, request: GroundingRequest, check_first: Callable[[Mask], None]) -> Followed:
        """Return the subject's masks."""

        def look(frame: int) -> list[Detection]:
            return self.grounder.ground(
                GroundingRequest(
                    image=frames[frame],
                    frame=frame,
                    label=request.label,
                    source_size=request.source_size,
                    fields=request.fields,
                )
            )

        last = len(frames) if self.grounder.any_frame else 1
        key_frames = range(0, last, self.settings.sam_track.key_frame_interval)
        return self.sam_track.follow(frames, request.label, look, key_frames, check_first)


class Sam3SubjectMasker:
    """SAM 3, and the choice of the subject among the objects it finds."""

    def __init__(self, settings: MaskSettings) -> None:
        from magdiff_curation.sam3 import Sam3Masker

        sam3 = _here(settings.sam3)
        self.instances = settings.sam_track.instances
        self.sam3 = Sam3Masker(sam3.model, device=sam3.device, dtype=sam3.dtype, revision=sam3.revision)
        self.models = {"mask": self.sam3.name}

    def follow(self, frames: Frames, request: GroundingRequest, check_first: Callable[[Mask], None]) -> Followed:
        """Return the subject's masks."""
        from magdiff_curation.sam3 import LabelUnreadable

        try:
            found = self.sam3.follow(frames, request.label)
        except LabelUnreadable as error:
            raise ClipRejected(Reason.SUBJECT_NOT_FOUND, str(error)) from error
        if not found.masks:
            raise ClipRejected(Reason.SUBJECT_NOT_FOUND, f"no {request.label!r} in any of {len(frames)} frames")
        if len(found.masks) > 1 and self.instances == "only":
            raise ClipRejected(Reason.SEVERAL_SUBJECTS, f"{len(found.masks)} of {request.label!r}; wanted is one")
        best = max(found.scores, key=lambda number: found.scores[number])
        masks = np.logical_or.reduce(list(found.masks.values())) if self.instances == "all" else found.masks[best]
        followed = whole(request.label, [mask if mask.any() else None for mask in masks])
        check_first(followed[0])
        return Followed(masks=followed, score=round(found.scores[best], 6), agreement=1.0)


def check_models(answer: AnswerSettings, mask: MaskSettings) -> None:
    """Look, without loading them, whether all models that the settings ask for can be had.

    Raises:
        ValueError: one cannot; the message names the setting, the model and the remedy.
    """
    if answer.missing_caption == "make" and answer.backend == "manifest":
        raise ValueError("answer.missing_caption is 'make', which needs answer.backend 'image_text'")
    models, files = models_in_use(answer, mask)
    if models:
        from magdiff_curation.hub import check_there
    for name, settings in models.items():
        try:
            check_there(local_model(settings.model), settings.revision)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    for name, path in files.items():
        try:
            there = Path(local_model(path)).exists()
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if not there:
            raise ValueError(f"{name}: there is no {path} here; docs/curation.md says where the weights come from")


def new_answerer(settings: AnswerSettings) -> ForegroundAnswerer:
    """Return what answers the foreground question.

    Raises:
        ValueError: its model cannot be loaded.
    """
    if settings.backend == "manifest":
        return ManifestAnswerer(settings.answer_column)
    from magdiff_curation.image_text import ImageTextModel

    return ImageTextModel(_here(settings.image_text))


def new_captioner(settings: AnswerSettings, answerer: ForegroundAnswerer) -> Captioner | None:
    """Return what captions clips without a caption, or None where such clips are dropped.

    Raises:
        ValueError: captions are to be made, and there is no model to make them.
    """
    if settings.missing_caption == "drop":
        return None
    if not isinstance(answerer, Captioner):
        raise ValueError("answer.missing_caption is 'make', which needs answer.backend 'image_text'")
    return answerer


def new_masker(settings: MaskSettings) -> Masker:
    """Return what follows a label through a clip.

    Raises:
        ValueError: a model cannot be loaded.
    """
    if settings.backend == "sam3":
        return Sam3SubjectMasker(settings)
    return SamTrackMasker(settings)


def new_grounder(settings: MaskSettings) -> Grounder:
    """Return what finds a label in a picture.

    Raises:
        ValueError: its model cannot be loaded.
    """
    manifest = ManifestGrounder(settings.box_column)
    if settings.grounder == "manifest":
        return manifest
    from magdiff_curation.zero_shot import ZeroShotGrounder

    detector = ZeroShotGrounder(_here(settings.zero_shot))
    return detector if settings.grounder == "zero_shot" else ManifestFirstGrounder(manifest, detector)


def new_segmenter(settings: MaskSettings) -> Segmenter:
    """Return what turns a box into a mask.

    Raises:
        ValueError: its weights are missing.
    """
    if settings.segmenter == "grabcut":
        return GrabCutSegmenter(settings.grabcut)
    from magdiff_curation.hub import pick_device
    from magdiff_curation.sam import SamSegmenter

    return SamSegmenter(Path(local_model(settings.sam.weights)), str(pick_device(settings.sam.device)))


def new_tracker(settings: MaskSettings, segmenter: Segmenter) -> Tracker:
    """Return what carries a mask through a clip.

    Raises:
        ValueError: its weights are missing.
    """
    match settings.tracker:
        case "optical_flow":
            return OpticalFlowTracker(settings.optical_flow)
        case "reprompt":
            from magdiff_curation.trackers.reprompt import RepromptTracker

            return RepromptTracker(settings.reprompt, segmenter)
        case "sam2":
            from magdiff_curation.trackers.sam2 import Sam2Tracker

            sam2 = _here(settings.sam2)
            return Sam2Tracker(sam2.model, device=sam2.device, dtype=sam2.dtype, revision=sam2.revision)
        case "deaot":
            from magdiff_curation.trackers.deaot import DeAotTracker

            deaot = settings.deaot
            return DeAotTracker(
                deaot.model,
                Path(local_model(deaot.weights)),
                device=deaot.device,
                max_long_side_px=deaot.max_long_side_px,
                long_term_gap_frames=deaot.long_term_gap_frames,
                max_long_term_frames=deaot.max_long_term_frames,
            )


def _here(settings: _HubModel) -> _HubModel:
    return replace(settings, model=local_model(settings.model))
