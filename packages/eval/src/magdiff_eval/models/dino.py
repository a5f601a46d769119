"""DINO's ViT-S/16 as DreamBooth's score takes it (Ruiz et al. 2023; Section 4.1): the class token of a picture.

Pictures go through DINO's own evaluation: the short side to 256 px, bicubic in Pillow, the middle 224 px, ImageNet's
mean and deviation. A subject can be cut out first: `bbox` takes its bounding box, `mask` also blackens what is not the
subject. The paper does not say whether it did, nor which of a video's frames and a subject's pictures it compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from magdiff_curation.clips.masks import Frames, Image, Masks
from magdiff_eval.models.clip import loaded

SubjectCrop = Literal["none", "bbox", "mask"]
_SHORT_PX, _SIDE_PX = 256, 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dino(nn.Module):
    """A `ViTModel` of DINO, in evaluation mode."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit
        self.eval().requires_grad_(False)

    def pixels(self, frames: Frames) -> Tensor:
        """Return float32 [F, 3, 224, 224] of pictures uint8 [F, H, W, 3]."""
        return torch.stack([_prepared(frame) for frame in frames])

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Return class tokens [F, D], after the last layer's norm."""
        tokens: Tensor = self.vit(pixel_values=pixels).last_hidden_state[:, 0]
        return tokens


def dino_of_folder(folder: Path) -> Dino:
    """Return DINO from a folder in transformers' layout, without a download.

    Raises:
        ValueError: tensors are missing.
    """
    from transformers import ViTModel

    return Dino(loaded(ViTModel, folder, add_pooling_layer=False))


def cropped(frames: Frames, masks: Masks, crop: SubjectCrop) -> list[Image]:
    """Return each picture's subject, uint8 [h, w, 3]; where a mask is empty the whole picture is the subject.

    Args:
        frames: uint8 [F, H, W, 3].
        masks: bool [F, H, W].
        crop: none gives the pictures as they are.
    """
    found = []
    for frame, mask in zip(frames, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if crop == "none" or not len(rows):
            found.append(frame)
            continue
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        found.append(frame[box] * mask[box][..., None] if crop == "mask" else frame[box])
    return found


def _prepared(frame: Image) -> Tensor:
    picture = PillowImage.fromarray(frame)
    short = min(picture.size)
    width, height = (_SHORT_PX * side // short for side in picture.size)  # torchvision cuts the long side down
    resized = picture.resize((width, height), PillowImage.Resampling.BICUBIC)
    left, top = (round((side - _SIDE_PX) / 2) for side in (width, height))
    middle = np.asarray(resized.crop((left, top, left + _SIDE_PX, top + _SIDE_PX)))
    pixels = torch.from_numpy(middle.copy()).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_DEVIATION)[:, None, None]
