"""The metrics by their names: what each is shown videos with, and what it makes of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch

from magdiff_eval import weights
from magdiff_eval.metrics.clip import PROTOCOLS as CLIP_PROTOCOLS
from magdiff_eval.metrics.fvd import PROTOCOLS, ClipMode, FvdProtocol
from magdiff_eval.models.toyworld import COMPARABLE
from magdiff_eval.scoring import networks, video_metrics
from magdiff_eval.scoring.extractors import Extractor
from magdiff_eval.scoring.metric import LoadedMetric
from magdiff_eval.weights import hub
from magdiff_model.precision import pick_device

Metric = Literal["fvd", "video-is", "clip", "dino", "motion", "regions", "pickscore"]
FRECHET: tuple[Metric, ...] = ("fvd",)
"""Metrics that need a reference."""


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """What videos are shown to."""

    metrics: tuple[Metric, ...] = ("fvd",)
    """Of the set: fvd (I3D), video-is (C3D). Of every video: clip (frames' consistency, alignment with the text), dino
    (likeness to the subject), pickscore, motion, regions (an edit's error in and out of what it was to keep)."""
    extractors: Literal["published", "toyworld"] = "published"
    """The networks; toyworld's are part of the repository, and compare with nothing published."""
    weights: Path = Path("data/weights")
    """Where weights are; `python -m magdiff_eval.weights` says what is there."""
    fvd_protocol: Literal["tf", "styleganv", "magdiff"] = "magdiff"
    """How I3D is shown videos."""
    clip_mode: ClipMode = "exact"
    """What is done to videos that do not have the protocol's number of frames; exact: they are not scored."""
    clip_protocol: Literal["loveu", "tune-a-video", "fatezero"] = "loveu"
    """How CLIP is shown frames, which CLIP, and which frames are compared."""
    subject_crop: Literal["none", "bbox", "mask"] = "none"
    """What DINO is shown of a picture: all of it, the subject's bounding box, or that with all else black."""
    num_frames: int = 16
    """Frames of a video, for toyworld's fvd and video-is: 8 or 16."""
    batch_size: int = 8
    """Clips, or frames, that a network sees at once."""
    device: str = "auto"
    """Where networks run; auto: the GPU where there is one."""

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics are {list(self.metrics)}: give some of {', '.join(get_args(Metric))}, each once")

    @property
    def protocol(self) -> FvdProtocol:
        """How I3D is shown videos, and covariances are made."""
        return replace(PROTOCOLS[self.fvd_protocol], clip_mode=self.clip_mode)


def load_metrics(settings: ExtractorSettings) -> dict[str, LoadedMetric]:
    """Return the settings' metrics, their networks on the settings' device.

    Raises:
        ValueError: weights that are not here, or are not what they should be; or a metric that toyworld has not.
    """
    device = pick_device(settings.device)
    return {metric: _load(metric, settings, device) for metric in settings.metrics}


def load_extractors(settings: ExtractorSettings) -> Sequence[Extractor]:
    """Return the extractors of the settings' metrics: `load_metrics` for who only takes features.

    Raises:
        ValueError: as `load_metrics`, or a metric that is shown more than the video.
    """
    loaded = load_metrics(settings)
    for name, metric in loaded.items():
        if metric.companions:
            raise ValueError(f"{name} is shown {' and '.join(metric.companions)} too: score it with magdiff_eval.score")
    return [metric.extractor for metric in loaded.values()]


def _load(metric: Metric, settings: ExtractorSettings, device: torch.device) -> LoadedMetric:
    toyworld, folder, batch_size = settings.extractors == "toyworld", settings.weights, settings.batch_size
    if metric == "motion":
        return video_metrics.motion_metric()
    if metric == "regions":
        return video_metrics.regions_metric()
    if metric == "fvd":
        if toyworld:
            return LoadedMetric(extractor=_toyworld(settings, device, logits=False), about=COMPARABLE)
        i3d = weights.load_i3d(folder).to(device)
        stamp = asdict(weights.stamp_of(i3d))
        return LoadedMetric(
            extractor=networks.fvd_extractor(i3d, stamp, settings.protocol, batch_size=batch_size, device=device)
        )
    if metric == "video-is":
        if toyworld:
            return LoadedMetric(extractor=_toyworld(settings, device, logits=True), about=COMPARABLE)
        c3d, mean = weights.load_c3d(folder)
        stamp = asdict(weights.stamp_of(c3d))
        return LoadedMetric(
            extractor=networks.is_extractor(
                c3d.to(device), stamp, mean, clip_mode=settings.clip_mode, batch_size=batch_size, device=device
            )
        )
    if metric == "clip":
        protocol = CLIP_PROTOCOLS[settings.clip_protocol]
        if toyworld:
            return video_metrics.clip_metric(hub.load_toyworld_clip(), protocol, batch_size, device, about=COMPARABLE)
        files = "clip-b32" if protocol.clip == "ViT-B/32" else "clip-l14"
        about = "" if protocol.clip else f"{protocol.name} does not say which CLIP: {files} was taken"
        return video_metrics.clip_metric(hub.load_clip(files, folder), protocol, batch_size, device, about=about)
    if metric == "dino":
        crop = settings.subject_crop
        if toyworld:
            about = f"{COMPARABLE} (the zoo's CLIP in DINO's place)"
            return video_metrics.dino_metric(hub.load_toyworld_clip(), crop, batch_size, device, about=about)
        return video_metrics.dino_metric(hub.load_dino(folder), crop, batch_size, device)
    if toyworld:
        raise ValueError("toyworld has no network for pickscore: leave it out, or give --extractors published")
    return video_metrics.pickscore_metric(hub.load_clip("pickscore", folder), batch_size, device)


def _toyworld(settings: ExtractorSettings, device: torch.device, *, logits: bool) -> networks.ClipExtractor:
    own = weights.load_toyworld().to(device)
    stamp, num_frames, batch_size = asdict(weights.stamp_of(own)), settings.num_frames, settings.batch_size
    return networks.toyworld_extractor(
        own, stamp, num_frames=num_frames, logits=logits, batch_size=batch_size, device=device
    )
