"""The stages, one after another: normalize -> answer -> label -> mask -> commit.

A stage says what its result follows from (`inputs`), computes it, with models that it loads when they are first needed,
and applies it to a clip's state, rules included. A result is computed once: `memo` keeps it, and what a changed
setting does not touch is found there. Stages are idempotent and pass files, not frames: what they leave in
`work/clips` under the input's row id is written atomically and has the same bytes every time, so running one twice
does no harm.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from magdiff_curation.backends import Masker, new_answerer, new_captioner, new_masker
from magdiff_curation.canonical import canonical_clip, check_length, clip_key, encode_span, read_if_there, span_of
from magdiff_curation.clips.atomic import canonical_json, sha256_of_file, write_atomic
from magdiff_curation.clips.masks import Mask, area_ratio, decode_rle, encode_rle
from magdiff_curation.clips.video import decode, probe
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings
from magdiff_curation.duplicates import fingerprint
from magdiff_curation.filters import (
    check_area,
    check_meaning,
    check_short_side,
    check_training_view,
    share_of_samples,
)
from magdiff_curation.foreground import AnswerRequest, Captioner, ForegroundAnswerer
from magdiff_curation.grounding import GroundingRequest
from magdiff_curation.models import local_model
from magdiff_curation.motion import Motion, check_motion, measure_motion
from magdiff_curation.normalize import (
    check_decoded_size,
    displayed_size,
    ffmpeg_version,
    probe_source,
)
from magdiff_curation.reasons import ClipRejected, Reason, Status
from magdiff_curation.sources import local_copy
from magdiff_curation.state import ClipState

if TYPE_CHECKING:
    from magdiff_curation.embedder import SentenceEmbedder
    from magdiff_curation.nouns import NounExtractor


class Stage(Protocol):
    """One step of curation, up to the commit."""

    def inputs(self, state: ClipState) -> object:
        """Return what the result follows from, besides the stage's settings; or raise ClipRejected."""
        ...

    def load(self) -> None:
        """Load the models, once."""
        ...

    def compute(self, state: ClipState) -> dict[str, Any]:
        """Return the result for one clip as JSON can hold it, or raise ClipRejected, which is not remembered."""
        ...

    def apply(self, state: ClipState, result: Mapping[str, Any]) -> None:
        """Fill in the state and apply the rules; raise ClipRejected where one decides."""
        ...


