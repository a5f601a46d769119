"""The foreground answer: what a vision-language model says when asked what is in front (Supplement C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from magdiff_curation.clips.masks import Image
from magdiff_curation.reasons import ClipRejected, Reason


@dataclass(frozen=True, kw_only=True)
class AnswerRequest:
    """One question about one picture, uint8 [H, W, 3]; `fields` are the manifest's other columns."""

    image: Image
    question: str
    fields: Mapping[str, Any]


class ForegroundAnswerer(Protocol):
    """Anything that answers; answers must not depend on which requests share a batch."""

    name: str
    """Model and revision, for the clip's provenance."""

    def answer(self, requests: Sequence[AnswerRequest]) -> list[str | ClipRejected]:
        """Return one answer a request, or why there is none."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Anything that captions pictures."""

    name: str
    """Model and revision, for the clip's provenance."""

    def answer(self, requests: Sequence[AnswerRequest]) -> list[str | ClipRejected]:
        """Return one answer a request, or why there is none."""
        ...

    def caption(self, images: Sequence[Image]) -> list[str]:
        """Return one caption an image, uint8 [H, W, 3]."""
        ...


class ManifestAnswerer:
    """Takes answers that somebody wrote, or another model gave, from a column of the manifest."""

    def __init__(self, column: str) -> None:
        self.column, self.name = column, f"manifest:{column}"

    def answer(self, requests: Sequence[AnswerRequest]) -> list[str | ClipRejected]:
        """Return each request's column, or ANSWER_MISSING where it is empty."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: AnswerRequest) -> str | ClipRejected:
        answer = str(request.fields.get(self.column, "")).strip()
        if answer:
            return answer
        columns = ", ".join(request.fields) or "none"
        return ClipRejected(
            Reason.ANSWER_MISSING, f"the manifest has no {self.column!r} for this clip (columns: {columns})"
        )
