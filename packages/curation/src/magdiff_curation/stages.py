"""The stages, one after another: normalize -> answer -> label -> mask -> commit.

Each is built once per worker from the settings and then called with one clip's state, which it fills in or
rejects. Stages are idempotent and pass files, not frames: what they leave in `work/clips` under the input's row
id is written atomically and has the same bytes every time, so running one twice does no harm.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from magdiff_curation.backends import new_answerer, new_captioner, new_masker
from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file, write_atomic
from magdiff_curation.clips.masks import Image, Mask, area_ratio, encode_rle
from magdiff_curation.clips.video import decode, encode, probe
from magdiff_curation.commit import Workspace, commit
from magdiff_curation.config import CurationSettings
from magdiff_curation.duplicates import fingerprint
from magdiff_curation.filters import (
    check_area,
    check_meaning,
    check_short_side,
    check_training_view,
    share_of_samples,
)
from magdiff_curation.foreground import AnswerRequest
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.motion import check_motion, measure_motion
from magdiff_curation.normalize import SourceInfo, canonical_rate, decode_source, ffmpeg_version, probe_source
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.state import ClipState

_LOG = logging.getLogger(__name__)


class Stage(Protocol):
    """One step of curation. It fills in the state it is given, or raises ClipRejected."""

    def __call__(self, state: ClipState) -> None:
        """Take one clip a step further."""
        ...


class NormalizeStage:
    """Source -> canonical clip, by the cheap rules: caption there, short side, length, motion."""

    def __init__(self, settings: CurationSettings) -> None:
        import cv2

        cv2.setNumThreads(1)  # one clip a core; OpenCV would start a thread per core in every worker
        self.settings, self.workspace = settings, Workspace(settings.output)

    def __call__(self, state: ClipState) -> None:
        limits = self.settings.limits
        if not state.caption and self.settings.answer.missing_caption == "drop":
            raise ClipRejected(
                Reason.CAPTION_MISSING,
                "no caption: add a sidecar .txt, fill the caption column, or set answer.missing_caption to make",
            )
        path = Path(state.path)
        info = probe_source(path, limits)
        state.models["normalize"] = f"ffmpeg {ffmpeg_version()}"
        state.source_width, state.source_height = info.width, info.height
        state.thresholds["min_short_side_px"] = self.settings.filters.min_short_side_px
        check_short_side(info.width, info.height, self.settings.filters)
        state.start_seconds, state.end_seconds = self._span(state)
        seconds = min(info.duration_seconds, state.end_seconds or math.inf) - state.start_seconds
        if seconds > limits.max_seconds:
            raise ClipRejected(
                Reason.TOO_LONG,
                f"{seconds:g} s is over {limits.max_seconds:g} s: give spans, or set split.max_shot_seconds",
            )
        state.source_sha256 = sha256_of_file(path)
        state.key = clip_key(state.source_sha256, state.start_seconds, state.end_seconds, self.settings)
        ready = self.workspace.video(state.row_id)  # a shot's clip was made when the shots were found
        video = ready.read_bytes() if ready.is_file() else self._encode(state, path, info)
        canonical = probe(video)
        if canonical.num_frames < limits.min_frames:
            raise ClipRejected(Reason.TOO_SHORT, f"{canonical.num_frames} frames are fewer than {limits.min_frames}")
        state.width, state.height, state.num_frames = canonical.width, canonical.height, canonical.num_frames
        state.frame_rate = round(float(canonical.frame_rate), 6)
        frames = decode(video)
        motion = measure_motion(frames, state.frame_rate)
        state.scores |= {"motion": motion.mean, "own_motion": motion.own}
        check_motion(motion, self.settings.motion)
        if self.settings.duplicates.method != "none":
            state.fingerprint = fingerprint(frames)
        write_atomic(self.workspace.video(state.row_id), video)

    def _encode(self, state: ClipState, path: Path, info: SourceInfo) -> bytes:
        clip = self.settings.clip
        rate = canonical_rate(info, clip)
        try:
            frames = decode_source(path, info, clip, self.settings.limits)
            return encode(_within(frames, rate, state.start_seconds, state.end_seconds), rate, clip.codec)
        except ValueError as error:
            raise ClipRejected(Reason.SOURCE_UNREADABLE, str(error)) from error

    def _span(self, state: ClipState) -> tuple[float, float | None]:
        start = state.fields.get(self.settings.start_column, 0)
        end = state.fields.get(self.settings.end_column)
        try:
            begin, stop = float(start), None if end is None else float(end)
        except (TypeError, ValueError):
            begin, stop = -1.0, None
        if not 0 <= begin < math.inf or (stop is not None and not begin < stop < math.inf):
            raise ClipRejected(Reason.SPAN_UNUSABLE, f"the span {start!r} to {end!r} is not two seconds in order")
        return begin, stop


class AnswerStage:
    """First frame -> foreground answer, and a caption where there is none."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output)
        self.answerer = new_answerer(settings.answer)
        self.captioner = new_captioner(settings.answer, self.answerer)
        self._ready: dict[str, str | ClipRejected] = {}

    def prepare(self, states: Sequence[ClipState]) -> None:
        """Answer for many clips at once; each clip's own call then finds its answer there."""
        requests = [self._request(state) for state in states]
        answers = self.answerer.answer(requests)
        self._ready = {state.row_id: answer for state, answer in zip(states, answers, strict=True)}

    def __call__(self, state: ClipState) -> None:
        request = self._request(state)
        answer = self._ready.pop(state.row_id) if state.row_id in self._ready else self.answerer.answer([request])[0]
        state.models["answer"] = self.answerer.name
        if isinstance(answer, ClipRejected):
            raise answer
        state.answer = answer
        if not state.caption:
            assert self.captioner is not None, "normalize drops clips without a caption where none is made"
            (state.made_caption,) = self.captioner.caption([request.image])
            state.models["caption"] = self.captioner.name
            if not state.made_caption:
                raise ClipRejected(Reason.CAPTION_MISSING, "the model that makes captions says nothing of this clip")

    def _request(self, state: ClipState) -> AnswerRequest:
        first_frame = decode(self.workspace.video(state.row_id).read_bytes(), 0, 1)[0]
        return AnswerRequest(image=first_frame, question=self.settings.answer.question, fields=state.fields)


