"""All of a pipeline but its UNet: VAE, text encoder, tokenizer and scheduler of the source, and an image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from magdiff_curation.hub import check_there, loading, pick_dtype
from magdiff_model.convert.source import SourcePipeline, is_hub_id, read_json
from magdiff_model.convert.unet_config import START_FROM
from magdiff_model.convert.weights_files import DIFFUSERS_STEM, weight_files

_TEXT = {"CLIPTextModel": CLIPTextModel, "CLIPTextModelWithProjection": CLIPTextModelWithProjection}
_ACCEPTED = {
    "vae": ("AutoencoderKL",),
    "text_encoder": tuple(_TEXT),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
_TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Either of them is a whole tokenizer; without, transformers makes one that knows no words."""
_TAKEN = {*_ACCEPTED, "scheduler", "unet", "image_encoder", "feature_extractor"}
_FOUND_ON = "for instance laion/CLIP-ViT-H-14-laion2B-s32B-b79K, the one of Stable Diffusion 2's text encoder"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where the parts are; all of them were looked at, none is loaded."""

    pipeline: SourcePipeline
    variant: str | None
    image_encoder: str
    """A hub id or a folder, of the encoder itself."""
    feature_extractor: str
    image_config: dict[str, Any]
    scheduler: DDIMScheduler
    ignored: list[str]
    """Parts of the source that MagDiff has not."""

    @property
    def image_hidden_size(self) -> int:
        """Return E, the width of the image encoder's states."""
        return int(self.image_config["hidden_size"])


def find_parts(
    pipeline: SourcePipeline, settings: dict[str, Any], image_encoder: str | None, variant: str | None = None
) -> Parts:
    """Return the parts that go with a UNet of these settings.

    Raises:
        ValueError: one is missing, is of another kind, or does not fit the UNet.
    """
    for part, accepted in _ACCEPTED.items():
        kind = pipeline.class_of(part)
        if kind not in accepted:
            raise ValueError(
                f"{pipeline.name} has {kind or 'nothing'} as {part}; MagDiff needs {accepted[0]}: "
                "give the whole pipeline, of Stable Diffusion 2.x or ModelScope"
            )
        if not (pipeline.folder / part).is_dir():
            raise ValueError(f"{pipeline.folder / part} is not there, though {pipeline.name} lists it: get it again")
    weight_files(pipeline.folder / "vae", variant)
    weight_files(pipeline.folder / "text_encoder", variant, stem="model")
    if not any(all((pipeline.folder / "tokenizer" / file).is_file() for file in whole) for whole in _TOKENIZER_FILES):
        raise ValueError(
            f"{pipeline.folder / 'tokenizer'} has neither tokenizer.json nor both vocab.json and merges.txt: "
            "get the checkpoint again"
        )
    text = read_json(pipeline.folder / "text_encoder" / "config.json")
    if text.get("hidden_size") != settings["cross_attention_dim"]:
        raise ValueError(
            f"the text encoder's states have {text.get('hidden_size')} channels, the UNet's cross-attention takes "
            f"{settings['cross_attention_dim']}: these parts are not of one model"
        )
    vae = read_json(pipeline.folder / "vae" / "config.json")
    if vae.get("latent_channels", 4) != settings["in_channels"] or vae.get("shift_factor"):
        raise ValueError(
            f"the VAE's latents have {vae.get('latent_channels', 4)} channels and shift_factor "
            f"{vae.get('shift_factor')}; the UNet takes {settings['in_channels']} and none: not parts of one model"
        )
    encoder, extractor, config = find_image_encoder(pipeline, image_encoder)
    taken = _TAKEN if image_encoder is None else _TAKEN - {"image_encoder", "feature_extractor"}
    return Parts(
        pipeline=pipeline,
        variant=variant,
        image_encoder=encoder,
        feature_extractor=extractor,
        image_config=config,
        scheduler=ddim(pipeline),
        ignored=[part for part in pipeline.parts() if part not in taken],
    )


def ddim(pipeline: SourcePipeline) -> DDIMScheduler:
    """Return DDIM over the source's noise levels and prediction type; latents are never clipped.

    Raises:
        ValueError: another kind of noise, or a target that is not trained here.
    """
    config = read_json(pipeline.folder / "scheduler" / "scheduler_config.json")
    if "beta_schedule" not in config:
        raise ValueError(
            f"{pipeline.name}'s scheduler, {config.get('_class_name')}, has no beta_schedule, "
            f"over which MagDiff trains and samples: {START_FROM}"
        )
    if config.get("prediction_type", "epsilon") not in ("epsilon", "v_prediction"):
        raise ValueError(f"{pipeline.name} predicts {config['prediction_type']}; MagDiff epsilon or v_prediction")
    scheduler: DDIMScheduler = DDIMScheduler.from_config(config, clip_sample=False)
    return scheduler


