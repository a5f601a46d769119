"""Boxes for a label by a zero-shot detector of transformers: Grounding-DINO by default, OWL-ViT and others as well.

One label a picture, one picture a call: so the boxes depend on nothing else. Boxes come best first, after
non-maximum suppression, since some detectors give every patch of a subject its own box.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image as PillowImage
from torchvision.ops import nms
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from magdiff_curation.grounding import Detection, GroundingRequest
from magdiff_curation.hub import load_pretrained, loading, model_name, pick_device
from magdiff_curation.vision_config import ZeroShotSettings


class ZeroShotGrounder:
    """Finds a label in a picture.

    Raises:
        ValueError: the model cannot be loaded.
    """

    any_frame = True

    def __init__(self, settings: ZeroShotSettings) -> None:
        self.settings = settings
        self._device = pick_device(settings.device)
        remedy = (
            f"give a folder in the hub's layout, or fetch it where there is a network: hf download {settings.model}"
        )
        with loading(settings.model, remedy):
            self._processor: Any = AutoProcessor.from_pretrained(settings.model, revision=settings.revision)
            self._model: Any = load_pretrained(
                AutoModelForZeroShotObjectDetection,
                settings.model,
                revision=settings.revision,
                dtype=settings.dtype,
                device=settings.device,
            )
        # A tokenizer's own limit may be another's: the zoo's pads to the text encoder of another model.
        self._num_tokens = int(self._model.config.text_config.max_position_embeddings)
        self.name = model_name(settings.model, settings.revision)

    @torch.inference_mode()
    def ground(self, request: GroundingRequest) -> list[Detection]:
        """Return the boxes found, best first, clipped to the picture; an empty list where there are none."""
        height, width = request.image.shape[:2]
        label = request.label.lower().replace(".", " ")  # Grounding-DINO's separator between labels
        picture = PillowImage.fromarray(request.image)
        inputs = self._processor(
            images=[picture], text=[[label]], truncation=True, max_length=self._num_tokens, return_tensors="pt"
        )
        outputs = self._model(**inputs.to(self._device, self._model.dtype))
        (found,) = self._processor.post_process_grounded_object_detection(
            outputs, threshold=self.settings.threshold, target_sizes=[(height, width)], text_labels=[[label]]
        )
        boxes, scores = found["boxes"].float().cpu(), found["scores"].float().cpu()
        boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
        sides = boxes[:, 2:] - boxes[:, :2]
        usable = (sides >= 1).all(dim=1) & (sides.prod(dim=1) <= self.settings.max_box_ratio * width * height)
        boxes, scores = boxes[usable], scores[usable]
        return [
            Detection(box=tuple(boxes[index].tolist()), score=round(float(scores[index]), 6))
            for index in nms(boxes, scores, self.settings.overlap).tolist()
        ]
