"""What training sees of a clip: which frames a sample takes, and the middle square. Curation looks at the same."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def sample_stride(num_frames: int, wanted: int, stride: int) -> int:
    """Return the frames from one sampled frame to the next: `stride`, or less where the clip is too short for it.

    Raises:
        ValueError: the clip has fewer frames than are wanted.
    """
    if num_frames < wanted:
        raise ValueError(f"{num_frames} frames are fewer than the {wanted} of a sample")
    return min(stride, (num_frames - 1) // (wanted - 1)) if wanted > 1 else stride


def middle_square(pictures: NDArray[Any]) -> NDArray[Any]:
    """Return the middle square of pictures or masks [F, H, W, ...]."""
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pictures[:, top : top + side, left : left + side]
