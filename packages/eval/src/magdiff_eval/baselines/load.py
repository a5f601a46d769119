"""`load_baseline`: from a name and a weights folder to a maker whose videos the harness scores as it does MagDiff's.

Nothing is downloaded. Networks stay in fp32 and multiply in bf16 where asked, as MagDiff's do; the published examples
use fp16 throughout. Native frame counts and sizes are kept, and the frames thinned out afterwards: a model that has to
make others than it was trained on is another baseline.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames
from magdiff_eval.baselines.check import check, weights_files
from magdiff_eval.baselines.entry import Baseline, Values
from magdiff_eval.baselines.registry import baseline_of, values_of
from magdiff_eval.baselines.request import Maker, Request
from magdiff_eval.weights.check import sha256_remembered
from magdiff_model.checkpoints import quiet_loading
from magdiff_model.precision import Precision, autocast, pick_device


def load_baseline(
    name: str, folder: Path, *, device: str = "auto", precision: Precision = "auto", **given: Any
) -> Maker:
    """Return a baseline's maker.

    Args:
        name: a name of `BASELINES`.
        folder: the weights folder, with the repositories that the baseline needs, each in a folder of its own.
        device: as `pick_device` has it.
        precision: what the networks multiply in.
        given: settings of the baseline (steps, guidance_scale, num_frames, …) in place of the published ones; None
            leaves the published one. The stamp lists which differ.

    Raises:
        ValueError: no such baseline or setting; files are missing, all of which the message lists with the commands
            that get them, before anything is loaded; or a file is damaged.
    """
    baseline = baseline_of(name)
    values = values_of(baseline, given)
    check(baseline, folder)
    quiet_loading()
    pipeline = baseline.load(folder, values).to(pick_device(device))
    pipeline.set_progress_bar_config(disable=True)
    # Guidance, noise and solver work in the format of what these two return, and stay in fp32, as MagDiff's do.
    for part in (pipeline.unet, getattr(pipeline, "image_encoder", None)):
        if part is not None:
            part.register_forward_hook(_in_fp32)
    stamp = _stamp(baseline, folder, values, pipeline, computes_in(pipeline.device, precision))
    return BaselineMaker(baseline, pipeline, values, precision, stamp)


class BaselineMaker:
    """A loaded baseline."""

    def __init__(
        self, baseline: Baseline, pipeline: Any, values: Values, precision: Precision, stamp: dict[str, Any]
    ) -> None:
        self.name, self.stamp = baseline.name, stamp
        self._baseline, self._pipeline, self._values, self._precision = baseline, pipeline, values, precision

    def make(self, request: Request) -> Frames:
        """Return a video of the wanted number of frames, thinned out of those that the baseline makes.

        Raises:
            ValueError: more frames are wanted than it makes, or the source has another number than its task takes.
        """
        made = self._frames_made(request)
        device = self._pipeline.device
        devices = [device] if device.type == "cuda" else []
        # I2VGen-XL draws its image's latents from the global noise, whatever generator it is given.
        with torch.random.fork_rng(devices), autocast(device, self._precision):
            torch.manual_seed(request.seed)
            pixels = self._baseline.sample(self._pipeline, self._values, request)
        assert len(pixels) == made, f"{self.name} made {len(pixels)} frames, not {made}"
        return (pixels[thinned(made, request.num_frames)] * 255).round().astype(np.uint8)

    def _frames_made(self, request: Request) -> int:
        shown, wanted = len(request.frames), request.num_frames
        if "edit" in self._baseline.tasks:
            if shown != wanted:
                raise ValueError(f"{self.name} edits every frame: give {wanted} source frames, not {shown}")
            return shown
        if shown != 1:
            raise ValueError(f"{self.name} only generates: give it 1 source frame, not {shown}")
        made: int = self._values["num_frames"]
        if wanted > made:
            raise ValueError(
                f"{self.name} makes {made} frames and {wanted} are wanted: ask for fewer, or load it with "
                f"num_frames={wanted}, which is not what it was published with"
            )
        return made


def thinned(made: int, wanted: int) -> NDArray[np.int64]:
    """Return which frames are kept, int64 [wanted]: the first of each of `wanted` equal parts of the video.

    The whole of the video is scored and not only its start, where little has moved yet; where `wanted` divides
    `made`, the frames are evenly apart.
    """
    return np.arange(wanted) * made // wanted


def _in_fp32(_: torch.nn.Module, __: Any, output: Any) -> Any:
    if isinstance(output, tuple):
        return (output[0].float(), *output[1:])
    name = "sample" if "sample" in output else "image_embeds"
    output[name] = output[name].float()
    return output


def computes_in(device: torch.device, precision: Precision) -> str:
    """Return the format that networks in fp32 multiply in: bf16 or fp32."""
    with autocast(device, precision):
        return "bf16" if torch.is_autocast_enabled(device.type) else "fp32"


def _finite(value: object) -> object:
    """Return a scheduler's setting as JSON takes it: DPM-Solver++ clips at -inf."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _stamp(baseline: Baseline, folder: Path, values: Values, pipeline: Any, precision: str) -> dict[str, Any]:
    settings = pipeline.scheduler.config.items()
    return {
        "maker": baseline.name,
        "class": type(pipeline).__name__,
        "diffusers": version("diffusers"),
        "transformers": version("transformers"),
        "precision": precision,
        **values,
        "not_as_published": [name for name, setting in baseline.settings.items() if values[name] != setting.value],
        "scheduler": {
            "class": type(pipeline.scheduler).__name__,
            **{key: _finite(value) for key, value in settings if not key.startswith("_")},
        },
        "image": baseline.image,
        "prompt": baseline.prompt,
        "frames": "as many as the source has"
        if "edit" in baseline.tasks
        else "the first of each of as many equal parts of the made video as frames are wanted",
        "frame_rate": baseline.frame_rate,
        "notes": list(baseline.notes),
        "weights": {file: sha256_remembered(folder / file, folder) for file in weights_files(baseline)},
    }
