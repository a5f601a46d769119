"""What a network must offer to score videos: several of them share one decoding of each.

A video becomes items, each of which the network sees by itself: clips of I3D, frames of CLIP. Batches are of items of
several videos, always `batch_size` of them (the last one is filled up), so that an item's features do not depend on
which others there were; `tests/eval/scoring` holds an extractor to that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magdiff_curation.clips.atomic import canonical_json, sha256_hex
from magdiff_curation.clips.masks import Frames

Features = NDArray[np.floating]
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class Extractor(Protocol):
    """A network and how it is shown videos."""

    @property
    def name(self) -> str:
        """What files and tables call it: lower case letters, digits, `_`, `.` and `-`."""
        ...

    @property
    def stamp(self) -> Mapping[str, Any]:
        """All that features depend on, as JSON takes it: the weights' SHA-256, the protocol of preparation, precision.

        Features are kept under its hash: whoever changes what the network sees changes the stamp.
        """
        ...

    @property
    def batch_size(self) -> int:
        """Items at once."""
        ...

    def frames_needed(self, num_frames: int) -> NDArray[np.int64]:
        """Return which frames of a video it is shown, [n], repeated or out of order as it likes.

        Called from several threads.

        Raises:
            ValueError: it takes no video of this length; the sentence becomes the video's row.
        """
        ...

    def prepare(self, frames: Frames) -> Tensor:
        """Return the items [items, ...] of the frames that were needed, uint8 [n, H, W, 3]."""
        ...

    def extract(self, batch: Tensor) -> Tensor:
        """Return features [B, ...], one an item, of prepared items [B, ...]; any device, float32 or float64."""
        ...


def extractor_key(extractor: Extractor, reader: Mapping[str, str]) -> str:
    """Return the name that an extractor's features are kept under: its own, and the hash of its stamp and the reader's.

    Raises:
        ValueError: a name that is no file's.
    """
    if not _NAME.fullmatch(extractor.name):
        raise ValueError(f"an extractor is named {extractor.name!r}: need lower case letters, digits, '_', '.' or '-'")
    stamp = canonical_json({"extractor": extractor.stamp, "reader": reader})
    return f"{extractor.name}-{sha256_hex(stamp)[:16]}"


@torch.inference_mode()
def extract_all(extractor: Extractor, videos: Sequence[Tensor]) -> list[Features]:
    """Return the features of videos, each [items, ...], of their prepared items, [items, ...] each.

    Items go through in batches of `batch_size`, filled up with the last item; only items of one shape share a batch.

    Raises:
        ValueError: the extractor gives another number of rows than it got items, or integers.
    """
    found: list[list[Features]] = [[] for _ in videos]
    for shape in dict.fromkeys(video.shape[1:] for video in videos):
        members = [index for index, video in enumerate(videos) if video.shape[1:] == shape]
        owners = [index for index in members for _ in range(len(videos[index]))]
        items = torch.cat([videos[index] for index in members])
        for start in range(0, len(items), extractor.batch_size):
            batch = items[start : start + extractor.batch_size]
            missing = extractor.batch_size - len(batch)
            full = torch.cat([batch, batch[-1:].expand(missing, *shape)]) if missing else batch
            rows = extractor.extract(full)
            if len(rows) != len(full) or not rows.is_floating_point():
                raise ValueError(
                    f"{extractor.name} gave {rows.dtype} {tuple(rows.shape)} for {len(full)} items: need a row an item"
                )
            kept = rows[: len(batch)].to("cpu", torch.float64 if rows.dtype == torch.float64 else torch.float32)
            for offset, row in enumerate(kept.numpy()):
                found[owners[start + offset]].append(row)
    return [np.stack(rows) for rows in found]
