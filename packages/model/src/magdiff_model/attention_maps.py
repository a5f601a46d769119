"""Where words look, APA beside FPA (Fig. 7): `python -m magdiff_model.attention_maps --checkpoint my/magdiff …`.

Both sides start from the same noise, prompt and subject; `attention_recording` says what a map is. Without a second
checkpoint the FPA side is the first with all alphas held at 1 (Eq. 3), which is not a model trained so.
"""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.masks import Frames, Image
from magdiff_model.attention_recording import record_attention, word_weights
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.data.subjects import clip_pixels, subject_inputs
from magdiff_model.encoding import encode_images, encode_text
from magdiff_model.generate import Generate
from magdiff_model.models.apa import ApaMode
from magdiff_model.outputs import write_video
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.precision import autocast
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.video_command import Models, Shown

_COLOURS = np.array([(4, 4, 32), (72, 14, 108), (158, 42, 108), (229, 92, 66), (251, 176, 68), (252, 252, 180)])
"""From dark to light in even steps of lightness, so that a map also reads in grey."""
_PANEL_PX, _GAP_PX, _HEADER_PX, _FOOTER_PX = 192, 8, 40, 28


@dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """Show where words look, APA beside FPA. Say where the subject is by one of --subject, --mask, --box, --whole."""

    checkpoint: str
    """A pipeline folder that magdiff_model.train wrote."""
    image: Path
    """The subject's picture."""
    prompt: str
    """What the video shows."""
    words: tuple[str, ...]
    """Words of the prompt, or several words that follow each other there, as "right hand"."""
    output: Path
    """A folder; gets WORD.mp4 and WORD.png for each word."""
    against: str | None = None
    """A pipeline folder trained with alignments.apa fpa; without it, the first one with all alphas held at 1."""
    resolutions: tuple[int, ...] = ()
    """Look at layers of these sides alone, in latents (as 16 32); none given: at all."""
    subject: str | None = None
    """What the subject is, such as "dog": it is found and cut out."""
    mask: Path | None = None
    """A picture of the same size: the subject is where it is not black (of a JPEG: where it is bright)."""
    box: tuple[float, float, float, float] | None = None
    """x0 y0 x1 y1 in pixels around the subject."""
    whole: bool = False
    """Take the whole picture as the subject (the paper's null mask)."""
    vision: str | None = None
    """What finds the subject, as magdiff_model.generate takes it."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingSettings] = field(default_factory=SamplingSettings)
    """How."""

    def as_generate(self) -> Generate:
        """Return the generation that the left side is."""
        return Generate(
            checkpoint=self.checkpoint,
            image=self.image,
            prompt=self.prompt,
            output=self.output / "maps.mp4",
            subject=self.subject,
            mask=self.mask,
            box=self.box,
            whole=self.whole,
            vision=self.vision,
            sampling=self.sampling,
        )


_TITLES: dict[ApaMode, str] = {"adaptive": "APA", "fixed": "APA, alphas fixed", "fpa": "FPA"}
HELD = "FPA: APA's weights, alphas held at 1; not trained so"


@dataclass(frozen=True)
class Side:
    """One model's video and what its words look at."""

    title: str
    video: Frames
    maps: NDArray[np.float32]
    """[W, F, S, S], a probability everywhere."""


