"""DeAOT (Yang & Yang, NeurIPS 2022) as the tracker, SAM-Track's choice, with the package `deaotpy` (BSD).

SAM-Track's model is `r50_deaotl` with `R50_DeAOTL_PRE_YTB_DAV.pth`. Weights are such a published file or a safetensors
file with the same names; they are read without unpickling anything but tensors.

A frame is matched against the frame before it and against a long-term memory that starts with the first frame. Every
`long_term_gap_frames` another frame joins it, so it would grow with the clip. SAM-Track sets the gap to 9999, that is,
the first frame alone, and so does the default here. With a shorter gap (the package evaluates its larger models with
5) at most `max_long_term_frames` stay: the newest and always the first, which carries the mask that is known to be
right; the package's own limit would drop the first.

A frame of 832x464 costs R50-DeAOTL about 2.5 s on a CPU core. deaotpy installs without its dependencies (`--no-deps`):
of those, `spatial-correlation-sampler` is optional and only makes the local attention faster.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import cv2
import numpy as np
import torch
from aot.configs.default import DefaultEngineConfig  # type: ignore[import-untyped]
from aot.networks.engines import build_engine  # type: ignore[import-untyped]
from aot.networks.models import build_vos_model  # type: ignore[import-untyped]
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from magdiff_curation.clips.masks import Image, Mask
from magdiff_curation.hub import loading, model_name, pick_device

ARCHITECTURES = ("deaott", "deaots", "deaotb", "deaotl", "r50_deaotl", "swinb_deaotl")
"""deaotpy's names of the DeAOT models that were published with weights."""
PUBLISHED = "https://github.com/yoxu515/aot-benchmark/blob/main/MODEL_ZOO.md"

_STRIDE_PX = 16
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_REMEDY = f"download R50_DeAOTL_PRE_YTB_DAV.pth for r50_deaotl, or another model's file, from {PUBLISHED}"


class DeAotTracker:
    """Follows a subject with DeAOT, in float32: the package's local attention takes no other dtype.

    `model` is one of `ARCHITECTURES`. Frames are shrunk to `max_long_side_px`; 1040 is deaotpy's, 480p times 1.3. Every
    `long_term_gap_frames` a frame joins the long-term memory, which keeps at most `max_long_term_frames`.

    Raises:
        ValueError: the weights are missing or do not fit, or a setting is out of range.
    """

    def __init__(
        self,
        model: str,
        weights: Path,
        *,
        device: str = "auto",
        max_long_side_px: int = 1040,
        long_term_gap_frames: int = 9999,
        max_long_term_frames: int = 10,
    ) -> None:
        if min(long_term_gap_frames, max_long_term_frames) < 1:
            raise ValueError(
                "the long-term memory's gap and size must be at least 1 frame, got "
                f"long_term_gap_frames={long_term_gap_frames}, max_long_term_frames={max_long_term_frames}"
            )
        self._long_side_px, self._gap, self._num_kept = max_long_side_px, long_term_gap_frames, max_long_term_frames
        self._device = pick_device(device)
        self._model = new_model(model)
        with loading(str(weights), _REMEDY):
            self._model.load_state_dict(_read_weights(weights, set(self._model.state_dict())))
            self.name = f"{model} {model_name(str(weights), None)}"
        self._model.to(self._device).eval().requires_grad_(False)

    def track(self, frames: Iterable[Image], first_mask: Mask) -> Iterator[Mask]:
        """Yield exactly one mask, bool [H, W], per RGB frame, uint8 [H, W, 3]; the first is `first_mask`.

        A subject that is hidden has an empty mask and may come back; an empty first mask is followed by empty ones.

        Raises:
            ValueError: a frame's size differs from the first mask's.
        """
        engine = build_engine(
            self._model.cfg.MODEL_ENGINE,
            phase="eval",
            aot_model=self._model,
            long_term_mem_gap=self._gap,
        )
        for index, frame in enumerate(frames):
            if frame.shape[:2] != first_mask.shape:
                raise ValueError(f"frame {index} has size {frame.shape[:2]}, the first mask {first_mask.shape} [H, W]")
            if index and first_mask.any():
                yield self._advance(engine, frame)
                continue
            if index == 0:
                self._start(engine, frame, first_mask)
            yield first_mask.copy()

    @torch.inference_mode()
    def _start(self, engine: Any, frame: Image, first_mask: Mask) -> None:
        pixels = self._pixels(frame)
        labels = torch.tensor(first_mask, dtype=torch.float32, device=self._device)[None, None]
        labels = functional.interpolate(labels, size=pixels.shape[2:], mode="nearest")
        engine.add_reference_frame(pixels, labels, obj_nums=[1], frame_step=0)

    @torch.inference_mode()
    def _advance(self, engine: Any, frame: Image) -> Mask:
        engine.match_propogate_one_frame(self._pixels(frame))
        labels = engine.decode_current_logits(frame.shape[:2]).argmax(dim=1, keepdim=True)
        engine.update_memory(functional.interpolate(labels.float(), size=engine.input_size_2d, mode="nearest"))
        (inner,) = engine.aot_engines
        inner.long_term_memories = [
            [_newest_and_first(kept, inner.enc_hw, self._num_kept) for kept in layer]
            for layer in inner.long_term_memories
        ]
        return cast(Mask, labels[0, 0].cpu().numpy() == 1)

    def _pixels(self, frame: Image) -> Tensor:
        """Return the frame as the models take it, float [1, 3, H', W'], sides rounded to the encoder's grid."""
        scale = min(1.0, self._long_side_px / max(frame.shape[:2]))
        corner = 1 if self._model.cfg.MODEL_ALIGN_CORNERS else 0
        height, width = (
            max(1, round((int(side * scale) - corner) / _STRIDE_PX)) * _STRIDE_PX + corner for side in frame.shape[:2]
        )
        resized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels = ((resized / 255 - _MEAN) / _DEVIATION).astype(np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device)


def new_model(architecture: str) -> Any:
    """Return an untrained model of that name, one of `ARCHITECTURES`.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; one of {', '.join(ARCHITECTURES)}")
    config = DefaultEngineConfig(model=architecture)
    # It prints, once a layer, that the optional sampler is not installed.
    with contextlib.redirect_stdout(io.StringIO()):
        model: nn.Module = build_vos_model(config.MODEL_VOS, config)
    return model


def _read_weights(path: Path, wanted: set[str]) -> dict[str, Tensor]:
    """Return the wanted tensors of a weights file; training leaves optimizer states beside them."""
    if path.suffix == ".safetensors":
        weights: dict[str, Any] = load_file(path)
    else:
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise ValueError(f"it holds more than tensors: {error}") from error
    weights = weights.get("state_dict", weights.get("model", weights))
    plain = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in plain.items() if name in wanted}


def _newest_and_first(kept: Tensor | None, num_tokens: int, max_frames: int) -> Tensor | None:
    """Return a memory, [frames x tokens, B, C] with the newest frame first, cut to its newest frames and its first."""
    if kept is None or len(kept) <= max_frames * num_tokens:
        return kept
    return torch.cat((kept[: (max_frames - 1) * num_tokens], kept[-num_tokens:]))
