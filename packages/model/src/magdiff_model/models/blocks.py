"""The UNet's levels: each layer is resnet -> Temp-Conv -> transformer (Fig. D), on diffusers' own resnets.

One layer class and three small blocks. Module names are those of diffusers' UNet3DConditionModel, which contain all
of the 2D UNet's, so that checkpoints of either fit by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from magdiff_model.models.apa import ApaMode, Prompt
from magdiff_model.models.temporal import PositionCode, temporal_transformer
from magdiff_model.models.transformer import MagDiffTransformer


@dataclass(frozen=True, kw_only=True)
class LevelSettings:
    """What all levels of one UNet share."""

    time_channels: int
    context_channels: int
    head_channels: int
    norm_groups: int
    norm_eps: float
    temporal_dropout: float
    apa_mode: ApaMode
    apa_alpha: tuple[float, float]
    apa_own_query: bool
    position_code: PositionCode | None
    """None for ModelScope's layout, where temporal attention is a transformer of its own after the spatial one."""


@dataclass(frozen=True)
class Context:
    """What every layer is given besides its features."""

    time: Tensor
    """Timestep embedding, [B*F, T]."""
    text: Prompt
    image: Prompt | None
    num_frames: int


class Block(nn.Module):
    """The modules of one level; subclasses say how they follow each other."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]  # both are set by diffusers' enable_gradient_checkpointing

    def __init__(self, inputs: list[int], channels: int, num_transformers: int, settings: LevelSettings) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock2D(
                in_channels=width,
                out_channels=channels,
                temb_channels=settings.time_channels,
                groups=settings.norm_groups,
                eps=settings.norm_eps,
            )
            for width in inputs
        )
        self.temp_convs = nn.ModuleList(
            TemporalConvLayer(channels, dropout=settings.temporal_dropout, norm_num_groups=settings.norm_groups)
            for _ in inputs
        )
        self.attentions = nn.ModuleList(
            MagDiffTransformer(
                channels,
                settings.context_channels,
                settings.head_channels,
                settings.norm_groups,
                settings.apa_mode,
                settings.apa_alpha,
                settings.apa_own_query,
                settings.position_code,
            )
            for _ in range(num_transformers)
        )
        self.temp_attentions = nn.ModuleList(
            temporal_transformer(
                channels // settings.head_channels, settings.head_channels, channels, settings.norm_groups
            )
            for _ in range(0 if settings.position_code else num_transformers)
        )

    def layer(self, index: int, hidden: Tensor, context: Context) -> Tensor:
        """Return layer number `index` applied, [B*F, C, H, W]; checkpointed, it keeps its input alone for backward."""

        def run(features: Tensor) -> Tensor:
            return self.attend(index, self.convolve(index, features, context), context)

        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(run, hidden)
        return run(hidden)

    def convolve(self, index: int, hidden: Tensor, context: Context) -> Tensor:
        """Return resnet and Temp-Conv number `index` applied; with one frame the temporal part is off."""
        hidden = self.resnets[index](hidden, context.time)
        if context.num_frames > 1:
            hidden = self.temp_convs[index](hidden, num_frames=context.num_frames)
        return hidden

    def attend(self, index: int, hidden: Tensor, context: Context) -> Tensor:
        """Return transformer number `index` applied, where this level has transformers."""
        if not self.attentions:
            return hidden
        hidden = self.attentions[index](hidden, context.text, context.image, context.num_frames)
        if self.temp_attentions and context.num_frames > 1:
            hidden = self.temp_attentions[index](hidden, num_frames=context.num_frames, return_dict=False)[0]
        return hidden


class DownBlock(Block):
    """Layers, then half the size; also returns every intermediate for the way up."""

    def __init__(
        self, inputs: list[int], channels: int, *, attention: bool, downsample: bool, settings: LevelSettings
    ) -> None:
        super().__init__(inputs, channels, len(inputs) if attention else 0, settings)
        self.downsamplers = nn.ModuleList(
            [Downsample2D(channels, use_conv=True, out_channels=channels, name="op")] if downsample else []
        )

    def forward(self, hidden: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """Return the features and the skips, [B*F, C, H, W] each."""
        skips = []
        for index in range(len(self.resnets)):
            hidden = self.layer(index, hidden, context)
            skips.append(hidden)
        for downsample in self.downsamplers:
            hidden = downsample(hidden)
            skips.append(hidden)
        return hidden, skips


class MidBlock(Block):
    """Resnet and Temp-Conv, transformer, resnet and Temp-Conv."""

    def __init__(self, channels: int, settings: LevelSettings) -> None:
        super().__init__([channels, channels], channels, 1, settings)

    def forward(self, hidden: Tensor, context: Context) -> Tensor:
        """Return the features, [B*F, C, H, W]."""
        hidden = self.layer(0, hidden, context)
        return self.convolve(1, hidden, context)


class UpBlock(Block):
    """Layers that each take one skip, then twice the size."""

    def __init__(
        self, inputs: list[int], channels: int, *, attention: bool, upsample: bool, settings: LevelSettings
    ) -> None:
        super().__init__(inputs, channels, len(inputs) if attention else 0, settings)
        self.upsamplers = nn.ModuleList(
            [Upsample2D(channels, use_conv=True, out_channels=channels)] if upsample else []
        )

    def forward(self, hidden: Tensor, skips: list[Tensor], size: tuple[int, int] | None, context: Context) -> Tensor:
        """Return the features, [B*F, C, H, W], of `size`: that of the next block's skips; None for the last block."""
        for index, skip in enumerate(skips):
            hidden = self.layer(index, torch.cat([hidden, skip], dim=1), context)
        for upsample in self.upsamplers:
            # To the skip's size, not simply twice this one: sizes that a level halves unevenly come back right.
            hidden = upsample(hidden, size)
        return hidden
