"""One video on its way from the folder to the extractors: what it is called, and what of it they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames
from magdiff_eval.scoring.contents import content_of, signature_of
from magdiff_eval.scoring.extractors import Extractor
from magdiff_eval.scoring.faults import Expectations, Facts, Fault, Reason, VideoFault, judge
from magdiff_eval.scoring.features import FeatureStore, Signature
from magdiff_eval.scoring.videos import VideoPath, read


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a video is, and its frames."""

    content: str
    result: Facts | Fault
    frames: Frames | None = None
    """Only those that some extractor needs."""
    places: Mapping[str, NDArray[np.int64] | Fault]
    """By extractor's key, where its frames are among them."""


def name_of(video: VideoPath, store: FeatureStore) -> tuple[Signature | None, str]:
    """Return a video's signature and content; None and a stand-in where its bytes cannot be had."""
    try:
        signature = signature_of(video)
        return signature, store.contents.get(signature) or content_of(video)
    except VideoFault:
        return None, f"unread:{video.path.absolute()}"


def is_done(video: VideoPath, store: FeatureStore, expected: Expectations) -> bool:
    """Whether nothing is left to be found of a video; one whose content is not known yet is not read for that."""
    try:
        content = store.contents.get(signature_of(video))
    except VideoFault:
        return False
    return content is not None and store.is_done(content, expected)


def read_for(
    extractors: Mapping[str, Extractor],
    video: VideoPath,
    signature: Signature | None,
    content: str,
    expected: Expectations,
) -> Reading:
    """Return a video's reading for extractors, given by key; only the frames that they need are kept of it."""
    try:
        before = signature_of(video)
        frames, facts = read(video)
        if signature_of(video) != before or before != signature:
            raise VideoFault(Reason.CHANGED, "it changed while it was read: score it again when it is complete")
    except VideoFault as stopped:
        return Reading(content=content, result=stopped.fault, places={})
    if judge(facts, expected) is not None:
        return Reading(content=content, result=facts, places={})
    needed: dict[str, NDArray[np.int64] | Fault] = {}
    for key, extractor in extractors.items():
        try:
            needed[key] = extractor.frames_needed(len(frames))
        except ValueError as error:
            needed[key] = Fault(Reason.LENGTH_NOT_TAKEN, str(error))
    numbers = [indices for indices in needed.values() if not isinstance(indices, Fault)]
    used = np.unique(np.concatenate(numbers)) if numbers else np.zeros(0, np.int64)
    places = {
        key: indices if isinstance(indices, Fault) else np.searchsorted(used, indices)
        for key, indices in needed.items()
    }
    return Reading(content=content, result=facts, frames=frames[used], places=places)
