"""MagDiffPipeline: one call for generation and for editing.

    pipeline = MagDiffPipeline.from_pretrained("my/checkpoint")
    video = pipeline("a rabbit jumps in the snow", subject_frames=image[None], subject_masks=mask[None])   # generation
    video = pipeline("a rabbit jumps in the snow", subject_frames=frames, subject_masks=masks)             # editing

One frame with its subject makes a new video of that subject; as many frames as the video has make an edit, which keeps
the subject of every frame and lets the text have the rest. Nothing else differs: same weights, no tuning (Fig. 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_model.data.subjects import SubjectInputs, SubjectSettings, subject_inputs
from magdiff_model.encoding import decode_latents, encode_images, encode_pyramid, encode_text
from magdiff_model.models.unet import Condition
from magdiff_model.precision import Precision, autocast
from magdiff_model.sampling import denoise


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
            subject_masked=subject_masked,
            empty_slots=empty_slots,
        )

    def subject_settings(self) -> SubjectSettings:
        """Return how this checkpoint wants its subjects shown."""
        processor = self.feature_extractor
        return SubjectSettings(
            size_px=self.config.size_px,
            ratios=tuple(self.config.subject_ratios) if self.unet.config.hfa_scales else (),
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
        prompt: str,
        subject_frames: Frames,
        subject_masks: Masks | None,
        *,
        negative_prompt: str = "",
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.0,
        seed: int = 0,
        precision: Precision = "auto",
        on_step: Callable[[int, int], None] | None = None,
    ) -> Frames:
        """Return a video, uint8 [F, S, S, 3].

        Args:
            prompt: what the video shows.
            subject_frames: one frame (generation) or as many as the video has (editing), uint8 [1 or F, H, W, 3].
            subject_masks: where the subject is, bool [1 or F, H, W]; None takes whole frames.
            negative_prompt: the text of guidance's other branch.
            num_inference_steps: denoising steps.
            guidance_scale: classifier-free guidance on the text; 1 is none, 7.5 the paper's.
            image_guidance_scale: guidance on the subject, see `sampling.denoise`; 1 is none, as in the paper.
            seed: of the noise; on the CPU the same seed gives the same video, bit for bit.
            precision: of the networks; the scheduler always works in fp32.
            on_step: called with (steps done, steps in all).

        Raises:
            ValueError: another number of subject frames than 1 or F, or masks that do not fit.
        """
        num_frames = self.config.num_frames
        if len(subject_frames) not in (1, num_frames):
            raise ValueError(
                f"give 1 subject frame to generate or {num_frames} to edit, got {len(subject_frames)} "
                "(magdiff_model.edit picks the frames of a longer video)"
            )
        inputs = subject_inputs(subject_frames, subject_masks, self.subject_settings())
        filled = torch.zeros(1, num_frames, dtype=torch.bool)
        filled[0, : len(subject_frames)] = True
        channels, height, width = self.latent_size()
        noise = torch.randn(1, channels, num_frames, height, width, generator=torch.Generator().manual_seed(seed))
        device = self.device
        with autocast(device, precision):
            text, empty = encode_text(self.tokenizer, self.text_encoder, [prompt, negative_prompt]).chunk(2)
            condition = self._condition(text, inputs, filled)
            no_subject = None
            if image_guidance_scale != 1:
                nothing = SubjectInputs(
                    tuple(scale[:0] for scale in inputs.pyramid), torch.zeros_like(inputs.clip_pixels[:1])
                )
                no_subject = self._condition(text, nothing, torch.zeros_like(filled))
            latents: Tensor = denoise(
                self.unet,
                self.scheduler,
                noise.to(device),
                condition,
                empty,
                guidance_scale=guidance_scale,
                num_steps=num_inference_steps,
                no_subject=no_subject,
                image_guidance_scale=image_guidance_scale,
                on_step=on_step,
            )
            pixels = decode_latents(self.vae, latents)[0]
        video: Frames = ((pixels.float() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return video

    def _condition(self, text: Tensor, inputs: SubjectInputs, filled: Tensor) -> Condition:
        """Return the condition of one sample whose subject pictures lie in the slots that `filled` marks."""
        clip_states = pyramid = None
        if self.unet.config.apa_mode != "text_only":
            clip_states = encode_images(self.image_encoder, inputs.clip_pixels[None].to(self.device))
        if self.unet.config.hfa_scales:
            pictures = [scale.to(self.device) for scale in inputs.pyramid]
            pyramid = encode_pyramid(self.vae, pictures, filled.to(self.device), self.config.empty_slots)
        return self.unet.condition(text, clip_states, pyramid, self.latent_size()[1:])
