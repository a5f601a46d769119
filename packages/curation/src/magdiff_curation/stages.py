"""The stages, one after another: normalize -> answer -> label -> mask -> commit.

Each is built once per worker from the settings and then called with one clip's state, which it fills in or
rejects. Stages are idempotent and pass files, not frames: what they leave in `work/clips` under the input's row
id is written atomically and has the same bytes every time, so running one twice does no harm.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file, write_atomic
from magdiff_curation.clips.masks import Image, area_ratio, encode_rle
from magdiff_curation.clips.video import decode, encode, probe
from magdiff_curation.commit import Workspace, commit
from magdiff_curation.config import CurationSettings
from magdiff_curation.filters import check_area, check_meaning, check_short_side
from magdiff_curation.foreground import AnswerRequest, ManifestAnswerer
from magdiff_curation.grounding import GroundingRequest, ManifestGrounder
from magdiff_curation.normalize import canonical_rate, decode_source, ffmpeg_version, probe_source
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.state import ClipState


class Stage(Protocol):
    """One step of curation. It fills in the state it is given, or raises ClipRejected."""

    def __call__(self, state: ClipState) -> None:
        """Take one clip a step further."""
        ...


class NormalizeStage:
    """Source -> canonical clip, after the cheap rules: caption there, short side, length."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output)

    def __call__(self, state: ClipState) -> None:
        clip, limits = self.settings.clip, self.settings.limits
        if not state.caption:
            raise ClipRejected(Reason.CAPTION_MISSING, "no caption: add a sidecar .txt or fill the caption column")
        path = Path(state.path)
        info = probe_source(path, limits)
        state.models["normalize"] = f"ffmpeg {ffmpeg_version()}"
        state.source_width, state.source_height = info.width, info.height
        state.thresholds["min_short_side_px"] = self.settings.filters.min_short_side_px
        check_short_side(info.width, info.height, self.settings.filters)
        if info.duration_seconds > limits.max_seconds:
            raise ClipRejected(Reason.TOO_LONG, f"{info.duration_seconds:g} s is over {limits.max_seconds:g} s")
        state.start_seconds, state.end_seconds = self._span(state)
        state.source_sha256 = sha256_of_file(path)
        state.key = clip_key(state.source_sha256, state.start_seconds, state.end_seconds, self.settings)
        rate = canonical_rate(info, clip)
        try:
            frames = decode_source(path, info, clip, limits)
            video = encode(_within(frames, rate, state.start_seconds, state.end_seconds), rate, clip.codec)
        except ValueError as error:
            raise ClipRejected(Reason.SOURCE_UNREADABLE, str(error)) from error
        canonical = probe(video)
        if canonical.num_frames < limits.min_frames:
            raise ClipRejected(Reason.TOO_SHORT, f"{canonical.num_frames} frames are fewer than {limits.min_frames}")
        state.width, state.height, state.num_frames = canonical.width, canonical.height, canonical.num_frames
        state.frame_rate = round(float(canonical.frame_rate), 6)
        write_atomic(self.workspace.video(state.row_id), video)

    def _span(self, state: ClipState) -> tuple[float, float | None]:
        start = state.fields.get(self.settings.start_column, 0)
        end = state.fields.get(self.settings.end_column)
        try:
            begin, stop = float(start), None if end is None else float(end)
        except (TypeError, ValueError):
            begin, stop = -1.0, None
        if begin < 0 or (stop is not None and not begin < stop < math.inf):
            raise ClipRejected(Reason.SPAN_UNUSABLE, f"the span {start!r} to {end!r} is not two seconds in order")
        return begin, stop


