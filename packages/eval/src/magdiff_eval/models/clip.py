"""CLIP's two towers as scores take them: frames and prompts in one space.

Frames go through the checkpoint's own preparation in Pillow, as its authors' code has it; torchvision's, which
transformers takes by default, differs by up to .015 of a pixel's range after normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PillowImage
from torch import Tensor, nn

from magdiff_curation.clips.masks import Frames

_PROMPTS_AT_ONCE = 32


class Clip(nn.Module):
    """CLIP with both projections, in evaluation mode.

    Args:
        text: a `CLIPTextModelWithProjection`, or a whole `CLIPModel`.
        image: a `CLIPVisionModelWithProjection`, or the same `CLIPModel`.
        tokenizer: the text's.
        processor: a `CLIPImageProcessorPil`.
        scale: what cosines are multiplied by to be logits, the trained exp(logit_scale).
    """

    def __init__(self, text: Any, image: Any, tokenizer: Any, processor: Any, scale: float) -> None:
        super().__init__()
        self.text, self.image = text, image
        self.tokenizer, self.processor, self.scale = tokenizer, processor, scale
        self.eval().requires_grad_(False)

    def pixels(self, frames: Frames) -> Tensor:
        """Return what `embed_pixels` takes, float32 [F, 3, h, w], of frames uint8 [F, H, W, 3]."""
        pictures = [PillowImage.fromarray(frame) for frame in frames]
        pixels: Tensor = self.processor(images=pictures, return_tensors="pt").pixel_values
        return pixels

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Return image embeddings [F, D], of any length."""
        seen = self.image.vision_model(pixel_values=pixels).pooler_output
        embeddings: Tensor = self.image.visual_projection(seen)
        return embeddings

    @torch.inference_mode()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Return text embeddings [n, D], float32 on the CPU; what is over the tokenizer's 77 tokens is cut off."""
        device = next(self.text.parameters()).device
        found = []
        for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
            some = list(prompts[start : start + _PROMPTS_AT_ONCE])
            tokens = self.tokenizer(some, padding="max_length", truncation=True, return_tensors="pt").to(device)
            read = self.text.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            found.append(self.text.text_projection(read.pooler_output).float().cpu())
        return torch.cat(found)

    def num_tokens(self, prompt: str) -> int:
        """Return a prompt's length, with its begin and end."""
        return len(self.tokenizer([prompt], truncation=False).input_ids[0])


def clip_of_folder(folder: Path) -> Clip:
    """Return CLIP from a folder in transformers' layout of `CLIPModel`, without a download.

    Raises:
        ValueError: tensors are missing.
    """
    from transformers import AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = loaded(CLIPModel, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return Clip(model, model, tokenizer, processor, float(model.logit_scale.detach().double().exp()))


def clip_of_pipeline(folder: Path) -> Clip:
    """Return the CLIP of a diffusers pipeline's folder, from its text and image encoders; its scale is 100, CLIP's."""
    from transformers import AutoTokenizer, CLIPTextModelWithProjection, CLIPVisionModelWithProjection
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return Clip(
        loaded(CLIPTextModelWithProjection, folder / "text_encoder"),
        loaded(CLIPVisionModelWithProjection, folder / "image_encoder"),
        AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        CLIPImageProcessorPil.from_pretrained(folder / "feature_extractor", local_files_only=True),
        100.0,
    )


def loaded(kind: Any, folder: Path, **more: Any) -> Any:
    """Return a transformers model from safetensors in a folder, float32, all of whose tensors were there.

    Raises:
        ValueError: some were not: they would be random.
    """
    model, told = kind.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        **more,
    )
    if told["missing_keys"] or told["mismatched_keys"]:
        first = sorted(map(str, [*told["missing_keys"], *told["mismatched_keys"]]))[0]
        raise ValueError(f"{folder} lacks {first} of {kind.__name__}: get the weights again")
    return model