class NormalizeStage:
    """Source -> canonical clip, by the cheap rules: caption there, short side, length, motion."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output, settings.work)

    def load(self) -> None:
        one_thread()

    def inputs(self, state: ClipState) -> object:
        if not state.caption and self.settings.answer.missing_caption == "drop":
            raise ClipRejected(
                Reason.CAPTION_MISSING,
                "no caption: add a sidecar .txt, fill the caption column, or set answer.missing_caption to make",
            )
        state.start_seconds, state.end_seconds = span_of(state, self.settings)
        return [state.source, state.size_bytes, state.modified_ns, state.start_seconds, state.end_seconds]

    def compute(self, state: ClipState) -> dict[str, Any]:
        limits = self.settings.limits
        with local_copy(state.path) as path:
            info = probe_source(path, limits)
            state.source_width, state.source_height = info.width, info.height
            state.thresholds["min_short_side_px"] = self.settings.filters.min_short_side_px
            check_short_side(info.width, info.height, self.settings.filters)
            check_length(state, info, self.settings)
            source_sha256 = sha256_of_file(path)
            ready = self.workspace.video(state.row_id)  # a shot's clip was made when the shots were found
            video = read_if_there(ready) or encode_span(path, info, state, self.settings)
        canonical = probe(video)
        check_decoded_size(canonical.num_frames, canonical.width, canonical.height, limits)  # headers may lie
        frames = decode(video)
        motion = measure_motion(frames, float(canonical.frame_rate))
        write_atomic(ready, video)
        return {
            "models": {"normalize": f"ffmpeg {ffmpeg_version()}"},
            "source_size": list(displayed_size(info, canonical.width, canonical.height)),
            "source_sha256": source_sha256,
            "size": [canonical.width, canonical.height],
            "num_frames": canonical.num_frames,
            "frame_rate": round(float(canonical.frame_rate), 6),
            "motion": [motion.mean, motion.own],
            "fingerprint": fingerprint(frames) if self.settings.duplicates.method != "none" else "",
        }

    def apply(self, state: ClipState, result: Mapping[str, Any]) -> None:
        limits, filters = self.settings.limits, self.settings.filters
        state.models |= result["models"]
        state.source_width, state.source_height = result["source_size"]
        state.thresholds["min_short_side_px"] = filters.min_short_side_px
        check_short_side(state.source_width, state.source_height, filters)
        state.source_sha256 = result["source_sha256"]
        state.key = clip_key(state.source_sha256, state.start_seconds, state.end_seconds, self.settings)
        state.width, state.height = result["size"]
        state.num_frames, state.frame_rate = result["num_frames"], result["frame_rate"]
        if state.num_frames / state.frame_rate > limits.max_seconds + 1:
            raise ClipRejected(Reason.TOO_LONG, f"{state.num_frames} frames take longer than {limits.max_seconds:g} s")
        if state.num_frames < limits.min_frames:
            raise ClipRejected(Reason.TOO_SHORT, f"{state.num_frames} frames are fewer than {limits.min_frames}")
        check_decoded_size(state.num_frames, state.width, state.height, limits)
        motion = Motion(mean=result["motion"][0], own=result["motion"][1])
        state.scores |= {"motion": motion.mean, "own_motion": motion.own}
        check_motion(motion, self.settings.motion)
        state.fingerprint = result["fingerprint"]


class AnswerStage:
    """First frame -> foreground answer, and a caption where there is none."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings = settings
        self._ready: dict[str, str | ClipRejected] = {}

    @functools.cached_property
    def answerer(self) -> ForegroundAnswerer:
        return new_answerer(self.settings.answer)

    @functools.cached_property
    def captioner(self) -> Captioner | None:
        return new_captioner(self.settings.answer, self.answerer)

    def load(self) -> None:
        one_thread()
        self.settings.check_weights("answer")
        _ = self.answerer, self.captioner

    def inputs(self, state: ClipState) -> object:
        return [state.key, bool(state.caption), state.fields]

    def prepare(self, states: Sequence[ClipState]) -> None:
        """Answer for many clips at once; each clip's own call then finds its answer there."""
        requests = [self._request(state) for state in states]
        answers = self.answerer.answer(requests)
        self._ready = {state.row_id: answer for state, answer in zip(states, answers, strict=True)}

    def compute(self, state: ClipState) -> dict[str, Any]:
        request = self._request(state)
        answer = self._ready.pop(state.row_id) if state.row_id in self._ready else self.answerer.answer([request])[0]
        state.models["answer"] = self.answerer.name
        if isinstance(answer, ClipRejected):
            raise answer
        result: dict[str, Any] = {"answer": answer, "made_caption": "", "models": {"answer": self.answerer.name}}
        if not state.caption:
            assert self.captioner is not None, "normalize drops clips without a caption where none is made"
            (result["made_caption"],) = self.captioner.caption([request.image])
            result["models"]["caption"] = self.captioner.name
        return result

    def apply(self, state: ClipState, result: Mapping[str, Any]) -> None:
        state.models |= result["models"]
        state.answer, state.made_caption = result["answer"], result["made_caption"]
        if not state.caption_text:
            raise ClipRejected(Reason.CAPTION_MISSING, "the model that makes captions says nothing of this clip")

    def _request(self, state: ClipState) -> AnswerRequest:
        first_frame = decode(canonical_clip(state, self.settings), 0, 1)[0]
        return AnswerRequest(image=first_frame, question=self.settings.answer.question, fields=state.fields)


