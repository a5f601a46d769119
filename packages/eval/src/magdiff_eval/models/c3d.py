"""C3D, whose UCF-101 logits the Inception Score of videos is made from, and TGAN2's way of showing it videos.

Eight 3x3x3 convolutions and three linear layers (Tran et al. 2015). The layers are named as in TGAN2's Chainer file
`conv3d_deepnetA_ucf.npz`, where `conv1a/W` and `conv1a/b` are here `conv1a.weight` and `conv1a.bias`. Its last pooling
keeps the odd row and column, 7 -> 4, as Caffe and Chainer do; PyTorch ports that pad it by (0, 1, 1) shift every window
by one instead. It is for inference: there is no dropout, and a new network is in evaluation mode. 77.1 GFLOP a video.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

NUM_FRAMES = 16
SIZE_PX = 112
MEAN_SHAPE = (3, 16, 128, 171)
_CROP = slice(8, 8 + SIZE_PX)
_STAGES = (("conv1a",), ("conv2a",), ("conv3a", "conv3b"), ("conv4a", "conv4b"), ("conv5a", "conv5b"))
"""Convolutions between one pooling and the next."""


class C3D(nn.Module):
    """C3D; weights are random until some are loaded.

    Args:
        num_classes: logits; 78,409,573 parameters at UCF-101's 101.
    """

    def __init__(self, num_classes: int = 101) -> None:
        super().__init__()
        self.conv1a = nn.Conv3d(3, 64, 3, padding=1)
        self.conv2a = nn.Conv3d(64, 128, 3, padding=1)
        self.conv3a = nn.Conv3d(128, 256, 3, padding=1)
        self.conv3b = nn.Conv3d(256, 256, 3, padding=1)
        self.conv4a = nn.Conv3d(256, 512, 3, padding=1)
        self.conv4b = nn.Conv3d(512, 512, 3, padding=1)
        self.conv5a = nn.Conv3d(512, 512, 3, padding=1)
        self.conv5b = nn.Conv3d(512, 512, 3, padding=1)
        self.fc6 = nn.Linear(512 * 4 * 4, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.eval()

    def forward(self, video: Tensor) -> Tensor:
        """Return fc8's logits [B, classes] of videos [B, 3, 16, 112, 112], as `tgan2_inputs` makes them.

        Raises:
            ValueError: another shape.
        """
        if video.shape[1:] != (3, NUM_FRAMES, SIZE_PX, SIZE_PX):
            raise ValueError(f"C3D got {tuple(video.shape)} and takes [B, 3, 16, 112, 112]: make it with tgan2_inputs")
        hidden = video
        for stage in _STAGES:
            for name in stage:
                hidden = functional.relu(self.get_submodule(name)(hidden))
            time = 1 if stage == _STAGES[0] else 2
            hidden = functional.max_pool3d(hidden, (time, 2, 2), ceil_mode=True)
        hidden = functional.relu(self.fc6(hidden.flatten(1)))
        hidden = functional.relu(self.fc7(hidden))
        logits: Tensor = self.fc8(hidden)
        return logits


def tgan2_inputs(videos: NDArray[np.uint8], mean: NDArray[np.floating], device: torch.device | str = "cpu") -> Tensor:
    """Return what TGAN2 shows C3D of videos uint8 [B, 16, H, W, 3] in RGB: float32 [B, 3, 16, 112, 112] in BGR.

    TGAN2's videos are in [-1, 1], (pixel - 128) / 128; its network's first layer turns that back into pixels in BGR,
    resizes each frame to 112 x 112 (bilinear, corners aligned, aspect not kept), and takes off the mean's rows and
    columns 8 to 119: not the middle of its width (tgan2/models/c3d/c3d_ucf101.py).

    Args:
        videos: 16 frames each; C3D has no other length.
        mean: [3, 16, 128, 171] in BGR, 0 to 255: `mean` of TGAN2's mean2.npz.
        device: where the resizing is done, and the result is.

    Raises:
        ValueError: other shapes, or videos that are not uint8.
    """
    if videos.dtype != np.uint8 or videos.ndim != 5 or videos.shape[1] != NUM_FRAMES or videos.shape[4] != 3:
        raise ValueError(
            f"got {videos.dtype} {videos.shape}: C3D takes uint8 [B, 16, H, W, 3]; cut or generate videos of 16 frames"
        )
    if mean.shape != MEAN_SHAPE:
        raise ValueError(f"the mean has shape {mean.shape}: need {list(MEAN_SHAPE)}, TGAN2's mean2.npz")
    pixels = torch.from_numpy(np.ascontiguousarray(videos)).to(device)
    frames = pixels.flip(-1).permute(0, 1, 4, 2, 3).flatten(0, 1).float()
    resized = functional.interpolate(frames, (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=True)
    shown = resized.unflatten(0, (len(videos), NUM_FRAMES)).transpose(1, 2)
    crop = mean[:, :, _CROP, _CROP].astype(np.float32)
    return shown - torch.from_numpy(crop).to(device)
