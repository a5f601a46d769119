"""SAM 2 (Ravi et al., 2024) as the tracker, with `transformers`: the first mask itself is the prompt.

Checkpoints are those of `Sam2VideoModel` (`facebook/sam2.1-hiera-base-plus`) and of the lighter `EdgeTamVideoModel`
(`yonigozlan/EdgeTAM-hf`, which also needs `timm`); `config.json` says which.

A session of transformers keeps every frame and all that was computed of it, some 18 MB a frame in float32. The model
reads back no farther than its memory: the prompted frame, the last six mask memories and the last fifteen object
pointers. So frames are fed one at a time and older ones are dropped as soon as they pass out of reach, which leaves
the masks as they were, bit for bit, and about 200 MB whatever the clip's length. Fed this way the model also never
learns how long the clip is: the first masks of a clip are those of any clip that begins alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from transformers import AutoConfig, EdgeTamVideoModel, Sam2VideoModel, Sam2VideoProcessor

from magdiff_curation.clips.masks import Image, Mask
from magdiff_curation.hub import load_pretrained, loading, model_name, pick_device, pick_dtype
from magdiff_curation.vision_config import Dtype

DEFAULT_MODEL = "facebook/sam2.1-hiera-base-plus"
MODELS = {"sam2_video": Sam2VideoModel, "edgetam_video": EdgeTamVideoModel}
_REMEDY = f"run `hf download {DEFAULT_MODEL}`, or give a folder with its config.json, processor and safetensors"


class Sam2Tracker:
    """Follows a subject with SAM 2 or EdgeTAM.

    Raises:
        ValueError: the checkpoint cannot be loaded, or is of another kind.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: Dtype = "float32",
        revision: str | None = None,
    ) -> None:
        self._device, self._dtype = pick_device(device), pick_dtype(dtype)
        with loading(model, _REMEDY):
            kind = AutoConfig.from_pretrained(model, revision=revision).model_type
            if kind not in MODELS:
                raise ValueError(f"its model_type is {kind!r}, not one of {', '.join(MODELS)}")
            self._model: Any = load_pretrained(MODELS[kind], model, revision=revision, dtype=dtype, device=device)
            self._processor: Any = Sam2VideoProcessor.from_pretrained(model, revision=revision)
            self.name = model_name(model, revision)
        self.num_remembered = reach(self._model.config)

    def track(self, frames: Iterable[Image], first_mask: Mask) -> Iterator[Mask]:
        """Yield exactly one mask, bool [H, W], per RGB frame, uint8 [H, W, 3]; the first is `first_mask`.

        A subject that is hidden has an empty mask and may come back; an empty first mask is followed by empty ones.

        Raises:
            ValueError: a frame's size differs from the first mask's.
        """
        session = self._processor.init_video_session(inference_device=self._device, dtype=self._dtype)
        self._processor.add_inputs_to_inference_session(session, frame_idx=0, obj_ids=1, input_masks=first_mask)
        for index, frame in enumerate(frames):
            if frame.shape[:2] != first_mask.shape:
                raise ValueError(f"frame {index} has size {frame.shape[:2]}, the first mask {first_mask.shape} [H, W]")
            if not first_mask.any():
                yield first_mask.copy()
                continue
            mask = self._advance(session, index, frame)
            yield mask if index else first_mask.copy()

    @torch.inference_mode()
    def _advance(self, session: Any, index: int, frame: Image) -> Mask:
        inputs = self._processor(
            images=frame, input_data_format="channels_last", device=self._device, return_tensors="pt"
        )
        output = self._model(session, frame_idx=index, frame=inputs.pixel_values)
        forget(session, before=index + 1 - self.num_remembered)
        del session.processed_frames[index]
        masks = self._processor.post_process_masks([output.pred_masks.float()], [frame.shape[:2]])
        mask: Mask = masks[0][0, 0].cpu().numpy()
        return mask


def reach(config: Any) -> int:
    """Return how many frames before the present one a SAM 2 style model looks back, beside the prompted ones."""
    return max(int(config.num_maskmem), int(config.max_object_pointers_in_encoder)) - 1


def forget(session: Any, *, before: int) -> None:
    """Drop what a session of SAM 2's kind keeps of tracked frames before that index; prompted frames stay."""
    kept = [outputs["non_cond_frame_outputs"] for outputs in session.output_dict_per_obj.values()]
    for frames in (*kept, *session.frames_tracked_per_obj.values()):
        for index in [index for index in frames if index < before]:
            del frames[index]