class LabelStage:
    """Answer and caption -> label (Algorithm 1), its category, the augmented caption; then the meaning rule."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings = settings

    # Both take seconds to import: only workers that label pay for them.
    @functools.cached_property
    def extractor(self) -> NounExtractor:
        from magdiff_curation.nouns import NounExtractor

        return NounExtractor(local_model(self.settings.label.spacy_model), self.settings.label.noun_unit)

    @functools.cached_property
    def embedder(self) -> SentenceEmbedder:
        from magdiff_curation.embedder import SentenceEmbedder

        embedder = local_model(self.settings.label.embedder)
        return SentenceEmbedder(embedder, device=self.settings.label.embedder_device)

    @functools.cached_property
    def words(self) -> Mapping[str, str]:
        from magdiff_curation.labels import load_subject_words

        return load_subject_words(self.settings.label.subject_words)

    def load(self) -> None:
        self.settings.check_weights("label")
        _ = self.extractor, self.embedder, self.words

    def inputs(self, state: ClipState) -> object:
        return [state.caption_text, state.answer]

    def compute(self, state: ClipState) -> dict[str, Any]:
        from magdiff_curation.labels import augment_caption, clean_answer, select_label

        theta = self.settings.label.threshold
        nouns = self.extractor.nouns(state.caption_text)
        decision = select_label(clean_answer(state.answer), nouns, list(self.words), self.embedder.similarity, theta)
        label, category = decision.label, ""
        if decision.source == "answer" and self.settings.label.answer_gives == "matched_word":
            label = decision.matched_word
        if label is not None:
            assert decision.matched_word is not None, "a label has a word that decided"
            category = self.words[decision.matched_word] if decision.score > theta else "other"
        scores = {"answer_similarity": float(decision.answer_scores.max())}
        if decision.noun_scores.size:
            scores["noun_similarity"] = float(decision.noun_scores.max())
        return {
            "models": {"nouns": self.extractor.name, "label": self.embedder.name},
            "nouns": nouns,
            "scores": scores,
            "label": label,
            "label_source": str(decision.source),
            "category": category,
            "augmented_caption": augment_caption(state.caption_text, label) if label is not None else "",
        }

    def apply(self, state: ClipState, result: Mapping[str, Any]) -> None:
        state.models |= result["models"]
        state.nouns = result["nouns"]
        state.thresholds["label_threshold"] = self.settings.label.threshold
        state.scores |= result["scores"]
        label = result["label"]
        check_meaning(label, self.settings.filters)
        state.label, state.label_source, state.category = label, result["label_source"], result["category"]
        state.augmented_caption = result["augmented_caption"]


class MaskStage:
    """Label -> a mask of the subject in every frame; then the area rule."""

    def __init__(self, settings: CurationSettings) -> None:
        self.settings, self.workspace = settings, Workspace(settings.output, settings.work)

    @functools.cached_property
    def masker(self) -> Masker:
        return new_masker(self.settings.mask)

    def load(self) -> None:
        one_thread()
        self.settings.check_weights("mask")
        _ = self.masker

    def inputs(self, state: ClipState) -> object:
        # Where the first frame decides, masks of clips that it drops are never made: its limits shape the result.
        filters = self.settings.filters
        first = [filters.min_area_ratio, filters.max_area_ratio] if filters.area_frames == "first" else []
        return [state.key, state.label, state.source_width, state.source_height, state.fields, first]

    def compute(self, state: ClipState) -> dict[str, Any]:
        filters = self.settings.filters
        frames = decode(canonical_clip(state, self.settings))
        request = GroundingRequest(
            image=frames[0],
            frame=0,
            label=state.label,
            source_size=(state.source_width, state.source_height),
            fields=state.fields,
        )
        result: dict[str, Any] = {"models": self.masker.models, "scores": {}}

        def check_first(mask: Mask) -> None:
            result["scores"]["area_ratio_first"] = round(area_ratio(mask), 6)
            if filters.area_frames == "first":
                check_area([area_ratio(mask)], filters)

        try:
            followed = self.masker.follow(frames, request, check_first)
        except ClipRejected as rejection:
            if rejection.status == Status.FAILED:
                state.models |= self.masker.models
                raise
            return result | {"rejected": [rejection.reason, rejection.detail]}
        result["scores"] |= {"grounding": followed.score, "agreement": followed.agreement}
        return result | {"masks": [encode_rle(mask) for mask in followed.masks]}

    def apply(self, state: ClipState, result: Mapping[str, Any]) -> None:
        filters = self.settings.filters
        state.models |= result["models"]
        state.thresholds |= {"min_area_ratio": filters.min_area_ratio, "max_area_ratio": filters.max_area_ratio}
        state.scores |= result["scores"]
        if "rejected" in result:
            raise ClipRejected(Reason(result["rejected"][0]), result["rejected"][1])
        masks = np.stack([decode_rle(rle) for rle in result["masks"]])
        ratios = [area_ratio(mask) for mask in masks]
        state.scores["area_ratio_mean"] = round(sum(ratios) / len(ratios), 6)
        check_area(ratios, filters)
        if filters.training_view.crop != "none":
            share = share_of_samples(masks, filters)
            state.scores["training_view"] = round(share, 6)
            check_training_view(share, filters)
        write_atomic(self.workspace.masks(state.row_id), canonical_json(result["masks"]))


STAGES: Mapping[str, type[NormalizeStage | AnswerStage | LabelStage | MaskStage]] = {
    "normalize": NormalizeStage,
    "answer": AnswerStage,
    "label": LabelStage,
    "mask": MaskStage,
}


def next_stage(state: ClipState) -> str | None:
    """Return the stage that an undecided clip has before it, or None where it has passed them all."""
    names = list(STAGES)
    following = names[names.index(state.stage) + 1 :] if state.stage in STAGES else names
    return following[0] if following else None


def one_thread() -> None:
    """Let OpenCV work on one thread: it would start one per core in every worker."""
    import cv2

    cv2.setNumThreads(1)
