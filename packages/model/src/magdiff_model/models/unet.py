"""The MagDiff denoiser: a latent video UNet conditioned on a text and a subject (Fig. 2, Fig. D).

The skeleton is Stable Diffusion 2.x's UNet, inflated in VidRD's way: Temp-Conv after every resnet, temporal attention
inside every transformer. What MagDiff adds: APA's image keys and values, the tokens' projection, HFA, and
`conv_in_cond` by which z_s enters. All of it hangs on one `Condition`, made once a sample and used at every
denoising step; generation and editing differ only in what they put into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from magdiff_model.models.apa import APA_MODES, AdaptivePromptsAttention, ApaMode, Prompt
from magdiff_model.models.blocks import Context, DownBlock, LevelSettings, MidBlock, UpBlock
from magdiff_model.models.hfa import HfaInit, HighFidelityAlignment
from magdiff_model.models.image_tokens import IMAGE_PROMPT_KINDS, ImagePromptKind, ImageTokens
from magdiff_model.models.temporal import PositionCode, temporal_transformer


@dataclass(frozen=True)
class Condition:
    """Everything that steers denoising, for generation and editing alike."""

    text: Prompt
    """The text's tokens, shared by the frames."""
    image: Prompt | None = None
    """The subject's tokens, shared or one set a frame; None without an image branch."""
    subject: Tensor | None = None
    """z_s after `conv_in_cond`, [B, F, C0, h, w]; None without HFA."""

    def frames(self, start: int, stop: int) -> Condition:
        """Return the condition of the frames from `start` to `stop`."""
        image = None if self.image is None else self.image.frames(start, stop)
        return Condition(self.text, image, None if self.subject is None else self.subject[:, start:stop])


