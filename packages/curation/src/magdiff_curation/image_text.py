"""BLIP-2, or any other vision-language model of transformers, as the foreground answerer and the captioner.

Answers are decoded greedily. Models with a chat template are asked through it, all others by `prompt`. What comes back
is the answer alone: some models return the prompt before it, which is recognised and cut off.

The cost is the model's: BLIP-2 OPT-2.7b has 3.7 billion parameters, 7.5 GB in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image as PillowImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from magdiff_curation.clips.masks import Image
from magdiff_curation.foreground import AnswerRequest
from magdiff_curation.hub import load_pretrained, loading, model_name, pick_device, pick_dtype
from magdiff_curation.reasons import ClipRejected
from magdiff_curation.vision_config import ImageTextSettings


class ImageTextModel:
    """Answers questions about pictures, and captions them.

    Raises:
        ValueError: the model cannot be loaded.
    """

    def __init__(self, settings: ImageTextSettings) -> None:
        self.settings = settings
        self._device = pick_device(settings.device)
        remedy = (
            f"give a folder in the hub's layout, or fetch it where there is a network: hf download {settings.model}"
        )
        with loading(settings.model, remedy):
            self._processor: Any = AutoProcessor.from_pretrained(settings.model, revision=settings.revision)
            self._model: Any = _load(settings)
        self._processor.tokenizer.padding_side = "left"  # answers go on where the prompts end
        self._is_chat = bool(getattr(self._processor, "chat_template", None))
        self.name = model_name(settings.model, settings.revision)
        if settings.quantization != "none":
            self.name += f" {settings.quantization}"

    def answer(self, requests: Sequence[AnswerRequest]) -> list[str | ClipRejected]:
        """Return one answer a request; an empty string where the model says nothing."""
        texts = [
            request.question if self._is_chat else self.settings.prompt.format(question=request.question)
            for request in requests
        ]
        return list(self._say([request.image for request in requests], texts))

    def caption(self, images: Sequence[Image]) -> list[str]:
        """Return one caption an image, uint8 [H, W, 3]."""
        text = self.settings.chat_caption_request if self._is_chat else self.settings.caption_prompt
        return self._say(images, [text] * len(images))

    def _say(self, images: Sequence[Image], texts: Sequence[str]) -> list[str]:
        said: list[str] = []
        size = self.settings.batch_size
        for start in range(0, len(images), size):
            said += self._say_batch(images[start : start + size], texts[start : start + size])
        return said

    @torch.inference_mode()
    def _say_batch(self, images: Sequence[Image], texts: Sequence[str]) -> list[str]:
        if self._is_chat:
            texts = [self._as_chat(text) for text in texts]
        pictures = [PillowImage.fromarray(image) for image in images]
        # Chat models count pictures by message, and their templates may write the token that opens a text themselves.
        shown = [[picture] for picture in pictures] if self._is_chat else pictures
        opening = self._processor.tokenizer.bos_token
        opened = self._is_chat and opening is not None and texts[0].startswith(opening)
        options = {"add_special_tokens": False} if opened else {}
        inputs = self._processor(images=shown, text=list(texts), padding=True, return_tensors="pt", **options)
        inputs = inputs.to(self._device, self._model.dtype)
        tokens = self._model.generate(**inputs, max_new_tokens=self.settings.max_new_tokens, do_sample=False)
        prompt = inputs["input_ids"]
        if tokens.shape[1] >= prompt.shape[1] and torch.equal(tokens[:, : prompt.shape[1]], prompt):
            tokens = tokens[:, prompt.shape[1] :]
        return [text.strip() for text in self._processor.batch_decode(tokens, skip_special_tokens=True)]

    def _as_chat(self, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        message = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False))


def _load(settings: ImageTextSettings) -> Any:
    options: dict[str, Any] = {}
    if settings.quantization != "none":
        from transformers import BitsAndBytesConfig

        options["device_map"] = {"": pick_device(settings.device)}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=settings.quantization == "int8",
            load_in_4bit=settings.quantization == "int4",
            bnb_4bit_compute_dtype=pick_dtype(settings.dtype),
        )
    return load_pretrained(
        AutoModelForImageTextToText,
        settings.model,
        revision=settings.revision,
        dtype=settings.dtype,
        device=settings.device,
        **options,
    )
