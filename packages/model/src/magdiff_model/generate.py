"""Make a video of a subject: `python -m magdiff_model.generate --image dog.png --box 40 60 300 400 --prompt "…"`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from magdiff_curation.clips.masks import Masks
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.media import check_output, masks_from_box, read_image, read_mask, write_video
from magdiff_model.precision import Precision, pick_device


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How videos are sampled."""

    steps: int = 50
    """Denoising steps."""
    guidance_scale: float = 7.5
    """Classifier-free guidance on the text: 7.5 is the paper's; less keeps the subject's looks better."""
    image_guidance_scale: float = 1.0
    """Guidance on the subject: 1 is none, as in the paper; 1.5 brings its looks out more."""
    seed: int = 0
    """Of the noise."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it."""
    frame_rate: float = 8.0
    """Frames per second of the written video."""


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Make a video of a picture's subject, as a text tells. Say where it is by one of --mask, --box, --whole."""

    checkpoint: str
    """A pipeline folder that magdiff_model.train wrote."""
    image: Path
    """The picture."""
    prompt: str
    """What the video shows."""
    output: Path
    """The .mp4 to write."""
    mask: Path | None = None
    """A picture of the same size: the subject is where it is not black."""
    box: tuple[float, float, float, float] | None = None
    """x0 y0 x1 y1 in pixels around the subject; GrabCut finds its outline."""
    whole: bool = False
    """Take the whole picture as the subject (the paper's null mask)."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingSettings] = field(default_factory=SamplingSettings)
    """How."""

    def masks(self) -> Masks | None:
        """Return the subject's mask, bool [1, H, W], or None for the whole picture."""
        check_one_way(mask=self.mask, box=self.box, whole=self.whole or None)
        if self.mask:
            return read_mask(self.mask)[None]
        return masks_from_box(read_image(self.image)[None], self.box) if self.box else None


def generate(settings: Generate) -> None:
    """Generate the video.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    check_output(settings.output)
    frames, masks = read_image(settings.image)[None], settings.masks()
    pipeline = load_pipeline(settings.checkpoint).to(pick_device(settings.sampling.device))
    video = pipeline(settings.prompt, frames, masks, **sampling_arguments(settings.sampling))
    write_video(settings.output, video, settings.sampling.frame_rate)
    print(f"wrote {settings.output}")


def sampling_arguments(settings: SamplingSettings) -> dict[str, object]:
    """Return the pipeline's arguments for these settings, with progress on the terminal."""
    return {
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "image_guidance_scale": settings.image_guidance_scale,
        "seed": settings.seed,
        "precision": settings.precision,
        "on_step": lambda done, total: print(
            f"\rdenoising {done}/{total}", end="\n" if done == total else "", flush=True
        ),
    }


def check_one_way(**ways: object) -> None:
    """Raise ValueError unless exactly one way to find the subject was given."""
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        options = ", ".join(f"--{name}" for name in ways)
        raise ValueError(f"say where the subject is by one of {options}; given: {', '.join(given) or 'none'}")


def main() -> None:
    """Read the command line and generate."""
    try:
        generate(tyro.cli(Generate, prog="python -m magdiff_model.generate"))
    except (ValueError, OSError) as error:
        sys.exit(f"generate: {error}")


if __name__ == "__main__":
    main()
