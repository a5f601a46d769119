"""MagDiff as a maker of videos, as the baselines are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magdiff_curation.clips.atomic import canonical_json, sha256_hex, sha256_of_file
from magdiff_curation.clips.masks import Frames, Masks
from magdiff_eval.baselines import Request
from magdiff_eval.baselines.load import computes_in
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.framing import framed_frames, framed_masks
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.precision import Precision, pick_device
from magdiff_model.sampling import Solver


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How videos are sampled."""

    steps: int
    """Denoising steps."""
    guidance_scale: float
    """On the text."""
    image_guidance_scale: float
    """On the subject; 1 is none."""
    solver: Solver | None
    """None takes the checkpoint's scheduler."""


def magdiff_stamp(folder: Path, how: Sampling, *, device: str, precision: Precision) -> dict[str, Any]:
    """Return all that a checkpoint's videos depend on, without loading it; of 5 GB of files it takes some 15 s.

    Raises:
        ValueError: the folder holds no checkpoint.
    """
    weights, index = folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "model_index.json"
    if missing := [path for path in (index, weights) if not path.is_file()]:
        raise ValueError(f"{folder} is no MagDiff checkpoint, it has no {missing[0].relative_to(folder)}: train one")
    config = json.loads(index.read_bytes())
    shown = {name: value for name, value in config.items() if not name.startswith("_") and not isinstance(value, list)}
    parts = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt"))
    files = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in parts}
    found = {"checkpoint_sha256": sha256_hex(canonical_json(files)), **shown, **asdict(how)}
    return found | {"precision": computes_in(pick_device(device), precision)}


def magdiff_attributes(folder: Path) -> dict[str, str]:
    """Return what a checkpoint is, by the names that the paper's tables have."""
    unet = json.loads((folder / "unet" / "config.json").read_bytes())
    has = {
        "HFA": unet["hfa_scales"] > 0,
        "SDA": json.loads((folder / "model_index.json").read_bytes()).get("subject_masked", True),
    }
    ticks = {name: "✓" if there else "✗" for name, there in has.items()}
    ticks["APA"] = {"text_only": "✗", "fpa": "FPA", "fixed": "fixed"}.get(unet["apa_mode"], "✓")
    return {"Input type": "text&image-to-video", "Inference method": "Tuning-Free", **ticks}


class MagDiffMaker:
    """A MagDiff checkpoint.

    Args:
        folder: the checkpoint.
        how: its sampling.
        device: as `pick_device` has it.
        precision: what the networks multiply in.
    """

    name = "magdiff"

    def __init__(self, folder: Path, how: Sampling, *, device: str, precision: Precision) -> None:
        self.pipeline: MagDiffPipeline = load_pipeline(folder).to(pick_device(device))
        self.pipeline.set_progress_bar_config(disable=True)
        self.how, self.precision = how, precision
        self.stamp = magdiff_stamp(folder, how, device=device, precision=precision)

    def make(self, request: Request) -> Frames:
        """Return a video, uint8 [num_frames, S, S, 3]; frames whose subject is not in the middle square show whole."""
        video: Frames = self.pipeline(
            request.prompt,
            request.frames,
            None if request.masks is None else self.seen(request.masks),
            num_frames=request.num_frames,
            num_inference_steps=self.how.steps,
            guidance_scale=self.how.guidance_scale,
            image_guidance_scale=self.how.image_guidance_scale,
            solver=self.how.solver,
            seed=request.seed,
            precision=self.precision,
        ).frames[0]
        return video

    def inside(self, masks: Masks) -> NDArray[np.bool_]:
        """Return which masks of [F, H, W] have something in the middle square that the model sees, bool [F]."""
        found: NDArray[np.bool_] = framed_masks(masks, self.pipeline.config.size_px).flatten(1).any(dim=1).numpy()
        return found

    def seen(self, masks: Masks) -> Masks:
        """Return masks bool [F, H, W] with those that have nothing inside made whole."""
        return np.where(self.inside(masks)[:, None, None], masks, True)

    def framed(self, frames: Frames, masks: Masks) -> tuple[Frames, Masks]:
        """Return frames uint8 [F, S, S, 3] and masks bool [F, S, S] as the model sees them."""
        side = self.pipeline.config.size_px
        return framed_frames(frames, side).numpy(), framed_masks(self.seen(masks), side).numpy()
