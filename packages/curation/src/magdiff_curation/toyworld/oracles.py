"""Oracles: read class, background, action and appearance back from the pixels of a clip.

One small network, trained on toyworld alone, looks at eight frames of 64x64 px. It names class, background,
action and pattern, and says of every pixel whether it is the subject's base, second or accent colour; the
colours themselves are then averages of the pixels found, not guesses. It is frozen: its weights ship with the
package, and loading refuses any file whose sha256 is not the one written here, so that all scores were made by
the same judge. `train_oracles.py` is how it was made. Reading one clip takes about 15 ms on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn import functional

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.masks import Frames
from magdiff_curation.toyworld.actions import ACTIONS
from magdiff_curation.toyworld.appearance import PATTERNS
from magdiff_curation.toyworld.backgrounds import BACKGROUNDS
from magdiff_curation.toyworld.shapes import CLASSES

NUM_FRAMES, SIZE_PX = 8, 64
ORACLE_SHA256 = "c73ee9b3dadd50f505148573be9615ec60e29286df0c0df041fd751141c7323a"
HEADS = {
    "class_name": tuple(CLASSES),
    "background": tuple(BACKGROUNDS),
    "action": tuple(ACTIONS),
    "pattern": PATTERNS,
}
NUM_PARTS = 4
"""Base, second, accent, and everything else."""
PROPORTION_SPREAD = (0.087, 0.104)
"""Standard deviations of aspect and part, which the network reads in these units around 1."""


class OracleNet(nn.Module):
    """Frames [B, 3, F, H, W] in [-1, 1] -> logits per head, `parts` [B, 4, F, H/2, W/2], `proportions` [B, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(nn.Conv3d(3, 24, (1, 5, 5), (1, 2, 2), (0, 2, 2)), 24)
        self.quarter = _block(nn.Conv3d(24, 48, (1, 3, 3), (1, 2, 2), (0, 1, 1)), 48)
        self.eighth = _block(nn.Conv3d(48, 64, 3, (1, 2, 2), 1), 64)
        self.sixteenth = _block(nn.Conv3d(64, 96, 3, (1, 2, 2), 1), 96)
        self.squeeze = nn.Sequential(nn.Linear(96 * 16, 96), nn.SiLU())
        self.motion = nn.Sequential(nn.Linear(96 * NUM_FRAMES, 128), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128 + 96, len(values)) for name, values in HEADS.items()})
        self.proportions = nn.Sequential(nn.Linear(128 + 96, 64), nn.SiLU(), nn.Linear(64, 2))
        self.up_eighth = nn.Conv3d(64 + 96, 48, 1)
        self.up_quarter = _block(nn.Conv3d(48 + 48, 32, (1, 3, 3), padding=(0, 1, 1)), 32)
        self.up_half = _block(nn.Conv3d(24 + 32, 24, (1, 3, 3), padding=(0, 1, 1)), 24)
        self.parts = nn.Conv3d(24, NUM_PARTS, 1)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return every head's output."""
        half = self.stem(frames)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)  # [B, 96, F, 4, 4]
        per_frame = self.squeeze(sixteenth.permute(0, 2, 1, 3, 4).flatten(2))  # [B, F, 96]
        both = torch.cat([self.motion(per_frame.flatten(1)), per_frame.mean(1)], dim=1)
        up = self.up_eighth(torch.cat([eighth, _double(sixteenth)], dim=1))
        up = self.up_quarter(torch.cat([quarter, _double(up)], dim=1))
        up = self.up_half(torch.cat([half, _double(up)], dim=1))
        named = {name: head(both) for name, head in self.heads.items()}
        return named | {"parts": self.parts(up), "proportions": self.proportions(both)}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the oracle sees in one clip; `looks` is `Appearance.vector()` as read, float64 [11]."""

    class_name: str
    background: str
    action: str
    pattern: str
    looks: np.ndarray

    def colour_distance(self, other: Reading) -> float:
        """Return the root mean square difference of the three colours, 0 to 1: how unlike two subjects look."""
        return float(np.sqrt(np.mean((self.looks[:9] - other.looks[:9]) ** 2)))


class Oracle:
    """The frozen judge. Raises ValueError where the shipped weights are not the frozen ones."""

    def __init__(self) -> None:
        weights = resources.files(__package__).joinpath("oracle.safetensors").read_bytes()
        if sha256_hex(weights) != ORACLE_SHA256:
            raise ValueError(
                f"oracle.safetensors has sha256 {sha256_hex(weights)}, not the frozen {ORACLE_SHA256}: "
                "reinstall magdiff-curation; scores made with other weights do not compare"
            )
        self.net = OracleNet()
        self.net.load_state_dict({name: value.float() for name, value in load_safetensors(weights).items()})
        self.net.eval()

    def read(self, frames: Frames) -> Reading:
        """Return the reading of a clip, uint8 [F, H, W, 3], of any size and at least eight frames long."""
        with torch.inference_mode():
            pixels = to_input(frames)[None]
            output = self.net(pixels)
        names = {name: values[int(output[name].argmax())] for name, values in HEADS.items()}
        small = functional.avg_pool3d(pixels, (1, 2, 2)) / 2 + 0.5
        # Squared, so that pixels half of one part and half of another count little.
        weights = output["parts"].softmax(dim=1)[:, :3] ** 2
        colours = (
            torch.einsum("bpfhw,bcfhw->pc", weights, small) / weights.sum(dim=(0, 2, 3, 4)).clamp(min=1e-6)[:, None]
        )
        proportions = 1 + output["proportions"][0] * torch.tensor(PROPORTION_SPREAD)
        return Reading(**names, looks=torch.cat([colours.flatten(), proportions]).double().numpy())


def to_input(frames: Frames) -> Tensor:
    """Return eight evenly spread frames as the network takes them, float32 [3, 8, 64, 64] in [-1, 1].

    Raises:
        ValueError: fewer than eight frames.
    """
    if len(frames) < NUM_FRAMES:
        raise ValueError(f"the oracle needs at least {NUM_FRAMES} frames, got {len(frames)}")
    chosen = np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)
    pixels = torch.from_numpy(np.ascontiguousarray(frames[chosen])).permute(0, 3, 1, 2).float()
    if pixels.shape[-2:] != (SIZE_PX, SIZE_PX):
        pixels = functional.interpolate(pixels, (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True)
    return pixels.permute(1, 0, 2, 3) / 127.5 - 1


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=(1, 2, 2), mode="nearest")


def _block(convolution: nn.Conv3d, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(8, channels), nn.SiLU())
