"""The UNet of a pipeline in diffusers' layout, by its class: Stable Diffusion 2.x or ModelScope."""

from __future__ import annotations

from typing import Any

from magdiff_model.alignments import TEMPORAL_MODULES
from magdiff_model.convert import distilled
from magdiff_model.convert.keys import Weights
from magdiff_model.convert.source import SourcePipeline, read_json
from magdiff_model.convert.unet_config import START_FROM, Choices, unet_2d_settings, unet_3d_settings
from magdiff_model.convert.weights_files import read_tensors, weight_files

_OTHERS = {
    "UNetMotionModel": "AnimateDiff's UNet, made from Stable Diffusion 1.5",
    "UNetSpatioTemporalConditionModel": "Stable Video Diffusion, which takes an image and no text",
    "I2VGenXLUNet": "I2VGen-XL, whose UNet takes an image in other ways",
    "MagDiffUNet3DConditionModel": "a MagDiff pipeline already; magdiff_model.train --base takes it as it is",
}


def read_unet(
    pipeline: SourcePipeline, choices: Choices, variant: str | None = None, *, allow_distilled: bool = False
) -> Weights:
    """Return the UNet of Stable Diffusion 2.x, to be inflated, or of ModelScope.

    Raises:
        ValueError: another family, settings that MagDiff has not, a distilled model unless allowed, or no weights.
    """
    config = unet_config(pipeline)
    kind = config.get("_class_name")
    if not isinstance(kind, str):
        raise ValueError(f"{pipeline.folder / 'unet' / 'config.json'} names no _class_name; get the checkpoint again")
    folder = pipeline.folder / "unet"
    if kind == "UNet3DConditionModel":
        settings, family = unet_3d_settings(config, choices), "ModelScope"
    elif kind == "UNet2DConditionModel":
        settings, family = unet_2d_settings(config, choices), "Stable Diffusion 2.x"
    else:
        raise ValueError(f"{pipeline.name} has a {kind}: {_OTHERS.get(kind, 'another family')}; {START_FROM}")
    inflated = kind == "UNet2DConditionModel"
    scheduler = read_json(pipeline.folder / "scheduler" / "scheduler_config.json")
    found = distilled.signs(pipeline.name, pipeline.index, scheduler, config)
    if found and not allow_distilled:
        raise ValueError(distilled.refusal(pipeline.name, found))
    notes = []
    if found:
        notes.append(f"the source looks distilled, trained for 1 to 4 steps without guidance: {'; '.join(found)}")
    files = weight_files(folder, variant)
    if config.get("upcast_attention"):
        notes.append("the source computes attention in float32 (upcast_attention); in half precision MagDiff does not")
    if settings.get("position_code") == "residual":
        notes.append("with position_code residual the new UNet is not the 2D one frame by frame; branch is")
    return Weights(
        family=family,
        settings=settings,
        tensors=read_tensors(files),
        files=files,
        new_modules=TEMPORAL_MODULES if inflated else (),
        notes=notes,
    )


def unet_config(pipeline: SourcePipeline) -> dict[str, Any]:
    """Return the UNet's config.

    Raises:
        ValueError: the pipeline has no UNet, or several text encoders.
    """
    if several := [part for part in pipeline.parts() if part.startswith("text_encoder_")]:
        raise ValueError(
            f"{pipeline.name} has {len(several) + 1} text encoders (SDXL, SD 3 and the like); MagDiff has one: "
            f"{START_FROM}"
        )
    if pipeline.class_of("unet") is None:
        raise ValueError(f"{pipeline.name} has no UNet, but {', '.join(pipeline.parts())}; {START_FROM}")
    return read_json(pipeline.folder / "unet" / "config.json")
