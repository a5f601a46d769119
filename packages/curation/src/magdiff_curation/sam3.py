"""SAM 3 (Carion et al., 2025) in the place of grounder, segmenter and tracker: a label goes in, masks come out.

`facebook/sam3` with `transformers`: in every frame a detector finds what the label means, a SAM 2 style tracker carries
what was found before, and the two are matched. Objects that the detector does not confirm within their first frames
are taken back, which is why the model looks 15 frames ahead and works on a clip, not on a stream.

Two things are done otherwise than in transformers' own examples:

- Frames are scaled one at a time when the model asks for them, and what it keeps of them is dropped once out of its
  reach, so that device memory follows the number of objects, not of frames. (It reads on in the frames in which the
  detector confirmed an object, at most one in 16: these stay.)
- Overlapping detections, holes and specks are settled here with NumPy and OpenCV. transformers would fetch compiled
  code for that from the hub at run time, and leaves the step out, with a warning, where it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from transformers import Sam3VideoModel, Sam3VideoProcessor
from transformers.models.sam3_video import modeling_sam3_video

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.hub import load_pretrained, loading, model_name, pick_device, pick_dtype
from magdiff_curation.trackers.sam2 import forget, reach
from magdiff_curation.vision_config import Dtype

DEFAULT_MODEL = "facebook/sam3"
_REMEDY = (
    f"ask for access at https://huggingface.co/{DEFAULT_MODEL}, run `hf auth login` and `hf download {DEFAULT_MODEL}`, "
    "or give a folder with its config.json, processor, tokenizer and safetensors"
)


class LabelUnreadable(ValueError):
    """A label is empty, or longer than the model reads."""


@dataclass(frozen=True, kw_only=True)
class Sam3Result:
    """What was found of a label in a clip, by object id, the ids in the order in which the objects appeared."""

    masks: dict[int, Masks]
    """One mask per frame, bool [F, H, W]; empty where the object is not seen. Masks of two objects do not overlap."""
    scores: dict[int, float]
    """How sure the detector was, 0 to 1, when the object appeared."""


class Sam3Masker:
    """Finds a label's objects in a clip and follows them.

    Raises:
        ValueError: the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: Dtype = "float32",
        revision: str | None = None,
    ) -> None:
        assert hasattr(modeling_sam3_video, "cv_utils_kernel"), "transformers takes its mask operations elsewhere now"
        modeling_sam3_video.cv_utils_kernel = MaskOperations
        self._device, self._dtype = pick_device(device), pick_dtype(dtype)
        with loading(model, _REMEDY):
            self._model: Any = load_pretrained(Sam3VideoModel, model, revision=revision, dtype=dtype, device=device)
            self._processor: Any = Sam3VideoProcessor.from_pretrained(model, revision=revision)
            self.name = model_name(model, revision)
        self.num_remembered = reach(self._model.config.tracker_config)

    @torch.inference_mode()
    def follow(self, frames: Frames, label: str) -> Sam3Result:
        """Return what the label names in RGB frames, uint8 [F, H, W, 3]; no object is a result, not an error.

        Raises:
            ValueError: there is no frame.
            LabelUnreadable: the label is empty or longer than the model reads.
        """
        if frames.ndim != 4 or not len(frames):
            raise ValueError(f"SAM 3 needs frames [F, H, W, 3], got shape {frames.shape}")
        most = int(self._model.config.detector_config.text_config.max_position_embeddings)
        num_tokens = len(self._processor.tokenizer(label).input_ids)
        if not label.strip() or num_tokens > most:
            raise LabelUnreadable(f"SAM 3 needs a label of 1 to {most} tokens, got {label!r} of {num_tokens}")
        session = self._processor.init_video_session(inference_device=self._device, dtype=self._dtype)
        session.processed_frames = pixels = _Pixels(frames, self._processor, self._device, self._dtype)
        session.video_height, session.video_width = frames.shape[1:3]
        self._processor.add_text_prompt(session, label)
        masks: dict[int, Masks] = {}
        scores: dict[int, float] = {}
        for output in self._model.propagate_in_video_iterator(session):
            found = self._processor.postprocess_outputs(session, output)
            for object_id, mask, score in zip(
                found["object_ids"].tolist(), found["masks"].cpu().numpy(), found["scores"].tolist(), strict=True
            ):
                masks.setdefault(object_id, np.zeros(frames.shape[:3], dtype=np.bool_))[output.frame_idx] = mask
                scores[object_id] = score
            forget(session, before=pixels.newest + 1 - self.num_remembered)
        return Sam3Result(masks={key: masks[key] for key in sorted(masks)}, scores={key: scores[key] for key in masks})


class _Pixels(Mapping[int, Tensor]):
    """The clip as a session wants it, each frame [3, H', W'] made when it is asked for."""

    def __init__(self, frames: Frames, processor: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._frames, self._processor, self._device, self._dtype = frames, processor, device, dtype
        self.newest = 0
        """The last frame that the model has come to."""

    def __getitem__(self, index: int) -> Tensor:
        self.newest = max(self.newest, index)
        inputs = self._processor.video_processor(
            videos=self._frames[index][None],
            input_data_format="channels_last",
            device=self._device,
            return_tensors="pt",
        )
        pixels: Tensor = inputs.pixel_values_videos[0, 0].to(self._dtype)
        return pixels

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._frames)))


class MaskOperations:
    """The operations that transformers' SAM 3 looks for in the hub's `cv-utils`, under the same names."""

    @staticmethod
    def generic_nms(overlaps: Tensor, scores: Tensor, threshold: float, use_iou_matrix: bool = True) -> Tensor:
        """Return which of N things stay, best first, for overlaps [N, N]: none overlaps a better one that stays."""
        assert use_iou_matrix
        order = scores.float().argsort(descending=True, stable=True).tolist()
        is_near = (overlaps > threshold).cpu().numpy()
        kept: list[int] = []
        for index in order:
            if not is_near[index, kept].any():
                kept.append(index)
        return torch.tensor(kept, dtype=torch.long, device=scores.device)

    @staticmethod
    def cc_2d(masks: Tensor, get_counts: bool = True) -> tuple[Tensor, Tensor]:
        """Return for masks [N, 1, H, W] each pixel's piece, 0 outside of any, and how many pixels it has.

        Pieces are joined at corners, too. Where there is no piece, the count is that of the background.
        """
        assert get_counts
        labels, counts = np.zeros(masks.shape, dtype=np.int32), np.zeros(masks.shape, dtype=np.int32)
        for index, mask in enumerate(masks[:, 0].to(torch.uint8).cpu().numpy()):
            _, labels[index, 0], statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            counts[index, 0] = statistics[labels[index, 0], cv2.CC_STAT_AREA]
        return torch.from_numpy(labels).to(masks.device), torch.from_numpy(counts).to(masks.device)
