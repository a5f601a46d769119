"""A small network for toyworld in I3D's and C3D's place: features for a Fréchet distance, logits for an Inception Score

It names action, class and background of a clip of 8 or 16 frames, and what it makes its decisions from, 64 numbers, are
the features. A network that only names things does not see noise: this one is also shown each clip's grain, how much
pixels differ from their neighbours in space and in time, and tells in training how much a clip was spoilt. It was
trained on toyworld alone (`zoo/train_extractor.py`), so its scores compare only with others made by the same file:
`COMPARABLE` belongs beside every one. It is not the oracle that judges toyworld's benchmark, and has never seen that
one's training world. 0.2 GFLOP for 16 frames.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.shapes import CLASSES

SIZE_PX = 64
NUM_FRAMES = (8, 16)
"""The lengths it was trained on."""
NUM_FEATURES = 64
HEADS = {"action": tuple(ACTIONS), "class_name": tuple(CLASSES), "background": tuple(BACKGROUNDS)}
FAULTS = ("noise", "squares")
"""What clips are spoilt by in training: noise's deviation, over 4 of 255; how far squares' means replaced pixels."""
COMPARABLE = "toyworld's own extractor: not comparable with published numbers"

_GRAIN_FLOOR = 0.01
_MOMENTS, _PLACES, _SQUEEZED, _GRAINS = 8, 4, 16, 2
"""Both frame by frame features and grain are averaged to eight moments of 4x4 places."""


class ToyworldExtractor(nn.Module):
    """Names toyworld's truths; weights are random until some are loaded, `load_toyworld` has the zoo's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, 16, (1, 5, 5), stride=2)
        self.quarter = _block(16, 32, (1, 3, 3), stride=2)
        self.eighth = _block(32, 48, (3, 3, 3), stride=2)
        self.sixteenth = _block(48, 64, (3, 3, 3), stride=2)
        self.squeeze = nn.Conv3d(64, _SQUEEZED, 1)
        self.weigh = nn.Linear((_SQUEEZED + _GRAINS) * _MOMENTS * _PLACES**2, NUM_FEATURES)
        self.heads = nn.ModuleDict({name: nn.Linear(NUM_FEATURES, len(values)) for name, values in HEADS.items()})
        self.faults = nn.Linear(NUM_FEATURES, len(FAULTS))
        self.eval()

    def features(self, video: Tensor) -> Tensor:
        """Return features [B, 64] of videos [B, 3, F, 64, 64] in [-1, 1], as `extractor_inputs` makes them.

        Raises:
            ValueError: another shape, or a number of frames that is not 8 or 16.
        """
        if video.ndim != 5 or video.shape[1] != 3 or video.shape[3:] != (SIZE_PX, SIZE_PX):
            raise ValueError(
                f"the toyworld extractor got {tuple(video.shape)} and takes [B, 3, F, 64, 64]: make it with "
                "extractor_inputs"
            )
        if video.shape[2] not in NUM_FRAMES:
            raise ValueError(
                f"the toyworld extractor got {video.shape[2]} frames and takes 8 or 16: generate videos of one of "
                "these lengths, the same for both sets"
            )
        hidden = self.sixteenth(self.eighth(self.quarter(self.stem(video))))
        squeezed = functional.silu(self.squeeze(hidden))
        frames = video.shape[2] // _MOMENTS
        moments = functional.avg_pool3d(squeezed, (frames, 1, 1))
        side = SIZE_PX // _PLACES
        grains = functional.avg_pool3d(_grain(video), (frames, side, side))
        weighed: Tensor = self.weigh(torch.cat([moments, grains], dim=1).flatten(1))
        return weighed

    def named(self, video: Tensor) -> dict[str, Tensor]:
        """Return logits [B, 10] for each of `HEADS`; takes and refuses what `features` does."""
        return self.named_by(self.features(video))

    def named_by(self, features: Tensor) -> dict[str, Tensor]:
        """Return logits [B, 10] for each of `HEADS`, of features [B, 64]."""
        return {name: head(features) for name, head in self.heads.items()}

    def forward(self, video: Tensor) -> Tensor:
        """Return logits [B, 100] for an Inception Score: log p(action) + log p(class), class by class within an action.

        One hundred classes, as UCF-101 has 101; the score goes from 1 to 100. Takes and refuses what `features` does.
        """
        named = self.named(video)
        action, class_name = (named[name].log_softmax(dim=1) for name in ("action", "class_name"))
        return (action[:, :, None] + class_name[:, None, :]).flatten(1)


def extractor_inputs(videos: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Return float32 [B, 3, F, 64, 64] in [-1, 1] of RGB videos uint8 [B, F, H, W, 3].

    Frames of another size are resized, bilinear and antialiased, aspect not kept, and not rounded afterwards.

    Raises:
        ValueError: another shape or type.
    """
    if videos.dtype != np.uint8 or videos.ndim != 5 or videos.shape[4] != 3:
        raise ValueError(f"got {videos.dtype} {videos.shape}: need RGB videos, uint8 [B, F, H, W, 3]")
    frames = torch.from_numpy(np.ascontiguousarray(videos)).to(device).permute(0, 1, 4, 2, 3).flatten(0, 1).float()
    if frames.shape[2:] != (SIZE_PX, SIZE_PX):
        frames = functional.interpolate(frames, (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True)
    return frames.unflatten(0, videos.shape[:2]).transpose(1, 2).contiguous() / 127.5 - 1


def _grain(video: Tensor) -> Tensor:
    """Return log |pixel - mean of the 3x3 around it| and log |pixel - the frame before's|, [B, 2, F, 64, 64]."""
    around = functional.avg_pool3d(functional.pad(video, (1, 1, 1, 1, 0, 0), mode="replicate"), (1, 3, 3), stride=1)
    before = torch.cat([video[:, :, :1], video[:, :, :-1]], dim=2)
    both = [(video - other).abs().mean(dim=1) for other in (around, before)]
    return (torch.stack(both, dim=1) + _GRAIN_FLOOR).log()


def _block(in_channels: int, out_channels: int, kernel: tuple[int, int, int], stride: int) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(in_channels, out_channels, kernel, (1, stride, stride), padding)
    return nn.Sequential(convolution, nn.GroupNorm(8, out_channels), nn.SiLU())