class MagDiffUNet3DConditionModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Noisy video latents and a condition -> the scheduler's prediction target.

    Args:
        in_channels: channels of the latents.
        block_out_channels: width of each level, from the finest down.
        attention_levels: which levels have transformers; SD 2.x: all but the coarsest.
        layers_per_block: layers a level on the way down (one more on the way up).
        cross_attention_dim: D, width of text and image tokens.
        attention_head_dim: channels of one head (64 in SD 2.x and ModelScope).
        norm_num_groups: groups of every GroupNorm.
        norm_eps: epsilon of the resnets' and the last GroupNorm.
        temporal_dropout: dropout inside Temp-Conv.
        temporal_layout: "vidrd" puts temporal attention inside the transformer block; "modelscope" after it, as a
            transformer of its own, and one more behind `conv_in`.
        position_code: see `TemporalAttention`; vidrd's layout only.
        apa_mode: see `AdaptivePromptsAttention`.
        apa_alpha: (alpha_text, alpha_image) to start from, or to stay at with "fixed".
        apa_own_query: see `AdaptivePromptsAttention`.
        image_prompt: see `ImageTokens`.
        num_image_queries: tokens that the resampler makes.
        hfa_scales: how many sizes HFA sees the subject at; 0 leaves HFA out.
        hfa_hidden_channels: width of HFA's convolutions.
        hfa_init: see `HighFidelityAlignment`.
        image_hidden_size: E, width of CLIP's image states; not used by "text_only".

    Raises:
        ValueError: settings that do not fit together.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        attention_levels: tuple[bool, ...] = (True, True, True, False),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        temporal_dropout: float = 0.1,
        temporal_layout: Literal["vidrd", "modelscope"] = "vidrd",
        position_code: PositionCode = "residual",
        apa_mode: ApaMode = "adaptive",
        apa_alpha: tuple[float, float] = (1.0, 1.0),
        apa_own_query: bool = False,
        image_prompt: ImagePromptKind = "patches",
        num_image_queries: int = 16,
        hfa_scales: int = 3,
        hfa_hidden_channels: int = 32,
        hfa_init: HfaInit = "random",
        image_hidden_size: int = 1280,
    ) -> None:
        super().__init__()
        widths = tuple(block_out_channels)
        if len(attention_levels) != len(widths):
            raise ValueError(f"{len(widths)} levels need as many attention_levels, got {attention_levels}")
        if any(width % attention_head_dim or width % norm_num_groups for width in widths):
            raise ValueError(
                f"block_out_channels {widths} must be multiples of attention_head_dim {attention_head_dim} "
                f"and of norm_num_groups {norm_num_groups}"
            )
        for name, value, known in (
            ("apa_mode", apa_mode, APA_MODES),
            ("image_prompt", image_prompt, IMAGE_PROMPT_KINDS),
            ("temporal_layout", temporal_layout, ("vidrd", "modelscope")),
            ("position_code", position_code, ("residual", "branch")),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        time_channels = 4 * widths[0]
        settings = LevelSettings(
            time_channels=time_channels,
            context_channels=cross_attention_dim,
            head_channels=attention_head_dim,
            norm_groups=norm_num_groups,
            norm_eps=norm_eps,
            temporal_dropout=temporal_dropout,
            apa_mode=apa_mode,
            apa_alpha=(apa_alpha[0], apa_alpha[1]),
            apa_own_query=apa_own_query,
            position_code=position_code if temporal_layout == "vidrd" else None,
        )
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(widths[0], time_channels)
        if temporal_layout == "modelscope":
            self.transformer_in = temporal_transformer(8, attention_head_dim, widths[0], norm_num_groups)

        self.down_blocks = nn.ModuleList()
        skips = [widths[0]]
        for level, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (layers_per_block - 1)]
            last = level == len(widths) - 1
            self.down_blocks.append(
                DownBlock(inputs, width, attention=attention_levels[level], downsample=not last, settings=settings)
            )
            skips += [width] * (layers_per_block if last else layers_per_block + 1)
        self.mid_block = MidBlock(widths[-1], settings)
        self.up_blocks = nn.ModuleList()
        current = widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            inputs = []
            for _ in range(layers_per_block + 1):
                inputs.append(current + skips.pop())
                current = width
            self.up_blocks.append(
                UpBlock(inputs, width, attention=attention_levels[level], upsample=level > 0, settings=settings)
            )
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, widths[0], eps=norm_eps)
        self.conv_out = nn.Conv2d(widths[0], in_channels, 3, padding=1)

        if apa_mode != "text_only":
            self.image_tokens = ImageTokens(image_hidden_size, cross_attention_dim, image_prompt, num_image_queries)
        if hfa_scales:
            self.hfa = HighFidelityAlignment(in_channels, hfa_scales, hfa_hidden_channels, hfa_init)
            self.conv_in_cond = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
            nn.init.zeros_(self.conv_in_cond.weight)
        self.cross_attentions: dict[str, AdaptivePromptsAttention] = {}
        for name, module in self.named_modules():
            if isinstance(module, AdaptivePromptsAttention):
                module.name = name
                self.cross_attentions[name] = module

    @apply_forward_hook
    def condition(
        self,
        text: Tensor,
        clip_states: Tensor | None,
        pyramid: Sequence[Tensor] | None,
        size: tuple[int, int],
    ) -> Condition:
        """Return the condition of a batch, computed once and used at every step.

        Args:
            text: the text encoder's last hidden states, [B, L, D].
            clip_states: the image encoder's last hidden states, [B, 1 or F, M, E]; None only with "text_only".
            pyramid: the subject's VAE latents at every scale, [B, 4, F, h_i, w_i] each; None only without HFA.
            size: (h, w) of the latents to be denoised.

        Raises:
            ValueError: a condition that this model needs is missing.
        """
        image = subject = None
        if self.config.apa_mode != "text_only":
            if clip_states is None:
                raise ValueError(f"apa_mode {self.config.apa_mode!r} needs the subject's image states, got none")
            image = Prompt(self.image_tokens(clip_states))
        if self.config.hfa_scales:
            if pyramid is None:
                raise ValueError(f"this model's HFA needs the subject at {self.config.hfa_scales} scales, got none")
            slots = self.hfa(pyramid, size).transpose(1, 2)
            subject = self.conv_in_cond(slots.flatten(0, 1)).unflatten(0, slots.shape[:2])
        return Condition(Prompt(text[:, None]), image, subject)

    @apply_forward_hook
    def with_keys_values(self, condition: Condition) -> Condition:
        """Return the condition with every layer's keys and values in it, which then serve all denoising steps."""
        text, image = condition.text, condition.image
        text = Prompt(
            text.tokens, {name: layer.text_keys_values(text.tokens) for name, layer in self.cross_attentions.items()}
        )
        if image is not None:
            image = Prompt(
                image.tokens,
                {name: layer.image_keys_values(image.tokens) for name, layer in self.cross_attentions.items()},
            )
        return Condition(text, image, condition.subject)

    def forward(self, sample: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Return the prediction, [B, 4, F, h, w], for noisy latents of that shape and timesteps [B].

        Raises:
            ValueError: a condition for another number of videos or frames than the latents have.
        """
        batch, _, frames = sample.shape[:3]
        if len(condition.text.tokens) != batch:
            raise ValueError(f"the condition is for {len(condition.text.tokens)} videos, the latents are of {batch}")
        shown = 1 if condition.image is None else condition.image.tokens.shape[1]
        slots = frames if condition.subject is None else condition.subject.shape[1]
        if shown not in (1, frames) or slots != frames:
            raise ValueError(
                f"the condition has image tokens for {shown} frames and {slots} slots, for {frames} frames"
            )
        time = self.time_embedding(self.time_proj(timestep.expand(batch)).to(sample.dtype))
        context = Context(time.repeat_interleave(frames, dim=0), condition.text, condition.image, frames)
        hidden = self.conv_in(sample.transpose(1, 2).flatten(0, 1))
        if condition.subject is not None:
            hidden = hidden + condition.subject.flatten(0, 1)
        if self.config.temporal_layout == "modelscope" and frames > 1:
            hidden = self.transformer_in(hidden, num_frames=frames, return_dict=False)[0]

        skips = [hidden]
        for down in self.down_blocks:
            hidden, more = down(hidden, context)
            skips += more
        hidden = self.mid_block(hidden, context)
        for up in self.up_blocks:
            # Lists of its own: FSDP2 hands blocks copies, so that what one takes off a list stays on it.
            own = [skips.pop() for _ in up.resnets]  # type: ignore[union-attr]
            hidden = up(hidden, own, skips[-1].shape[-2:] if skips else None, context)
        hidden = self.conv_out(torch.nn.functional.silu(self.conv_norm_out(hidden)))
        return hidden.unflatten(0, (batch, frames)).transpose(1, 2)