def find_image_encoder(pipeline: SourcePipeline, given: str | None) -> tuple[str, str, dict[str, Any]]:
    """Return where CLIP's vision model and its processor are, hub ids or folders, and the former's config.

    Args:
        pipeline: the source.
        given: a CLIP in transformers' layout, or a pipeline that has one; None takes the source's.

    Raises:
        ValueError: none is given or found, or it is no CLIP.
    """
    if given is None and pipeline.class_of("image_encoder") is None:
        raise ValueError(f"{pipeline.name} has no image encoder: give --image-encoder, {_FOUND_ON}")
    place = str(pipeline.folder) if given is None else given
    encoder = extractor = place
    if (Path(place) / "image_encoder").is_dir():
        encoder, extractor = f"{place}/image_encoder", f"{place}/feature_extractor"
    else:
        if not Path(place).is_dir() and not is_hub_id(place):
            raise ValueError(
                f"--image-encoder {place!r} is no folder here and no hub id (owner/name): give a CLIP, {_FOUND_ON}"
            )
        check_there(place, None)
        if not Path(place).is_dir():
            print(f"getting {place} from the hub, unless it is in the hub's cache", flush=True)
    with loading(encoder, f"--image-encoder takes a CLIP in transformers' layout, {_FOUND_ON}"):
        stored = CLIPVisionConfig.get_config_dict(encoder)[0]
        if stored.get("model_type") not in ("clip", "clip_vision_model"):
            raise ValueError(f"it is a {stored.get('model_type')}, no CLIP")
        config = CLIPVisionConfig.from_pretrained(encoder)
        side = int(CLIPImageProcessorPil.from_pretrained(extractor).crop_size["height"])
        if side != config.image_size:
            raise ValueError(f"it takes {config.image_size} px, its processor makes {side}")
    return encoder, extractor, config.to_dict() | {"architectures": stored.get("architectures")}


def load_parts(parts: Parts, dtype: str, text_encoder: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return MagDiffPipeline's parts but for the UNet, with `text_encoder`'s weights where there are any.

    Raises:
        ValueError: weights are missing, or do not fit.
    """
    folder, picked = parts.pipeline.folder, pick_dtype(dtype)
    kind = str(parts.pipeline.class_of("text_encoder"))
    projects = parts.image_config["architectures"] != ["CLIPVisionModel"]
    vision = CLIPVisionModelWithProjection if projects else CLIPVisionModel
    with loading(parts.pipeline.name, "get the checkpoint again"):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    vae = _load_part(AutoencoderKL, folder / "vae", picked, parts.variant)
    encoder = _load_part(_TEXT[kind], folder / "text_encoder", picked, parts.variant, stem="model")
    if text_encoder:
        encoder.load_state_dict(fitted(text_encoder, encoder))
    return {
        "vae": vae,
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "image_encoder": _load(vision, parts.image_encoder, dtype=picked),
        "feature_extractor": CLIPImageProcessorPil.from_pretrained(parts.feature_extractor),
        "scheduler": parts.scheduler,
    }


def fitted(text_encoder: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return a text encoder's weights under `model`'s names: transformers 4 put `text_model.` before CLIPTextModel's.

    Raises:
        ValueError: they are not this model's.
    """
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    prefixed = any(name.startswith("text_model.") for name in ours)
    renamed = {
        f"text_model.{name.removeprefix('text_model.')}" if prefixed else name.removeprefix("text_model."): value
        for name, value in text_encoder.items()
    }
    theirs = {name: tuple(value.shape) for name, value in renamed.items()}
    if theirs != ours:
        odd = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"the source's text encoder is not the pipeline's: {len(odd)} weights differ, such as {odd[0]}; give the "
            "Stable Diffusion 2.1 base that it was trained from as --parts"
        )
    return renamed


def text_model(parts: Parts) -> nn.Module:
    """Return the text encoder on the meta device, without weights."""
    kind = _TEXT[str(parts.pipeline.class_of("text_encoder"))]
    with torch.device("meta"):
        model: nn.Module = kind(kind.config_class.from_pretrained(parts.pipeline.folder / "text_encoder"))
    return model


def _load_part(kind: Any, folder: Path, dtype: torch.dtype, variant: str | None, stem: str = DIFFUSERS_STEM) -> Any:
    safe = weight_files(folder, variant, stem)[0].suffix == ".safetensors"
    return _load(kind, folder, dtype=dtype, variant=variant, use_safetensors=safe)


def _load(kind: Any, place: str | Path, **options: Any) -> Any:
    with loading(str(place), "get the checkpoint again"):
        model, found = kind.from_pretrained(place, output_loading_info=True, **options)
        if lost := [*found["missing_keys"], *found["mismatched_keys"]]:
            raise ValueError(
                f"{len(lost)} weights are missing or of another shape, such as {sorted(map(str, lost))[0]}"
            )
    return model.eval()
