"""Networks that score videos: a checkpoint's CLIP, and the reading of frames as it takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magdiff_curation.clips.masks import Frames
from magdiff_model.data.subjects import SubjectSettings, clip_pixels, subject_inputs


class ClipJudge:
    """CLIP with its two projections, from the parts of a pipeline.

    Raises:
        ValueError: the pipeline's encoders have no projections, so text and images do not share a space.
    """

    def __init__(self, pipeline: Any) -> None:
        self.tokenizer, self.text, self.image = pipeline.tokenizer, pipeline.text_encoder, pipeline.image_encoder
        settings: SubjectSettings = pipeline.subject_settings()
        self.settings = settings
        for name, encoder, layer in (
            ("text", self.text, "text_projection"),
            ("image", self.image, "visual_projection"),
        ):
            if not hasattr(encoder, layer):
                raise ValueError(
                    f"the {name} encoder is a {type(encoder).__name__}, which has no {layer} to score with"
                )

    @torch.inference_mode()
    def embed_frames(self, frames: Frames) -> NDArray[np.float32]:
        """Return image embeddings [F, D] of frames uint8 [F, H, W, 3]."""
        pixels = clip_pixels(subject_inputs(frames, None, self.settings).clip_pictures, self.settings)
        embeddings: NDArray[np.float32] = self.image(pixels.to(self.image.device)).image_embeds.cpu().numpy()
        return embeddings

    @torch.inference_mode()
    def embed_text(self, prompt: str) -> NDArray[np.float32]:
        """Return the text embedding [D] of a prompt."""
        tokens = self.tokenizer([prompt], padding="max_length", truncation=True, return_tensors="pt")
        embeddings: NDArray[np.float32] = self.text(tokens.input_ids.to(self.text.device)).text_embeds.cpu().numpy()[0]
        return embeddings