class LabelStage:
    """Answer and caption -> label (Algorithm 1), its category, the augmented caption; then the meaning rule."""

    def __init__(self, settings: CurationSettings) -> None:
        # Both take seconds to import: only workers that label pay for them.
        from magdiff_curation.embedder import SentenceEmbedder
        from magdiff_curation.labels import load_subject_words
        from magdiff_curation.nouns import NounExtractor

        self.settings = settings
        self.extractor = NounExtractor(settings.label.spacy_model, settings.label.noun_unit)
        self.embedder = SentenceEmbedder(settings.label.embedder, device=settings.label.embedder_device)
        self.words = load_subject_words(settings.label.subject_words)

    def __call__(self, state: ClipState) -> None:
        from magdiff_curation.labels import augment_caption, clean_answer, select_label

        theta = self.settings.label.threshold
        state.nouns = self.extractor.nouns(state.caption_text)
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
        check_meaning(label, self.settings.filters)
        assert label is not None, "a label that passed the rule exists"
        assert decision.matched_word is not None, "a label has a word that decided"
        state.label, state.label_source = label, str(decision.source)
        state.category = self.words[decision.matched_word] if decision.score > theta else "other"
        state.augmented_caption = augment_caption(state.caption_text, label)


class MaskStage:
    """Label -> a mask of the subject in every frame; then the area rule."""

    def __init__(self, settings: CurationSettings) -> None:
        import cv2

        cv2.setNumThreads(1)  # one clip a core; OpenCV would start a thread per core in every worker
        self.settings, self.workspace = settings, Workspace(settings.output)
        self.masker = new_masker(settings.mask)

    def __call__(self, state: ClipState) -> None:
        filters = self.settings.filters
        frames = decode(self.workspace.video(state.row_id).read_bytes())
        request = GroundingRequest(
            image=frames[0],
            frame=0,
            label=state.label,
            source_size=(state.source_width, state.source_height),
            fields=state.fields,
        )
        state.models |= self.masker.models
        state.thresholds |= {"min_area_ratio": filters.min_area_ratio, "max_area_ratio": filters.max_area_ratio}

        def check_first(mask: Mask) -> None:
            state.scores["area_ratio_first"] = round(area_ratio(mask), 6)
            if filters.area_frames == "first":
                check_area([area_ratio(mask)], filters)

        followed = self.masker.follow(frames, request, check_first)
        state.scores["grounding"], state.scores["agreement"] = followed.score, followed.agreement
        ratios = [area_ratio(mask) for mask in followed.masks]
        state.scores["area_ratio_mean"] = round(sum(ratios) / len(ratios), 6)
        check_area(ratios, filters)
        if filters.training_view.crop != "none":
            share = share_of_samples(followed.masks, filters)
            state.scores["training_view"] = round(share, 6)
            check_training_view(share, filters)
        write_atomic(self.workspace.masks(state.row_id), canonical_json([encode_rle(mask) for mask in followed.masks]))


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
    # As decimals: the float 0.4 lies after the frame at 2/5 s.
    start, end = Fraction(str(start_seconds)), None if end_seconds is None else Fraction(str(end_seconds))
    # The source is read to its end even so: only then is it known to be whole.
    for index, frame in enumerate(frames):
        seconds = index / rate
        if start <= seconds and (end is None or seconds < end):
            yield frame


def run_stages(stages: Mapping[str, Stage], states: Sequence[ClipState]) -> None:
    """Run stages on clips, one stage after another; what can work on several clips at once gets them together."""
    for name, stage in stages.items():
        waiting = [state for state in states if not state.status]
        if isinstance(stage, AnswerStage) and len(waiting) > 1:
            begin = time.monotonic()
            try:
                stage.prepare(waiting)
            except Exception as error:  # what goes wrong comes up again, by name, when each is asked for alone
                _LOG.warning("a batch of %d answers failed, asking one by one: %s", len(waiting), error)
            for state in waiting:
                state.seconds[name] = (time.monotonic() - begin) / len(waiting)
        for state in states:
            run_stage(name, stage, state)


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
        state.seconds[name] = round(state.seconds.get(name, 0.0) + time.monotonic() - begin, 4)
