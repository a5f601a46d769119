"""What the model is shown of the subject, from frames and masks: subject-driven alignment (Section 3.1).

HFA gets the subject at several sizes with everything else at 0 in [-1, 1]; APA gets it at CLIP's size with everything
else at CLIP's mean (0 once normalised). A mask of None is the paper's null mask: the whole frame is the subject.
Generation shows one frame, in slot 0; editing shows every frame, each in its own slot.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_model.data.framing import framed_masks, is_inside, middle_pixels, resized, unit

SubjectViews = Literal["resized", "cropped"]


@dataclass(frozen=True, kw_only=True)
class SubjectSettings:
    """How subjects are shown."""

    size_px: int = 256
    """Side of the model's square frames."""
    ratios: tuple[float, ...] = (1.5, 1.25, 1.0)
    """HFA's sizes as multiples of `size_px`: 384, 320 and 256 px in the paper. Empty: no HFA."""
    views: SubjectViews = "resized"
    """resized: every size shows the same framing; cropped: each is cut out of the middle of the largest."""
    clip_size_px: int = 224
    """Side of CLIP's pictures."""
    clip_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    """CLIP's normalisation, channel means (0 to 1)."""
    clip_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    """CLIP's normalisation, channel deviations."""
    masked: bool = True
    """Show the subject alone (SDA); False shows whole frames (the rows without SDA in Table 5)."""

    def sizes_px(self) -> tuple[int, ...]:
        """Return HFA's sizes in pixels, even."""
        return tuple(2 * round(self.size_px * ratio / 2) for ratio in self.ratios)


@dataclass(frozen=True)
class SubjectInputs:
    """The subject of S frames (1 for generation, F for editing): bytes, with the mask as the fourth channel."""

    pyramid: tuple[Tensor, ...]
    """HFA's pictures, one tensor a scale, uint8 [S, s_i, s_i, 4]: `framing.unit` gives what the VAE takes."""
    clip_pictures: Tensor
    """CLIP's pictures, uint8 [S, c, c, 4]: `clip_pixels` gives what CLIP takes."""


def visible(masks: Masks, size_px: int) -> NDArray[np.bool_]:
    """Return in which frames the masks bool [F, H, W] leave something of the subject within the framing, bool [F]."""
    shown: NDArray[np.bool_] = framed_masks(masks, size_px).flatten(1).any(dim=1).numpy()
    return shown


def subject_inputs(frames: Frames, masks: Masks | None, settings: SubjectSettings) -> SubjectInputs:
    """Return the inputs for frames uint8 [S, H, W, 3] and their masks bool [S, H, W], or None for whole frames.

    Raises:
        ValueError: masks of another shape than the frames, or a frame without a subject in its middle square.
    """
    if masks is not None and masks.shape != frames.shape[:3]:
        raise ValueError(f"masks {masks.shape} do not fit frames {frames.shape}: one mask per frame, of its size")
    if not settings.masked:
        masks = None
    pixels = middle_pixels(frames, np.ones(frames.shape[:3], bool) if masks is None else masks)
    view = functools.cache(functools.partial(resized, pixels))
    hidden = ~is_inside(view(settings.size_px)[..., 3]).flatten(1).any(dim=1)
    if hidden.any():
        raise ValueError(
            f"frames {hidden.nonzero().flatten().tolist()} have an empty mask in the middle square: give masks that "
            "cover a subject there, or none"
        )
    sizes = settings.sizes_px()
    if settings.views == "cropped" and sizes:
        pyramid = tuple(_middle(view(max(sizes)), size) for size in sizes)
    else:
        pyramid = tuple(map(view, sizes))
    return SubjectInputs(pyramid, view(settings.clip_size_px))


def clip_pixels(pictures: Tensor, settings: SubjectSettings) -> Tensor:
    """Return pictures of subjects uint8 [..., c, c, 4] as CLIP takes them, normalised, float32 [..., 3, c, c].

    What is outside of the subject is 0, CLIP's mean.
    """
    per_channel = (settings.clip_mean, settings.clip_std)
    mean, std = (torch.tensor(values, device=pictures.device)[:, None, None] for values in per_channel)
    pixels = (unit(pictures[..., :3]) / 2 + 0.5).sub_(mean).div_(std)
    return pixels.mul_(is_inside(pictures[..., 3])[..., None, :, :])


def _middle(pictures: Tensor, size_px: int) -> Tensor:
    start = (pictures.shape[1] - size_px) // 2
    return pictures[:, start : start + size_px, start : start + size_px]
