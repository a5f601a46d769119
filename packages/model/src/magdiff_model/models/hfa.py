"""High-Fidelity Alignment: the subject's pixels, seen at several sizes, enter the latent space (Section 3.3).

The subject image is resized to `ratios` times the video's size (1.5, 1.25 and 1: 384, 320 and 256 px), the VAE encodes
each, one convolution a scale aligns them, all are resized to the latents' size and merged into z_s. The paper
concatenates z_s to the noisy latents; the UNet does that by `conv_in_cond`, a second input convolution that starts
at zero, which by linearity is the same and leaves the base checkpoint's `conv_in` as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

HfaInit = Literal["random", "copy"]


class HighFidelityAlignment(nn.Module):
    """VAE latents of the subject at each scale -> z_s.

    Args:
        latent_channels: channels of the VAE's latents and of z_s.
        num_scales: how many sizes the subject is seen at.
        hidden_channels: width of each scale's convolution.
        init: "random", as the paper has it, or "copy": z_s starts near the last scale's latents.
    """

    def __init__(
        self, latent_channels: int = 4, num_scales: int = 3, hidden_channels: int = 32, init: HfaInit = "random"
    ) -> None:
        super().__init__()
        scales = [nn.Conv2d(latent_channels, hidden_channels, 3, padding=1) for _ in range(num_scales)]
        self.scales = nn.ModuleList(scales)
        self.merge = nn.Conv2d(num_scales * hidden_channels, latent_channels, 3, padding=1)
        if init == "copy":
            first = (num_scales - 1) * hidden_channels  # where the last scale's channels begin in the merge
            nn.init.dirac_(scales[-1].weight.detach()[:latent_channels])
            nn.init.dirac_(self.merge.weight.detach()[:, first : first + latent_channels])

    def forward(self, pyramid: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return z_s, [B, 4, F, h, w].

        Args:
            pyramid: one tensor a scale, [B, 4, F, h_i, w_i]: the subject's latents in every slot.
            size: (h, w) of the noisy latents.

        Raises:
            ValueError: another number of scales than this module has.
        """
        if len(pyramid) != len(self.scales):
            raise ValueError(f"HFA has {len(self.scales)} scales, got latents at {len(pyramid)}")
        aligned = []
        for conv, latents in zip(self.scales, pyramid, strict=True):
            batch, _, frames = latents.shape[:3]
            features = conv(latents.transpose(1, 2).flatten(0, 1))
            if features.shape[-2:] != size:
                features = functional.interpolate(features.float(), size, mode="bilinear", antialias=True).to(features)
            aligned.append(features)
        merged: Tensor = self.merge(torch.cat(aligned, dim=1))
        return merged.unflatten(0, (batch, frames)).transpose(1, 2)
