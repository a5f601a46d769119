"""The DINO score: how much the subject of a video looks like the given one (Section 4.1, Ruiz et al. 2023)."""

from __future__ import annotations

from magdiff_eval.metrics.clip import Embeddings, unit


def subject_fidelity(frames: Embeddings, references: Embeddings) -> float:
    """Return the mean cosine of all pairs of a frame [F, D] and a picture of the subject [R, D].

    Raises:
        ValueError: an embedding without direction.
    """
    return float((unit(frames) @ unit(references).T).mean())
