"""The networks that metrics need, by the metrics' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from magdiff_eval.metrics.fvd import PROTOCOLS, ClipMode, FvdProtocol

if TYPE_CHECKING:
    from magdiff_eval.scoring.networks import ClipExtractor

Metric = Literal["fvd", "video-is", "toyworld-fvd", "toyworld-is"]
FRECHET: tuple[Metric, ...] = ("fvd", "toyworld-fvd")
"""Metrics that need a reference."""


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings:
    """What videos are shown to."""

    metrics: tuple[Metric, ...] = ("fvd",)
    """fvd: I3D; video-is: C3D; toyworld-fvd and toyworld-is: toyworld's own network, for toyworld alone."""
    weights: Path = Path("data/weights")
    """Where weights are; `python -m magdiff_eval.weights` says what is there."""
    fvd_protocol: Literal["tf", "styleganv", "magdiff"] = "magdiff"
    """How I3D is shown videos."""
    clip_mode: ClipMode = "exact"
    """What is done to videos that do not have the protocol's number of frames; exact: they are not scored."""
    num_frames: int = 16
    """Frames of a video, for toyworld's network: 8 or 16."""
    batch_size: int = 8
    """Clips that a network sees at once."""
    device: str = "auto"
    """Where networks run; auto: the GPU where there is one."""

    def __post_init__(self) -> None:
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics are {list(self.metrics)}: give some of {', '.join(get_args(Metric))}, each once")

    @property
    def protocol(self) -> FvdProtocol:
        """How I3D is shown videos, and covariances are made."""
        return replace(PROTOCOLS[self.fvd_protocol], clip_mode=self.clip_mode)


def load_extractors(settings: ExtractorSettings) -> Sequence[ClipExtractor]:
    """Return an extractor for each of the settings' metrics, on its device.

    Raises:
        ValueError: weights that are not here, or are not what they should be.
    """
    from magdiff_eval import weights
    from magdiff_eval.scoring import networks
    from magdiff_model.precision import pick_device

    device = pick_device(settings.device)
    shared: dict[str, Any] = {"batch_size": settings.batch_size, "device": device}
    found = list[networks.ClipExtractor]()
    for metric in settings.metrics:
        if metric == "fvd":
            i3d = weights.load_i3d(settings.weights).to(device)
            found.append(networks.fvd_extractor(i3d, asdict(weights.stamp_of(i3d)), settings.protocol, **shared))
        elif metric == "video-is":
            c3d, mean = weights.load_c3d(settings.weights)
            stamp = asdict(weights.stamp_of(c3d))
            found.append(networks.is_extractor(c3d.to(device), stamp, mean, **shared))
        else:
            own = weights.load_toyworld().to(device)
            logits, frames = metric == "toyworld-is", settings.num_frames
            stamp = asdict(weights.stamp_of(own))
            found.append(networks.toyworld_extractor(own, stamp, num_frames=frames, logits=logits, **shared))
    return found
