"""Scores that every video has by itself: made of its features and of its item."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from magdiff_eval.metrics.clip import LOVEU, ClipProtocol, frame_accuracy, frame_consistency, textual_alignment
from magdiff_eval.metrics.dino import subject_fidelity
from magdiff_eval.metrics.regions import mean_errors
from magdiff_eval.models.clip import Clip
from magdiff_eval.models.dino import Dino, SubjectCrop, cropped
from magdiff_eval.scoring import frame_networks
from magdiff_eval.scoring.extractors import Features
from magdiff_eval.scoring.items import ScoredItem
from magdiff_eval.scoring.metric import LoadedMetric, Scores
from magdiff_eval.weights.stamps import stamp_of
from magdiff_model.media import read_image, read_mask

if TYPE_CHECKING:
    from magdiff_eval.metrics.clip import Embeddings


def clip_metric(
    clip: Clip, protocol: ClipProtocol, batch_size: int, device: torch.device, *, about: str = ""
) -> LoadedMetric:
    """Return `clip-consistency`, and `clip-text` where an item has a prompt; cosines, or FateZero's share of frames."""

    def scores(features: Features, item: ScoredItem) -> Scores:
        found = {"clip-consistency": frame_consistency(features, protocol.pairs)}
        if item.prompt is not None and protocol.text_scale is not None:
            found["clip-text"] = textual_alignment(features, text(item.prompt))
        elif item.prompt is not None and item.source_prompt is not None:
            found["clip-text"] = frame_accuracy(features, text(item.prompt), text(item.source_prompt))
        return found

    text, stamp = _prompts(clip.to(device)), asdict(stamp_of(clip))
    extractor = frame_networks.clip_extractor("clip", clip, stamp, protocol, batch_size=batch_size, device=device)
    told = f"protocol {protocol.name}, pairs {protocol.pairs}"
    return LoadedMetric(extractor=extractor, scores=scores, about=f"{told}; {about}" if about else told)


def pickscore_metric(clip: Clip, batch_size: int, device: torch.device) -> LoadedMetric:
    """Return `pickscore`: the trained scale times the mean cosine of frames and prompt (Kirstain et al. 2023)."""

    def scores(features: Features, item: ScoredItem) -> Scores:
        assert item.prompt is not None, "needed"
        return {"pickscore": clip.scale * textual_alignment(features, text(item.prompt))}

    text, stamp = _prompts(clip.to(device)), asdict(stamp_of(clip))
    whole = ClipProtocol(name="pickscore", clip=None, resize_px=None, pairs=LOVEU.pairs, text_scale=None)
    extractor = frame_networks.clip_extractor("pickscore", clip, stamp, whole, batch_size=batch_size, device=device)
    return LoadedMetric(extractor=extractor, scores=scores, needs=("prompt",))


def dino_metric(
    dino: Dino | Clip, crop: SubjectCrop, batch_size: int, device: torch.device, *, about: str = ""
) -> LoadedMetric:
    """Return `dino`: the mean cosine of frames and the item's references."""

    @cache
    @torch.inference_mode()
    def embedded(picture: Path, mask: Path | None) -> Embeddings:
        frame = read_image(picture)[None]
        masks = np.ones(frame.shape[:3], bool) if mask is None else read_mask(mask)[None]
        if masks.shape != frame.shape[:3]:
            raise ValueError(f"{picture} and its mask {mask} differ in size: give one of the picture's size")
        pixels = dino.pixels(cropped(frame, masks, crop)[0][None]).to(device)
        row: Embeddings = dino.embed_pixels(pixels)[0].float().cpu().numpy()
        return row

    def scores(features: Features, item: ScoredItem) -> Scores:
        masks = item.reference_masks if crop != "none" else (None,) * len(item.references)
        rows = [embedded(*pair) for pair in zip(item.references, masks, strict=True)]
        return {"dino": subject_fidelity(features, np.stack(rows))}

    stamp = asdict(stamp_of(dino.to(device)))
    extractor = frame_networks.dino_extractor(dino, stamp, crop, batch_size=batch_size, device=device)
    cut = crop != "none"
    told = f"subject crop {crop}"
    return LoadedMetric(
        extractor=extractor,
        scores=scores,
        needs=("references", "reference_masks") if cut else ("references",),
        companions=("subject_masks",) if cut else (),
        about=f"{told}; {about}" if about else told,
    )


def motion_metric() -> LoadedMetric:
    """Return `motion`: the mean flow a frame, as a share of the short side."""
    return LoadedMetric(
        extractor=frame_networks.motion_extractor(), scores=lambda features, _: {"motion": float(features.mean())}
    )


def regions_metric() -> LoadedMetric:
    """Return an edit's errors inside and outside what it was to keep: `mean_errors`."""

    def scores(features: Features, _: ScoredItem) -> Scores:
        return mean_errors(features.astype(np.float64))

    companions = ("source", "masks")
    return LoadedMetric(extractor=frame_networks.regions_extractor(), scores=scores, companions=companions)


def _prompts(clip: Clip) -> Callable[[str], Embeddings]:
    @cache
    def embedded(prompt: str) -> Embeddings:
        if clip.num_tokens(prompt) > clip.tokenizer.model_max_length:
            warnings.warn(f"CLIP reads {clip.tokenizer.model_max_length} tokens, not all of: {prompt}", stacklevel=2)
        row: Embeddings = clip.embed_prompts([prompt])[0].numpy()
        return row

    return embedded
