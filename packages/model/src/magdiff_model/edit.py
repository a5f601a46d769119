"""Edit a video, keeping its subject: `python -m magdiff_model.edit --video dog.mp4 --box 40 60 300 400 --prompt "…"`.

The same weights and the same call as generation; only that every frame's subject is shown, each in its own slot,
and the text has the rest (Fig. 3, Supplement D). The subject is kept, the background becomes what the prompt says.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.generate import SamplingSettings, check_one_way, sampling_arguments
from magdiff_model.media import check_output, masks_from_box, read_masks, read_video, write_video
from magdiff_model.precision import pick_device


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Edit a video by a text, keeping its subject. Say where the subject is by one of --masks, --box, --whole."""

    checkpoint: str
    """A pipeline folder that magdiff_model.train wrote."""
    video: Path
    """The video."""
    prompt: str
    """What the edited video shows."""
    output: Path
    """The .mp4 to write."""
    masks: Path | None = None
    """A folder of PNG masks, one per frame in order, or a shard's .masks.json."""
    box: tuple[float, float, float, float] | None = None
    """x0 y0 x1 y1 around the subject in the first frame, in the video's own pixels; it is followed from there."""
    whole: bool = False
    """Take whole frames as the subject (the paper's null mask)."""
    frame_stride: int = 4
    """Frames of the video from one edited frame to the next; less where the video is too short for it."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingSettings] = field(default_factory=SamplingSettings)
    """How."""


def edit(settings: Edit) -> None:
    """Edit the video.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    check_output(settings.output)
    check_one_way(masks=settings.masks, box=settings.box, whole=settings.whole or None)
    pipeline = load_pipeline(settings.checkpoint).to(pick_device(settings.sampling.device))
    wanted = pipeline.config.num_frames
    frames, source_size = read_video(settings.video, settings.frame_stride * (wanted - 1) + 1)
    chosen = spread(len(frames), wanted, settings.frame_stride)
    masks = _masks(settings, frames, source_size)
    video = pipeline(
        settings.prompt,
        frames[chosen],
        None if masks is None else masks[chosen],
        **sampling_arguments(settings.sampling),
    )
    write_video(settings.output, video, settings.sampling.frame_rate)
    print(f"wrote {settings.output}")


def spread(num_frames: int, wanted: int, stride: int) -> np.ndarray:
    """Return which frames are edited, int64 [wanted], from the first on.

    Raises:
        ValueError: the video has fewer frames than the model edits.
    """
    if num_frames < wanted:
        raise ValueError(f"the video has {num_frames} frames; the model edits {wanted} at a time")
    return min(stride, (num_frames - 1) // max(wanted - 1, 1)) * np.arange(wanted)


def _masks(settings: Edit, frames: Frames, source_size: tuple[int, int]) -> Masks | None:
    if settings.box:

        def progress(done: int, total: int) -> None:
            print(f"\rfollowing the subject {done}/{total}", end="\n" if done == total else "", flush=True)

        height, width = frames.shape[1:3]
        scale_x, scale_y = width / source_size[0], height / source_size[1]
        x0, y0, x1, y1 = settings.box
        return masks_from_box(frames, (x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y), progress)
    if settings.masks is None:
        return None
    masks = read_masks(settings.masks)[: len(frames)]
    if masks.shape != frames.shape[:3]:
        raise ValueError(
            f"{settings.masks} has masks {masks.shape} for frames {frames.shape[:3]}: need one a frame, of its "
            "size (videos over 512 px on the short side are scaled down to it; curation's masks are made at that size)"
        )
    return masks


def main() -> None:
    """Read the command line and edit."""
    try:
        edit(tyro.cli(Edit, prog="python -m magdiff_model.edit"))
    except (ValueError, OSError) as error:
        sys.exit(f"edit: {error}")


if __name__ == "__main__":
    main()