class AnswerStage:
    """First frame -> foreground answer."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output)
        self.answerer = ManifestAnswerer(settings.answer.answer_column)

    def __call__(self, state: ClipState) -> None:
        first_frame = decode(self.workspace.video(state.row_id).read_bytes(), 0, 1)[0]
        request = AnswerRequest(image=first_frame, question=self.settings.answer.question, fields=state.fields)
        (answer,) = self.answerer.answer([request])
        state.models["answer"] = self.answerer.name
        if isinstance(answer, ClipRejected):
            raise answer
        state.answer = answer


class LabelStage:
    """Answer and caption -> label (Algorithm 1), its category, the augmented caption; then the meaning rule."""

    def __init__(self, settings: CurationSettings) -> None:
        # Both take seconds to import: only workers that label pay for them.
        from magdiff_curation.embedder import SentenceEmbedder
        from magdiff_curation.labels import load_subject_words
        from magdiff_curation.nouns import NounExtractor

        self.settings = settings
        self.extractor = NounExtractor(settings.label.spacy_model)
        self.embedder = SentenceEmbedder(settings.label.embedder)
        self.words = load_subject_words(settings.label.subject_words)

    def __call__(self, state: ClipState) -> None:
        from magdiff_curation.labels import augment_caption, clean_answer, select_label

        theta = self.settings.label.threshold
        state.nouns = self.extractor.nouns(state.caption)
        state.models["nouns"], state.models["label"] = self.extractor.name, self.embedder.name
        answer = clean_answer(state.answer)
        decision = select_label(answer, state.nouns, list(self.words), self.embedder.similarity, theta)
        state.thresholds["label_threshold"] = theta
        state.scores["answer_similarity"] = float(decision.answer_scores.max())
        if decision.noun_scores.size:
            state.scores["noun_similarity"] = float(decision.noun_scores.max())
        label = decision.label
        if decision.source == "answer" and self.settings.label.answer_gives == "matched_word":
            label = decision.matched_word
        check_meaning(label)
        assert label is not None, "a label that passed the rule exists"
        assert decision.matched_word is not None, "a label has a word that decided"
        state.label, state.label_source = label, str(decision.source)
        state.category = self.words[decision.matched_word] if decision.score > theta else "other"
        state.augmented_caption = augment_caption(state.caption, label)


class MaskStage:
    """Label -> a mask of the subject in every frame; then the area rule."""

    def __init__(self, settings: CurationSettings) -> None:
        import cv2

        from magdiff_curation.segment import GrabCutSegmenter
        from magdiff_curation.trackers.optical_flow import OpticalFlowTracker

        cv2.setNumThreads(1)  # one clip a core; OpenCV would start a thread per core in every worker
        self.settings, self.workspace = settings, Workspace(settings.output)
        self.grounder = ManifestGrounder(settings.mask.box_column)
        self.segmenter = GrabCutSegmenter(settings.mask.grabcut)
        self.tracker = OpticalFlowTracker(settings.mask.optical_flow)
        self.models = {"segment": f"GrabCut, OpenCV {cv2.__version__}", "track": f"DIS flow, OpenCV {cv2.__version__}"}

    def __call__(self, state: ClipState) -> None:
        filters = self.settings.filters
        frames = decode(self.workspace.video(state.row_id).read_bytes())
        size = (state.source_width, state.source_height)
        request = GroundingRequest(image=frames[0], label=state.label, source_size=size, fields=state.fields)
        state.models |= {"ground": self.grounder.name, **self.models}
        detections = self.grounder.ground(request)
        if not detections:
            raise ClipRejected(Reason.SUBJECT_NOT_FOUND, f"no {state.label!r} in the first frame")
        state.scores["grounding"] = detections[0].score
        first = self.segmenter.segment(frames[0], detections[0].box)
        if not first.any():
            raise ClipRejected(Reason.SUBJECT_NOT_FOUND, f"nothing to segment within box {detections[0].box}")
        state.thresholds |= {"min_area_ratio": filters.min_area_ratio, "max_area_ratio": filters.max_area_ratio}
        state.scores["area_ratio_first"] = round(area_ratio(first), 6)
        if filters.area_frames == "first":
            check_area([area_ratio(first)], filters)
        masks = np.stack(list(self.tracker.track(frames, first)))
        ratios = [area_ratio(mask) for mask in masks]
        if 0.0 in ratios:
            raise ClipRejected(
                Reason.SUBJECT_LOST, f"the subject was lost in frame {ratios.index(0.0)} of {state.num_frames}"
            )
        state.scores["area_ratio_mean"] = round(sum(ratios) / len(ratios), 6)
        check_area(ratios, filters)
        write_atomic(self.workspace.masks(state.row_id), canonical_json([encode_rle(mask) for mask in masks]))


class CommitStage:
    """Everything known -> one file for the sample and one for the outcome."""

    def __init__(self, settings: CurationSettings) -> None:
        self.workspace = Workspace(settings.output)

    def __call__(self, state: ClipState) -> None:
        commit(self.workspace, state)


STAGES: Mapping[str, type[NormalizeStage | AnswerStage | LabelStage | MaskStage | CommitStage]] = {
    "normalize": NormalizeStage,
    "answer": AnswerStage,
    "label": LabelStage,
    "mask": MaskStage,
    "commit": CommitStage,
}


def clip_key(source_sha256: str, start_seconds: float, end_seconds: float | None, settings: CurationSettings) -> str:
    """Return a clip's key: the hash of the source's bytes, the span in it and the settings that shape the clip."""
    codec = settings.clip.codec
    shape: list[object] = [settings.clip.short_side_px, settings.clip.max_frame_rate]
    shape += [codec.constant_rate_factor, codec.preset, codec.group_of_pictures]
    return sha256_hex(canonical_json([source_sha256, start_seconds, end_seconds, shape]))[:32]


def _within(
    frames: Iterator[Image], rate: Fraction, start_seconds: float, end_seconds: float | None
) -> Iterator[Image]:
    # The source is read to its end even so: only then is it known to be whole.
    for index, frame in enumerate(frames):
        seconds = index / rate
        if start_seconds <= seconds and (end_seconds is None or seconds < end_seconds):
            yield frame


def run_stage(name: str, stage: Stage, state: ClipState) -> None:
    """Run one stage on one clip: what it raises becomes the clip's outcome, and decided clips are only committed."""
    if state.status and name != "commit":
        return
    if not state.status:
        state.stage = name
    begin = time.monotonic()
    try:
        stage(state)
    except ClipRejected as rejection:
        state.status, state.reason, state.detail = rejection.status, rejection.reason, rejection.detail
    except Exception as error:  # a bug or a full disk: this clip's row says so, the others go on
        if name == "commit":
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        state.status, state.reason = Status.FAILED, Reason.INTERNAL_ERROR
        state.detail = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    if name != "commit":  # what commit writes is what later runs read: it cannot hold its own time
        state.seconds[name] = round(time.monotonic() - begin, 4)