def attention_maps(settings: AttentionMaps) -> list[Path]:
    """Sample both sides, and write a video and a still for every word; return their paths.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    command = settings.as_generate()
    models = Models(command)
    command.check(models.num_frames)
    if command.search:
        models.finder.check(**command.search)
    pipeline = load_pipeline(settings.checkpoint)
    against = pipeline if settings.against is None else load_pipeline(settings.against)
    _check(settings, pipeline, against)
    shown = command.shown(models.finder, models.num_frames, models.seen_px)
    sides = [attend(pipeline, settings, shown, _TITLES[pipeline.unet.config.apa_mode])]
    if settings.against is None:
        with alphas_held_at_one(pipeline.unet):
            sides.append(attend(pipeline, settings, shown, HELD))
    else:
        sides.append(attend(against, settings, shown, _TITLES[against.unet.config.apa_mode]))
    written = []
    for index, word in enumerate(settings.words):
        name = re.sub(r"[^\w-]+", "_", word)
        num_frames = len(sides[0].video)
        video = np.stack([sheet(sides, index, word, [frame]) for frame in range(num_frames)])
        write_video(settings.output / f"{name}.mp4", video, settings.sampling.frame_rate or shown.frame_rate)
        still = io.BytesIO()
        chosen = sorted({0, num_frames // 2, num_frames - 1})
        PillowImage.fromarray(sheet(sides, index, word, chosen)).save(still, "PNG")
        write_atomic(settings.output / f"{name}.png", still.getvalue())
        written += [settings.output / f"{name}.mp4", settings.output / f"{name}.png"]
    return written


def attend(pipeline: MagDiffPipeline, settings: AttentionMaps, shown: Shown, title: str) -> Side:
    """Return the video that a pipeline makes, and what its words look at."""
    print(f"sampling with {title}", flush=True)
    pipeline.to(settings.sampling.usable_device())
    pipeline.set_progress_bar_config(desc="denoising", leave=False, disable=None)
    weights = word_weights(pipeline.tokenizer, settings.prompt, settings.words).to(pipeline.device)
    arguments: dict[str, Any] = settings.sampling.pipeline_arguments()
    with record_attention(pipeline.unet, *_seen(pipeline, settings, shown), weights) as record:
        video = pipeline(settings.prompt, shown.frames, shown.masks, **arguments).frames[0]
    maps = record.heat_maps(pipeline.config.size_px, settings.resolutions).numpy()
    pipeline.to("cpu")  # room for the other side
    return Side(title, video, maps)


@contextmanager
def alphas_held_at_one(unet: nn.Module) -> Iterator[None]:
    """Make the UNet compute Eq. 3 while the block runs, and give its alphas back afterwards."""
    alphas = [value for name, value in unet.named_parameters() if name.rpartition(".")[2].startswith("alpha_")]
    before = [value.detach().clone() for value in alphas]
    try:
        for alpha in alphas:
            alpha.data.fill_(1.0)
        yield
    finally:
        for alpha, value in zip(alphas, before, strict=True):
            alpha.data.copy_(value)


def sheet(sides: Sequence[Side], index: int, word: str, frames: Sequence[int]) -> Image:
    """Return a picture of a word's maps, uint8 [H, W, 3] with even sides: a row a frame, video and map for each side.

    Colours mean the same on both sides and in all frames; the bar below tells which probabilities they stand for.
    """
    low = min(float(side.maps[index].min()) for side in sides)
    high = max(float(side.maps[index].max()) for side in sides)
    size_px = sides[0].video.shape[1]
    panel_px = size_px * max(1, round(_PANEL_PX / size_px))
    width_px = len(sides) * (2 * panel_px + _GAP_PX) - _GAP_PX
    bar_top = _HEADER_PX + len(frames) * panel_px
    picture = PillowImage.new("RGB", (width_px, bar_top + _FOOTER_PX), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for number, side in enumerate(sides):
        left = number * (2 * panel_px + _GAP_PX)
        draw.text((left + 4, 3), side.title, fill="black", font=font)
        draw.text((left + 4, 21), f"video, frame {', '.join(map(str, frames))}", fill="black", font=font)
        draw.text((left + panel_px + 4, 21), f"\u201c{word}\u201d", fill="black", font=font)
        for row, frame in enumerate(frames):
            shown = side.video[frame]
            heat = colour((side.maps[index, frame] - low) / max(high - low, 1e-12))
            grey = shown.mean(axis=-1, keepdims=True)
            for column, content in enumerate((shown, (0.25 * grey + 0.75 * heat).round().astype(np.uint8))):
                panel = PillowImage.fromarray(content).resize((panel_px, panel_px), PillowImage.Resampling.NEAREST)
                picture.paste(panel, (left + column * panel_px, _HEADER_PX + row * panel_px))
    bar = np.repeat(colour(np.linspace(0, 1, panel_px))[None], 12, axis=0).round().astype(np.uint8)
    picture.paste(PillowImage.fromarray(bar), (panel_px, bar_top + 8))
    draw.text((panel_px - 4, bar_top + 6), f"share of attention  {low:.3f}", fill="black", font=font, anchor="ra")
    draw.text((2 * panel_px + 4, bar_top + 6), f"{high:.3f}", fill="black", font=font)
    return np.asarray(picture)


def colour(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return colours [..., 3] from 0 to 255 for values from 0 to 1."""
    places = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(values, places, channel) for channel in _COLOURS.T], axis=-1)


def _check(settings: AttentionMaps, pipeline: MagDiffPipeline, against: MagDiffPipeline) -> None:
    """Raise ValueError, before anything is sampled, for what would not give two sides to compare."""
    if not settings.words:
        raise ValueError("--words is empty: name some of the prompt's")
    if settings.output.is_file():
        raise ValueError(f"--output {settings.output} is a file: give a folder")
    for path, part in ((settings.checkpoint, pipeline), (settings.against, against)):
        config = part.unet.config
        if config.apa_mode == "text_only":
            raise ValueError(f"{path} has no image branch (apa_mode text_only): there is no APA to look at")
        word_weights(part.tokenizer, settings.prompt, settings.words)
        attending = [*config.attention_levels[:-1], True]  # the middle block, of the last level's side, always does
        side_px = part.latent_size()[1]
        sides = {math.ceil(side_px / 2**level) for level, attends in enumerate(attending) if attends}
        if unknown := sorted(set(settings.resolutions) - sides):
            raise ValueError(f"--resolutions: no layer of {path} has side {unknown}; there are {sorted(sides)}")
    if settings.against is None and pipeline.unet.config.apa_mode == "fpa":
        raise ValueError(f"{settings.checkpoint} is FPA already: give another checkpoint by --against")
    sizes = [(part.config.size_px, part.config.num_frames) for part in (pipeline, against)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"the checkpoints' videos have (size_px, num_frames) {sizes[0]} and {sizes[1]}: need the same")


def _seen(pipeline: MagDiffPipeline, settings: AttentionMaps, shown: Shown) -> tuple[Tensor, Tensor]:
    """Return what the pipeline's cross-attention will see of prompt and subject, from the same parts."""
    unet, device = pipeline.unet, pipeline.device
    shows = pipeline.subject_settings()
    pictures = subject_inputs(shown.frames, shown.masks, shows).clip_pictures
    pixels = clip_pixels(pictures, shows)[None].to(device)
    with torch.no_grad(), autocast(device, settings.sampling.precision, unet.dtype):
        text = encode_text(pipeline.tokenizer, pipeline.text_encoder, [settings.prompt]).to(unet.dtype)
        image = unet.image_tokens(encode_images(pipeline.image_encoder, pixels).to(unet.dtype))
    return text[:, None], image


def main() -> None:
    """Read the command line and write the maps."""
    try:
        for path in attention_maps(tyro.cli(AttentionMaps, prog="python -m magdiff_model.attention_maps")):
            print(f"wrote {path}")
    except (ValueError, OSError) as error:
        sys.exit(f"attention_maps: {error}")


if __name__ == "__main__":
    main()
