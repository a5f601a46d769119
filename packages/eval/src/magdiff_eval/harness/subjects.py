"""Subjects found in a run's sources, kept on disk so that each source is searched once, however often it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, write_atomic
from magdiff_curation.clips.masks import Frames, Masks, decode_rle, encode_rle
from magdiff_eval.layouts.item import Item
from magdiff_model.media import vision_packages
from magdiff_model.subject_finding import SubjectFinder, SubjectNotFound

if TYPE_CHECKING:
    from magdiff_curation.config import CurationSettings


class Subjects:
    """Finds the subjects of items by their labels.

    Args:
        folder: keeps what was found, a file a source and label.
        vision: curation's models: a preset, a YAML file, or None for the full ones.
        names: whether some of them have no label, and get one by Algorithm 1.

    Raises:
        ValueError: models are missing; the message says which, and nothing was searched.
    """

    def __init__(self, folder: Path, vision: str | None, *, names: bool = False) -> None:
        self.folder, self.finder = folder, SubjectFinder(vision)
        self.finder.check(by_box=False, one_picture=False)
        self.namer = SubjectNamer(vision or "full") if names else None
        self.models = [self.finder.digest(by_box=False, one_picture=False)]
        if self.namer is not None:
            self.models += [self.namer.settings.stage_sha256(stage)[:12] for stage in ("answer", "label")]

    def find(self, item: Item, frames: Frames) -> tuple[Masks | None, str]:
        """Return the subject's masks bool [F, H, W], or None and why it is not found."""
        prompt = "" if item.label else item.prompt
        said = [self.models, str(item.source.absolute()), item.label, prompt, len(frames)]
        key = sha256_hex(canonical_json(said))[:24]
        path = self.folder / f"{key}.json"
        if path.is_file():
            kept = json.loads(path.read_bytes())
            if kept["masks"] is None:
                return None, kept["reason"]
            return np.stack([decode_rle(mask) for mask in kept["masks"]]), ""
        height, width = frames.shape[1:3]
        masks, label, reason = None, item.label, ""
        try:
            if not label:
                assert self.namer is not None, "asked for"
                label = self.namer.label(frames, item.prompt)
            masks, _ = self.finder.find(frames, (width, height), label=label)
        except SubjectNotFound as error:
            reason = str(error)
        found = None if masks is None else [encode_rle(mask) for mask in masks]
        write_atomic(path, canonical_json({"label": label, "masks": found, "reason": reason}))
        return masks, reason


class SubjectNamer:
    """Algorithm 1 with curation's models: the foreground answer, the caption's nouns, the subject-aware list.

    Args:
        vision: a preset of curation, or a YAML file of its settings.
    """

    def __init__(self, vision: str) -> None:
        with vision_packages():
            from magdiff_curation.backends import check_models, new_answerer
            from magdiff_curation.embedder import SentenceEmbedder
            from magdiff_curation.labels import load_subject_words
            from magdiff_curation.models import local_model
            from magdiff_curation.nouns import NounExtractor
        self.settings = settings = curation_settings(vision)
        check_models(settings.answer, settings.mask)
        self.answerer = new_answerer(settings.answer)
        self.extractor = NounExtractor(local_model(settings.label.spacy_model), settings.label.noun_unit)
        embedder = local_model(settings.label.embedder)
        self.embedder = SentenceEmbedder(embedder, device=settings.label.embedder_device)
        self.words = list(load_subject_words(settings.label.subject_words))

    def label(self, frames: Frames, caption: str) -> str:
        """Return the label of the first frame's subject.

        Raises:
            SubjectNotFound: the model gives no answer, or nothing in answer and caption is a subject.
        """
        from magdiff_curation.foreground import AnswerRequest
        from magdiff_curation.labels import clean_answer, select_label
        from magdiff_curation.reasons import ClipRejected

        request = AnswerRequest(image=frames[0], question=self.settings.answer.question, fields={})
        (answer,) = self.answerer.answer([request])
        if isinstance(answer, ClipRejected):
            raise SubjectNotFound(str(answer))
        nouns, theta = self.extractor.nouns(caption), self.settings.label.threshold
        decision = select_label(clean_answer(answer), nouns, self.words, self.embedder.similarity, theta)
        label = decision.label
        if decision.source == "answer" and self.settings.label.answer_gives == "matched_word":
            label = decision.matched_word
        if label is None:
            raise SubjectNotFound(f"neither the answer {answer!r} nor the caption {caption!r} names a subject")
        return label


def curation_settings(vision: str) -> CurationSettings:
    """Return curation's settings of a preset, or of a YAML file."""
    import importlib.resources

    with vision_packages():
        from magdiff_curation.config import PRESETS, load_settings
    if vision not in PRESETS:
        return load_settings(Path(vision))
    preset = importlib.resources.files("magdiff_curation").joinpath("presets", f"{vision}.yaml")
    with importlib.resources.as_file(preset) as path:
        return load_settings(path)
