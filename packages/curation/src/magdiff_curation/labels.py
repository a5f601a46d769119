"""Algorithm 1: the subject's label from the foreground answer, the caption's nouns and the subject-aware list W.

    scores1 = similarity(A, W);  scores2 = similarity(S, W)
    if max(scores1) > theta: e = A  else: e = the noun of max(scores2)

The listing is read literally where it can be: "greater" is strict, the noun needs no threshold. It prints
`e = max(scores2)` for the second case; since e labels the subject, that is taken as the noun. Ties, which are common
since every noun that is in W scores 1, go to the first noun of the caption, where English puts the subject; so the
order of W cannot change a label.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from magdiff_curation.clips.record import CATEGORIES
from magdiff_curation.meaning import plain_text

Similarity = Callable[[Sequence[str], Sequence[str]], NDArray[np.floating]]
"""Two lists of strings -> their similarities [len(left), len(right)]."""

PICTURE = "(?:picture|image|photo|photograph|video|clip|shot|scene|frame)"
WRAPPING = re.compile(
    rf"""
    ^(?:answer: | (?:yes|well|sure|okay|ok), | (?:maybe|perhaps|probably|possibly)\b
      | i \s (?:think|believe|can \s see|see)\b
      | (?:in|at) \s the \s (?:foreground|center|centre|middle)\b (?:\s of \s (?:the|this) \s {PICTURE}\b)? ,?
      | in \s (?:the|this) \s {PICTURE}\b ,?
      | (?:(?:the|this) \s)? (?:main \s)? (?:foreground|subject|focus|object|{PICTURE})\b
        (?:\s (?:of|in) \s (?:the|this) \s {PICTURE}\b)?
        \s (?:is|are|shows|features|depicts|contains|has|appears \s to \s be|seems \s to \s be)\b
      | (?:it|this|that|these|those|they|there|he|she)
        (?:'s | 're | \s (?:is|are|appears \s to \s be|seems \s to \s be))\b
      | (?:{PICTURE}|close-?up|close \s up|view) \s of\b
      | (?:a|an|the)\b(?=\s)
    )\s*
    | \s (?:(?:is|are) \s)? in \s (?:the|this) \s (?:foreground|{PICTURE})
      (?:\s of \s (?:the|this) \s {PICTURE})?$
    """,
    re.VERBOSE,
)
"""What is no part of the subject at an answer's start or end; taken off until nothing is left to take."""
MAX_ANSWER = 1000
"""An answer is read up to this many characters."""
DENIAL = re.compile(r"(?:no|not|none|nothing)\b")
SENTENCE_END = re.compile(r"(?<=\w{3})[.!?](?=\s)")  # not after "st." or "mr."
EDGES = " .,;:!?\"'“”‘’„«»`*_()[]-–—…"  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class LabelDecision:
    """What Algorithm 1 chose, and every score it looked at."""

    label: str | None
    source: Literal["answer", "noun"] | None
    matched_word: str | None
    """The word of W that decided."""
    score: float
    """The deciding similarity; the answer's best one where nothing was chosen."""
    answer_scores: NDArray[np.floating]
    """[len(W)]"""
    noun_scores: NDArray[np.floating]
    """[len(nouns), len(W)]"""


def select_label(
    answer: str, nouns: Sequence[str], subject_words: Sequence[str], similarity: Similarity, threshold: float
) -> LabelDecision:
    """Return the label of a clip's subject (Supplement C, Algorithm 1).

    Args:
        answer: the foreground answer, A.
        nouns: the caption's nouns, S; may be empty.
        subject_words: the subject-aware list, W.
        similarity: called with two lists of strings, returns [len(left), len(right)].
        threshold: theta; the answer is taken where its best similarity is strictly greater.

    Raises:
        ValueError: an empty word list, or similarities of the wrong shape.
    """
    if not subject_words:
        raise ValueError("Algorithm 1 needs at least one subject word; the list W is empty")
    words = list(subject_words)
    answer_scores = _scores(similarity, [answer], words)[0]
    noun_scores = _scores(similarity, list(nouns), words) if nouns else np.zeros((0, len(words)))
    best = int(answer_scores.argmax())
    if answer.strip() and answer_scores[best] > threshold:
        label, source, word, score = answer, "answer", words[best], float(answer_scores[best])
    elif nouns:
        row, column = np.unravel_index(int(noun_scores.argmax()), noun_scores.shape)
        label, source, word, score = nouns[int(row)], "noun", words[int(column)], float(noun_scores[row, column])
    else:
        label, source, word, score = None, None, None, float(answer_scores[best])
    return LabelDecision(
        label=label,
        source=source,  # type: ignore[arg-type]
        matched_word=word,
        score=score,
        answer_scores=answer_scores,
        noun_scores=noun_scores,
    )


def clean_answer(answer: str) -> str:
    """Return an answer in the form a label takes: one plain, lower-case line that names the subject and nothing else.

    The first line's first sentence, without quotes, articles, closing punctuation and the phrases that models wrap
    around a subject ("the foreground of the picture is a dog", "there is a dog in the foreground", "a photo of a dog").
    A denial ("there is no dog") is left as it stands, for the meaning rule to see.
    """
    lines = [plain_text(line) for line in answer[:MAX_ANSWER].splitlines() if plain_text(line).strip(EDGES)]
    text = re.split(SENTENCE_END, lines[0], maxsplit=1)[0].lower().strip(EDGES) if lines else ""
    while (shorter := re.sub(WRAPPING, "", text).strip(EDGES)) != text:
        if re.match(DENIAL, shorter):
            return text
        text = shorter
    return text


def augment_caption(caption: str, label: str) -> str:
    """Return the augmented caption: the label appended to the caption (Supplement C)."""
    text = caption.rstrip(" .,")
    return f"{text}, {label}" if text else label


def load_subject_words(path: Path | None) -> dict[str, str]:
    """Return the subject-aware list W in order, word -> category; None means the list shipped for the paper's domains.

    Raises:
        ValueError: not a mapping of the four categories to lists of words, or empty.
    """
    resource = importlib.resources.files(__package__).joinpath("subject_words.yaml")
    text = path.read_text(encoding="utf-8") if path else resource.read_text(encoding="utf-8")
    value = yaml.safe_load(text)
    where = str(path or "subject_words.yaml")
    if not isinstance(value, Mapping) or not set(value) <= set(CATEGORIES):
        raise ValueError(f"{where}: expected lists of words under {', '.join(CATEGORIES)}, got {str(value)[:80]!r}")
    words = {str(word).strip().lower(): str(category) for category, entries in value.items() for word in entries or ()}
    if not words:
        raise ValueError(f"{where}: the list holds no words")
    return words


def _scores(similarity: Similarity, left: list[str], right: list[str]) -> NDArray[np.floating]:
    scores = np.asarray(similarity(left, right))
    if scores.shape != (len(left), len(right)):
        raise ValueError(f"similarity returned shape {scores.shape} for {len(left)} x {len(right)} strings")
    return scores
