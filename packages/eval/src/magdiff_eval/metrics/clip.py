"""CLIP scores of a video: frame consistency and textual alignment (Section 4.1), as cosines; the paper prints x100.

Published scores differ in the CLIP that they take, in what is done to frames before it, and in the pairs of frames that
are compared: `PROTOCOLS` says what is known of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.floating]
Pairs = Literal["all", "consecutive"]


@dataclass(frozen=True, kw_only=True)
class ClipProtocol:
    """How a published CLIP score of videos is made. Frames and text are embedded elsewhere, as this says."""

    name: str
    """What tables and stamps call it."""
    clip: str | None
    """OpenAI's name of the CLIP; None where the source does not say."""
    resize_px: int | None
    """Frames are first resized to a square of this side, bicubic, aspect not kept; None: CLIP's own reading only."""
    pairs: Pairs
    """Frames that `frame_consistency` compares."""
    cut_tall_frames: bool = False
    """Frames taller than wide are cut to their lowest square."""
    text_scale: float | None
    """Published textual alignments are this times `textual_alignment`; None: there is no such score."""


LOVEU = ClipProtocol(name="loveu", clip="ViT-L/14", resize_px=480, pairs="all", text_scale=100)
"""LOVEU-TGVE 2023, scripts/run_eval.py: PIL's default resize, mean logits_per_image (the trained logit scale is 100),
frame consistency from 0 to 1. As published the script stops at `clip_score_frame`, whose name it misspells once."""

TUNE_A_VIDEO = ClipProtocol(name="tune-a-video", clip=None, resize_px=None, pairs="all", text_scale=100)
"""Tune-A-Video: its repository has no evaluation; the paper tells of all pairs of frames, of the CLIP score with the
edited prompt, and prints both x100. Which CLIP, and what is done to frames, could not be found."""

FATEZERO = ClipProtocol(
    name="fatezero", clip="ViT-B/32", resize_px=None, pairs="consecutive", cut_tall_frames=True, text_scale=None
)
"""FateZero, CLIP/frame_acc_tem_con.py: each frame is compared with the next, and the text score is `frame_accuracy`."""

PROTOCOLS = {protocol.name: protocol for protocol in (LOVEU, TUNE_A_VIDEO, FATEZERO)}


def frame_consistency(embeddings: Embeddings, pairs: Pairs = "all") -> float:
    """Return the mean cosine over pairs of frames, at most 1, for image embeddings [F, D].

    Args:
        embeddings: one row a frame, in the video's order, of any length.
        pairs: all pairs of different frames, or each frame with the next.

    Raises:
        ValueError: fewer than two frames, an embedding without direction, or other pairs.
    """
    if len(embeddings) < 2:
        raise ValueError(f"frame consistency needs at least two frames, got {len(embeddings)}")
    vectors = unit(embeddings)
    cosines = vectors @ vectors.T
    if pairs == "consecutive":
        return float(np.diagonal(cosines, offset=1).mean())
    if pairs != "all":
        raise ValueError(f"pairs is {pairs!r}: give 'all' or 'consecutive'")
    different = ~np.eye(len(vectors), dtype=bool)
    return float(cosines[different].mean())


def textual_alignment(embeddings: Embeddings, text: Embeddings) -> float:
    """Return the mean cosine of image embeddings [F, D] with their prompt's text embedding [D].

    Raises:
        ValueError: an embedding without direction.
    """
    return float((unit(embeddings) @ unit(text[None])[0]).mean())


def frame_accuracy(embeddings: Embeddings, prompt: Embeddings, source_prompt: Embeddings) -> float:
    """Return FateZero's text score: the share of frames [F, D] no nearer to the source's prompt [D] than to the edit's.

    Raises:
        ValueError: an embedding without direction.
    """
    frames, texts = unit(embeddings), unit(np.stack([prompt, source_prompt]))
    return float((frames @ texts[0] >= frames @ texts[1]).mean())


def unit(vectors: Embeddings) -> NDArray[np.float64]:
    """Return vectors [n, D] of length 1.

    Raises:
        ValueError: an embedding without direction.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("an embedding is zero or not finite: it has no direction to compare")
    found: NDArray[np.float64] = vectors / lengths
    return found
