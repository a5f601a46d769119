"""CLIP scores of a video: frame consistency and textual alignment (Section 4.1), as cosines; the paper prints x100."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.floating]


def frame_consistency(embeddings: Embeddings) -> float:
    """Return the mean cosine over all pairs of different frames, for image embeddings [F, D].

    Raises:
        ValueError: fewer than two frames, or an embedding without direction.
    """
    if len(embeddings) < 2:
        raise ValueError(f"frame consistency needs at least two frames, got {len(embeddings)}")
    unit = _unit(embeddings)
    cosines = unit @ unit.T
    pairs = ~np.eye(len(unit), dtype=bool)
    return float(cosines[pairs].mean())


def textual_alignment(embeddings: Embeddings, text: Embeddings) -> float:
    """Return the mean cosine of image embeddings [F, D] with their prompt's text embedding [D]."""
    return float((_unit(embeddings) @ _unit(text[None])[0]).mean())


def _unit(vectors: Embeddings) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("an embedding is zero or not finite: it has no direction to compare")
    unit: NDArray[np.float64] = vectors / lengths
    return unit
