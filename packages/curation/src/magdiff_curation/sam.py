"""Segment Anything (Kirillov et al., ICCV 2023) as the segmenter: a box becomes a mask, with `segment-anything`.

Two passes as SAM-Track makes them: the first asks for three masks and keeps the one the model trusts most, the second
gets that mask back as a prompt beside the box. Weights are one of the published files (`sam_vit_b_01ec64.pth`: the
architecture is read from its name), or a folder with `config.json` and `model.safetensors` for any other size of the
same classes. The image's embedding is made anew for every picture: none is ever reused for another.

Seconds a picture on one CPU core: ViT-B 16, the zoo's 0.05.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from magdiff_curation.clips.atomic import canonical_json, write_atomic
from magdiff_curation.clips.masks import Box, Image, Mask, clip_box
from magdiff_curation.digests import model_digest
from magdiff_curation.settings import build

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PUBLISHED = "https://github.com/facebookresearch/segment-anything#model-checkpoints"


@dataclass(frozen=True, kw_only=True)
class SamArchitecture:
    """Sizes of a SAM; the defaults are ViT-B's."""

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    global_attention_layers: tuple[int, ...] = (2, 5, 8, 11)
    window_size: int = 14
    image_size_px: int = 1024
    patch_size_px: int = 16
    use_relative_positions: bool = True
    prompt_dim: int = 256
    mask_prompt_channels: int = 16
    decoder_mlp_dim: int = 2048
    decoder_heads: int = 8


ARCHITECTURES = {
    "vit_b": SamArchitecture(),
    "vit_l": SamArchitecture(embed_dim=1024, depth=24, num_heads=16, global_attention_layers=(5, 11, 17, 23)),
    "vit_h": SamArchitecture(embed_dim=1280, depth=32, num_heads=16, global_attention_layers=(7, 15, 23, 31)),
}


def new_sam(architecture: SamArchitecture) -> Sam:
    """Return an untrained SAM of segment-anything's own classes."""
    grid = architecture.image_size_px // architecture.patch_size_px
    dim = architecture.prompt_dim
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=architecture.image_size_px,
            patch_size=architecture.patch_size_px,
            embed_dim=architecture.embed_dim,
            depth=architecture.depth,
            num_heads=architecture.num_heads,
            out_chans=dim,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=architecture.use_relative_positions,
            window_size=architecture.window_size,
            global_attn_indexes=architecture.global_attention_layers,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=dim,
            image_embedding_size=(grid, grid),
            input_image_size=(architecture.image_size_px, architecture.image_size_px),
            mask_in_chans=architecture.mask_prompt_channels,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=dim, mlp_dim=architecture.decoder_mlp_dim, num_heads=architecture.decoder_heads
            ),
            transformer_dim=dim,
            iou_head_depth=3,
            iou_head_hidden_dim=dim,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


def save_sam(sam: Sam, architecture: SamArchitecture, folder: Path) -> None:
    """Write a SAM as `config.json` and `model.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / CONFIG, canonical_json(dataclasses.asdict(architecture)))
    save_file({name: tensor.contiguous() for name, tensor in sam.state_dict().items()}, folder / WEIGHTS)


def load_sam(path: Path) -> Sam:
    """Return the SAM of a published weights file, or of a folder that `save_sam` wrote.

    Raises:
        ValueError: no such file, a damaged one, an unknown architecture, or weights that do not fit it.
    """
    if path.is_dir() and (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
        architecture = build(SamArchitecture, json.loads((path / CONFIG).read_bytes()), str(path / CONFIG))
        weights = _read(path, path / WEIGHTS)
    elif path.is_file():
        named = [name for name in ARCHITECTURES if name in path.name]
        if not named:
            raise ValueError(f"{path}: the file's name must say the architecture ({', '.join(ARCHITECTURES)})")
        architecture = ARCHITECTURES[named[0]]
        weights = _read(path, path)
    else:
        raise ValueError(
            f"Segment Anything's weights are not at {path}: download sam_vit_b_01ec64.pth from {PUBLISHED}, or give a "
            f"folder with {CONFIG} and {WEIGHTS}"
        )
    sam = new_sam(architecture)
    try:
        sam.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the weights of {path} do not fit their architecture: {reason}") from error
    return sam.eval().requires_grad_(False)


def _read(path: Path, weights_path: Path) -> dict[str, Any]:
    """Return the tensors of a weights file; nothing but tensors is unpickled."""
    try:
        if weights_path.suffix == ".safetensors":
            return load_file(weights_path)
        return dict(torch.load(weights_path, map_location="cpu", weights_only=True))
    except (UnpicklingError, SafetensorError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read ({reason}); download it again from {PUBLISHED}") from error


class SamSegmenter:
    """Segments with a box as the prompt.

    Raises:
        ValueError: the weights are missing or do not fit.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._predictor = SamPredictor(load_sam(path).to(device))
        self.name = f"segment-anything {path.name}@{model_digest(path)}"

    def segment(self, image: Image, box: Box) -> Mask:
        """Return the subject's mask, bool [H, W], for an RGB image, uint8 [H, W, 3], and a box in pixels.

        Raises:
            ValueError: the box has no area, is not finite, or lies outside the image.
        """
        clipped = np.array(clip_box(box, height=image.shape[0], width=image.shape[1]))
        with torch.inference_mode():
            self._predictor.set_image(image)
            _, scores, logits = self._predictor.predict(box=clipped, multimask_output=True)
            best = logits[scores.argmax()][None]
            masks, scores, _ = self._predictor.predict(box=clipped, mask_input=best, multimask_output=True)
        mask: Mask = masks[scores.argmax()].astype(np.bool_)
        return mask
