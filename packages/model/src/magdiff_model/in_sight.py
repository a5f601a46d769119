"""Whether the model sees the subject: all that it is shown is the middle square, at its own size.

`data.subjects.visible` decides it, for training and here alike. Here, so that who asks for a video is told what to do
before the checkpoint is loaded, and in the numbers of the source's frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from magdiff_curation.clips.masks import Masks, bounding_box
from magdiff_curation.clips.windows import middle_square
from magdiff_model.data.subjects import visible


def check_picture(masks: Masks, size_px: int) -> None:
    """Raise ValueError where the model sees nothing of a picture's subject, masks bool [1, H, W], none of them empty.

    `size_px` is the side of the model's square.
    """
    if not visible(masks, size_px)[0]:
        raise ValueError(f"{_hidden(masks, 0, size_px)}: crop the picture around it, or choose another subject")


def check_frames(masks: Masks, numbers: Sequence[int], keep: Literal["subject", "background"], size_px: int) -> None:
    """Raise ValueError where nothing that an edit keeps is seen, or nothing that it changes is seen in any frame.

    Args:
        masks: the subject's, bool [F, H, W], none of them empty.
        numbers: the frames', for messages.
        keep: what the edit keeps.
        size_px: the side of the model's square.
    """
    hidden = ~visible(masks, size_px)
    if hidden.all() or (keep == "subject" and hidden.any()):
        first = int(np.flatnonzero(hidden)[0])
        raise ValueError(
            f"frames {np.asarray(numbers)[hidden].tolist()}: {_hidden(masks, first, size_px)}: crop the video around "
            "it, cut it to where the subject is in the square, or choose another subject"
        )
    if keep == "background" and (full := ~visible(~masks, size_px)).any():
        raise ValueError(
            f"frames {np.asarray(numbers)[full].tolist()}: the subject fills the middle square, which is all that the "
            "model sees, so there is no background to keep: choose a smaller subject, or leave --keep out"
        )


def _hidden(masks: Masks, frame: int, size_px: int) -> str:
    """Say why a frame's subject, which has a mask, is not seen."""
    height, width = masks.shape[1:]
    box = bounding_box(masks[frame])
    assert box is not None, "empty masks were refused"
    place = f"the subject, at x {box[0]:.0f} to {box[2]:.0f} and y {box[1]:.0f} to {box[3]:.0f} of {width}x{height} px,"
    if middle_square(masks[frame : frame + 1]).any():
        return f"{place} is too small, or too little of it is in the middle square, to be seen at {size_px} px"
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return (
        f"{place} lies outside the middle square, x {left} to {left + side} and y {top} to {top + side}, "
        "which is all that the model sees"
    )
