"""MagDiffPipeline: one call for generation and for editing.

    pipeline = MagDiffPipeline.from_pretrained("my/checkpoint")
    video = pipeline("a rabbit jumps in the snow", image[None], mask[None]).frames[0]   # generation
    video = pipeline("a rabbit jumps in the snow", frames, masks).frames[0]             # editing

One frame with its subject makes a new video of that subject; as many frames as the video has make an edit, which keeps
the subject of every frame and lets the text have the rest. Nothing else differs: same weights, no tuning (Fig. 3).
What stays the same over the denoising steps is computed once: HFA with the VAE's encodes, `conv_in_cond`, the image
tokens, and every layer's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from torch import Tensor

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.masks import Frames, Masks
from magdiff_model.data.framing import unit
from magdiff_model.data.subjects import SubjectInputs, SubjectSettings, clip_pixels, subject_inputs
from magdiff_model.encoding import decode_latents, encode_images, encode_pyramid, encode_text
from magdiff_model.model_card import model_card
from magdiff_model.models.apa import Prompt
from magdiff_model.models.unet import Condition
from magdiff_model.precision import Precision, autocast
from magdiff_model.sampling import Branch, Solver, denoise, guidance_branches, with_solver

OnStepEnd = Callable[[DiffusionPipeline, int, Tensor, dict[str, Any]], dict[str, Any]]


@dataclass
class MagDiffPipelineOutput(BaseOutput):  # type: ignore[misc]
    """What the pipeline returns."""

    frames: Any
    """One video a prompt: uint8 [B, F, S, S, 3], or latents [B, 4, F, h, w]."""


class MagDiffPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Text and subject -> video.

    Args:
        vae: AutoencoderKL.
        text_encoder: CLIP's text model.
        tokenizer: its tokenizer.
        image_encoder: CLIP's vision model.
        feature_extractor: its image processor; read for size, mean and deviation.
        unet: MagDiffUNet3DConditionModel.
        scheduler: a diffusers scheduler, DDIM in the paper.
        size_px: side of the square frames.
        num_frames: frames of a video.
        subject_ratios: HFA's sizes as multiples of `size_px`.
        subject_views: how these sizes differ, see `SubjectSettings`.
        subject_masked: whether subjects are cut out (SDA).
        empty_slots: what slots without a subject hold.
    """

    model_cpu_offload_seq = "text_encoder->image_encoder->unet->vae"

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        image_encoder: Any,
        feature_extractor: Any,
        unet: Any,
        scheduler: Any,
        size_px: int = 256,
        num_frames: int = 8,
        subject_ratios: list[float] | tuple[float, ...] = (1.5, 1.25, 1.0),
        subject_views: str = "resized",
        subject_masked: bool = True,
        empty_slots: str = "masked_image",
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            unet=unet,
            scheduler=scheduler,
        )
        self.register_to_config(
            size_px=size_px,
            num_frames=num_frames,
            subject_ratios=tuple(subject_ratios),
            subject_views=subject_views,
            subject_masked=subject_masked,
            empty_slots=empty_slots,
        )

    def subject_settings(self) -> SubjectSettings:
        """Return how this checkpoint wants its subjects shown."""
        processor = self.feature_extractor
        return SubjectSettings(
            size_px=self.config.size_px,
            ratios=tuple(self.config.subject_ratios) if self.unet.config.hfa_scales else (),
            views=self.config.subject_views,
            clip_size_px=int(processor.crop_size["height"]),
            clip_mean=tuple(processor.image_mean),
            clip_std=tuple(processor.image_std),
            masked=self.config.subject_masked,
        )

    def latent_size(self) -> tuple[int, int, int]:
        """Return channels, height and width of one frame's latents."""
        side = self.config.size_px // 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.latent_channels, side, side

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        subject_frames: Frames | list[Frames],
        subject_masks: Masks | list[Masks | None] | None,
        *,
        negative_prompt: str = "",
        num_frames: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.0,
        solver: Solver | None = None,
        seed: int | list[int] = 0,
        precision: Precision = "auto",
        output_type: Literal["uint8", "latent"] = "uint8",
        callback_on_step_end: OnStepEnd | None = None,
        cache_keys_values: bool = True,
    ) -> MagDiffPipelineOutput:
        """Return a video for each prompt.

        Args:
            prompt: what the video shows; a list makes as many videos.
            subject_frames: one frame (generation) or as many as the video has (editing), uint8 [1 or F, H, W, 3];
                for a list of prompts a list of these.
            subject_masks: where the subject is, bool [1 or F, H, W]; None takes whole frames.
            negative_prompt: the text of guidance's other branch.
            num_frames: F; the checkpoint's own by default. More are denoised in overlapping windows.
            num_inference_steps: denoising steps.
            guidance_scale: classifier-free guidance on the text; 1 is none, 7.5 the paper's.
            image_guidance_scale: guidance on the subject, see `magdiff_model.sampling`; 1 is none, as in the paper.
            solver: "ddim" (the paper's), "dpmsolver++" or "unipc", which need fewer steps; the checkpoint's by default.
            seed: of the noise: one a video, or the first one's, from which the others count on. On the CPU the same
                seed gives the same video, bit for bit.
            precision: what networks that are in fp32 compute in; the solver works in fp32 at least.
            output_type: "latent" leaves the VAE out.
            callback_on_step_end: as diffusers has it: called with the pipeline, the step, its timestep and
                {"latents": …}; what it returns replaces these.
            cache_keys_values: project the prompts once, not at every step; for measurements.

        Raises:
            ValueError: lists of different lengths, subjects of different numbers of frames, or neither 1 nor F of
                them, fewer frames than the model's, or masks that do not fit.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        pictures = subject_frames if isinstance(subject_frames, list) else [subject_frames]
        masks = subject_masks if isinstance(subject_masks, list) else [subject_masks] * len(pictures)
        seeds = seed if isinstance(seed, list) else [seed + number for number in range(len(prompts))]
        num_frames = num_frames or self.config.num_frames
        self._check(len(prompts), pictures, len(masks), len(seeds), num_frames)
        inputs = [subject_inputs(*pair, self.subject_settings()) for pair in zip(pictures, masks, strict=True)]
        # A generated video shows its subject in the first slot of every window, as training did.
        shown = len(pictures[0])
        filled = torch.zeros(len(prompts), self.config.num_frames if shown == 1 else num_frames, dtype=torch.bool)
        filled[:, :shown] = True

        with autocast(self._execution_device, precision, self.unet.dtype):
            text = self._encode_text(prompts)
            full = self._condition(text, inputs, filled, cache_keys_values)
            without_text = without_subject = None
            if guidance_scale != 1:
                negative = Condition(Prompt(self._encode_text([negative_prompt] * len(prompts))[:, None]))
                negative = self.unet.with_keys_values(negative) if cache_keys_values else negative
                without_text = replace(full, text=negative.text)
            shows_subject = self.unet.config.hfa_scales or self.unet.config.apa_mode != "text_only"
            if image_guidance_scale != 1 and shows_subject:
                nothing = torch.zeros_like(filled[:, : self.config.num_frames])
                blank = self._condition(text, [_blank(subject) for subject in inputs], nothing, cache_keys_values)
                without_subject = replace(blank, text=full.text)
            generators = [torch.Generator().manual_seed(value) for value in seeds]
            latents: Tensor = self._denoise(
                generators,
                num_frames,
                with_solver(self.scheduler, solver),
                guidance_branches(full, without_text, without_subject, guidance_scale, image_guidance_scale),
                num_inference_steps,
                callback_on_step_end,
            )
            frames: Any = latents if output_type == "latent" else self._decode(latents)
        self.maybe_free_model_hooks()
        return MagDiffPipelineOutput(frames=frames)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write the parts as safetensors with their configs, and a model card; `from_pretrained` reads it back.

        Raises:
            ValueError: `push_to_hub`, which would upload before the card is written.
        """
        if options.get("push_to_hub"):
            raise ValueError("push_to_hub would leave the model card behind: save, then upload the folder (hf upload)")
        super().save_pretrained(str(save_directory), **options)
        write_atomic(Path(save_directory) / "README.md", model_card(self).encode())

    def _check(
        self, num_prompts: int, pictures: Sequence[Frames], num_masks: int, num_seeds: int, num_frames: int
    ) -> None:
        if not num_prompts == len(pictures) == num_masks == num_seeds or not num_prompts:
            raise ValueError(
                f"{num_prompts} prompts, {len(pictures)} subjects, {num_masks} masks, {num_seeds} seeds: need one each"
            )
        if num_frames < self.config.num_frames:
            raise ValueError(
                f"num_frames is {num_frames}; the model makes {self.config.num_frames} at once, and more in windows"
            )
        counts = sorted({len(frames) for frames in pictures})
        if len(counts) > 1:
            raise ValueError(f"subjects of {counts} frames in one batch: generate and edit in calls of their own")
        if counts[0] not in (1, num_frames):
            raise ValueError(
                f"give 1 subject frame to generate or {num_frames} to edit, got {counts[0]} "
                "(magdiff_model.edit picks the frames of a longer video)"
            )

    def _noise(self, generators: Sequence[torch.Generator], num_frames: int) -> Tensor:
        channels, height, width = self.latent_size()
        noise = [torch.randn(channels, num_frames, height, width, generator=generator) for generator in generators]
        # The solver works in fp32 at least, whatever the networks compute in.
        return torch.stack(noise).to(self._execution_device, torch.promote_types(self.unet.dtype, torch.float32))

    def _encode_text(self, prompts: list[str]) -> Tensor:
        states = encode_text(self.tokenizer, self.text_encoder, prompts, self._execution_device)
        return states.to(self.unet.dtype)

    def _condition(self, text: Tensor, inputs: Sequence[SubjectInputs], filled: Tensor, cache: bool) -> Condition:
        """Return the condition of a batch whose subjects' pictures lie, in order, in the slots that `filled` marks."""
        unet, device = self.unet, self._execution_device
        clip_states = pyramid = None
        if unet.config.apa_mode != "text_only":
            pixels = clip_pixels(torch.stack([shown.clip_pictures for shown in inputs]), self.subject_settings())
            clip_states = encode_images(self.image_encoder, pixels.to(device)).to(unet.dtype)
        if unet.config.hfa_scales:
            scales = zip(*(shown.pyramid for shown in inputs), strict=True)
            pictures = [unit(torch.cat(scale).to(device)) for scale in scales]
            latents = encode_pyramid(self.vae, pictures, filled.to(device), self.config.empty_slots)
            pyramid = [scale.to(unet.dtype) for scale in latents]
        condition: Condition = unet.condition(text, clip_states, pyramid, self.latent_size()[1:])
        return unet.with_keys_values(condition) if cache else condition

    def _denoise(
        self,
        generators: list[torch.Generator],
        num_frames: int,
        scheduler: Any,
        branches: Sequence[Branch],
        num_steps: int,
        callback: OnStepEnd | None,
    ) -> Tensor:
        with self.progress_bar(total=num_steps) as bar:

            def on_step(step: int, timestep: Tensor, latents: Tensor) -> Tensor:
                bar.update()
                if callback is None:
                    return latents
                changed: Tensor = callback(self, step, timestep, {"latents": latents}).get("latents", latents)
                return changed

            return denoise(
                self.unet,
                scheduler,
                self._noise(generators, num_frames),
                branches,
                num_steps,
                generators=generators,
                window_frames=self.config.num_frames,
                on_step=on_step,
            )

    def _decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Return videos, uint8 [B, F, S, S, 3], as many frames at a time as the model makes at once."""
        parts = []
        for part in latents.to(self.vae.dtype).split(self.config.num_frames, dim=2):
            pixels = decode_latents(self.vae, part).float()
            parts.append(((pixels + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu())
        videos: NDArray[np.uint8] = torch.cat(parts, dim=1).numpy()
        return videos


def _blank(shown: SubjectInputs) -> SubjectInputs:
    """Return the inputs of a subject that nothing is shown of."""
    return SubjectInputs(tuple(scale[:0] for scale in shown.pyramid), torch.zeros_like(shown.clip_pictures[:1]))
