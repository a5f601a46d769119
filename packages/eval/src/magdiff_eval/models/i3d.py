"""I3D: Inception v1 inflated to 3D, whose 400 Kinetics logits are what FVD compares (Carreira and Zisserman 2017).

Parameters are named as in piergiaj/pytorch-i3d, whose names public ports of the TF-hub model keep too. Convolutions and
poolings pad as TensorFlow's "SAME" does: as much as makes ceil(size / stride) outputs, the odd one behind. It is for
inference: there is no dropout, and a new network is in evaluation mode. 55.6 GFLOP for 16 frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE_PX = 224
MIN_FRAMES = 9
"""The last pooling spans two steps of eight frames each; nine frames begin the second."""

_FEATURES = 1024
_MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
"""Channels of each mixed block: 1x1; reduction and 3x3; reduction and second 3x3; 1x1 after the pooling."""


class InceptionI3d(nn.Module):
    """I3D on RGB. `state_dict` has piergiaj/pytorch-i3d's names; weights are random until some are loaded.

    Args:
        num_classes: logits; 12,697,264 parameters at Kinetics' 400.
        bn_eps: of every batch norm: 1e-3 in piergiaj/pytorch-i3d, 1e-5 in VideoGPT and cd-fvd.
    """

    def __init__(self, num_classes: int = 400, bn_eps: float = 1e-3) -> None:
        super().__init__()
        for name, layer in _layers(bn_eps):
            self.add_module(name, layer)
        self._trunk = tuple(self._modules)
        self.logits = Unit3d(_FEATURES, num_classes, (1, 1, 1), bn_eps=None)
        self.eval()

    def pooled_features(self, video: Tensor) -> Tensor:
        """Return what the logits are made from, [B, 1024], averaged over space and time.

        Args:
            video: [B, 3, T, 224, 224] in [-1, 1]. Windows of two steps of eight frames are averaged: 9 to 16 frames
                make one window, 17 to 24 two.

        Raises:
            ValueError: another shape, or fewer than nine frames.
        """
        if video.ndim != 5 or video.shape[1] != 3 or video.shape[3:] != (SIZE_PX, SIZE_PX):
            raise ValueError(f"I3D got {tuple(video.shape)} and takes [B, 3, T, 224, 224]: make it with prepare_clips")
        if video.shape[2] < MIN_FRAMES:
            raise ValueError(
                f"I3D got {video.shape[2]} frames and takes {MIN_FRAMES} or more: generate longer videos, "
                "or prepare clips with clip_mode repeat or resample, on both sides"
            )
        hidden = video
        for name in self._trunk:
            hidden = self.get_submodule(name)(hidden)
        windows: Tensor = functional.avg_pool3d(hidden, (2, 7, 7), stride=1)
        return windows.mean(dim=(2, 3, 4))

    def forward(self, video: Tensor) -> Tensor:
        """Return logits [B, classes], averaged over time, of videos [B, 3, T, 224, 224] in [-1, 1].

        Raises:
            ValueError: another shape, or fewer than nine frames.
        """
        features = self.pooled_features(video)[:, :, None, None, None]
        logits: Tensor = self.logits(features)
        return logits.flatten(1)


class Unit3d(nn.Module):
    """A convolution without bias, batch norm and ReLU; or, without `bn_eps`, a convolution with bias alone."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Sequence[int], stride: int = 1, *, bn_eps: float | None
    ) -> None:
        super().__init__()
        size = (kernel[0], kernel[1], kernel[2])
        self.conv3d = nn.Conv3d(in_channels, out_channels, size, stride, bias=bn_eps is None)
        self.bn = None if bn_eps is None else nn.BatchNorm3d(out_channels, eps=bn_eps, momentum=0.01)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.conv3d(_pad_same(hidden, self.conv3d.kernel_size, self.conv3d.stride))
        return hidden if self.bn is None else functional.relu(self.bn(hidden))


class SamePool3d(nn.Module):
    """A max pooling; zeros pad as well as -inf would, since it follows a ReLU."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.max_pool3d(_pad_same(hidden, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Four branches side by side, their channels one after the other."""

    def __init__(self, in_channels: int, widths: Sequence[int], bn_eps: float) -> None:
        super().__init__()
        one, three = (1, 1, 1), (3, 3, 3)
        self.b0 = Unit3d(in_channels, widths[0], one, bn_eps=bn_eps)
        self.b1a = Unit3d(in_channels, widths[1], one, bn_eps=bn_eps)
        self.b1b = Unit3d(widths[1], widths[2], three, bn_eps=bn_eps)
        self.b2a = Unit3d(in_channels, widths[3], one, bn_eps=bn_eps)
        self.b2b = Unit3d(widths[3], widths[4], three, bn_eps=bn_eps)
        self.b3a = SamePool3d(three, one)
        self.b3b = Unit3d(in_channels, widths[5], one, bn_eps=bn_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        branches = [
            self.b0(hidden),
            self.b1b(self.b1a(hidden)),
            self.b2b(self.b2a(hidden)),
            self.b3b(self.b3a(hidden)),
        ]
        return torch.cat(branches, dim=1)


def _layers(bn_eps: float) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers below the logits in their order; poolings have no parameters, but the names' numbering."""
    yield "Conv3d_1a_7x7", Unit3d(3, 64, (7, 7, 7), stride=2, bn_eps=bn_eps)
    yield "MaxPool3d_2a_3x3", SamePool3d((1, 3, 3), (1, 2, 2))
    yield "Conv3d_2b_1x1", Unit3d(64, 64, (1, 1, 1), bn_eps=bn_eps)
    yield "Conv3d_2c_3x3", Unit3d(64, 192, (3, 3, 3), bn_eps=bn_eps)
    yield "MaxPool3d_3a_3x3", SamePool3d((1, 3, 3), (1, 2, 2))
    channels = 192
    for block, widths in _MIXED.items():
        if block == "4b":
            yield "MaxPool3d_4a_3x3", SamePool3d((3, 3, 3), (2, 2, 2))
        if block == "5b":
            yield "MaxPool3d_5a_2x2", SamePool3d((2, 2, 2), (2, 2, 2))
        yield f"Mixed_{block}", Mixed(channels, widths, bn_eps)
        channels = widths[0] + widths[2] + widths[4] + widths[5]


def _pad_same(hidden: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    padding: list[int] = []
    for size, span, step in zip(hidden.shape[2:], kernel, stride, strict=True):
        missing = max(span - (size % step or step), 0)
        padding = [missing // 2, missing - missing // 2, *padding]  # torch wants the last axis first
    return functional.pad(hidden, padding)
