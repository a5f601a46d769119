"""Edit a video, keeping its subject or its background: `python -m magdiff_model.edit --help`.

The same weights and the same call as generation; only that every frame is shown, each in its own slot, as far as the
mask reaches, and the text has the rest (Fig. 3, Supplement D): the background, or with --keep background the subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from magdiff_curation.clips.masks import Masks
from magdiff_model.batch import command_line, make_videos
from magdiff_model.in_sight import check_frames
from magdiff_model.media import read_masks, read_video
from magdiff_model.subject_finding import SubjectFinder
from magdiff_model.video_command import Shown, VideoCommand

EXAMPLES = """\
edit --checkpoint my/magdiff --video dog.mp4 --subject dog --prompt "a dog runs in the snow" --output snow.mp4
edit --checkpoint my/magdiff --video dog.mp4 --subject dog --keep background --prompt "a cat runs" --output cat.mp4
edit --checkpoint my/magdiff --video dog.mp4 --masks masks --num-frames 48 --frame-stride 1 --prompt "…" --output o.gif
edit --checkpoint my/magdiff --batch edits.csv --subject dog --output my/edits"""


@dataclass(frozen=True, kw_only=True)
class Edit(VideoCommand):
    """Edit a video by a text. Say where the subject is by one of --subject, --masks, --box, --whole."""

    video: Path | None = None
    """The video."""
    masks: Path | None = None
    """A folder of PNG masks (or JPEG, where no PNG is), one per frame in order, or a shard's .masks.json."""
    keep: Literal["subject", "background"] = "subject"
    """What stays as it is in the video; the prompt has the rest."""
    frame_stride: int = 4
    """Frames of the video from one edited frame to the next; less where the video is too short for it."""

    source_option = "video"
    mask_option = "masks"

    def check(self, own_frames: int) -> None:
        """Raise ValueError, without loading a model, for what cannot be made; the message says what to do."""
        super().check(own_frames)
        if self.frame_stride < 1:
            raise ValueError(f"--frame-stride is {self.frame_stride}; it must be 1 or more")
        if self.whole and self.keep == "background":
            raise ValueError("--whole takes all as the subject, so there is no background to keep: give --subject")

    def shown(self, finder: SubjectFinder, num_frames: int, seen_px: int | None) -> Shown:
        """Return the frames to edit, with masks of what is kept."""
        assert self.video is not None, "checked"
        video = read_video(self.video, self.frame_stride * (num_frames - 1) + 1)
        chosen = spread(len(video.frames), num_frames, self.frame_stride)
        frames = video.frames[: chosen[-1] + 1]
        masks, models = None, dict[str, str]()
        if self.masks:
            masks = read_masks(self.masks, chosen.tolist())
            masks = fit_masks(masks, frames.shape[1:3], video.source_size, str(self.masks))
        elif self.search:
            print(f"looking for {self.subject or 'the subject'} in {len(frames)} frames", flush=True)
            masks, models = finder.find(frames, video.source_size, label=self.subject or "", box=self.box)
            masks = masks[chosen]
        stride = int(chosen[1]) if num_frames > 1 else 1
        return Shown(
            frames=frames[chosen],
            masks=None if masks is None else kept(masks, chosen, self.keep, seen_px),
            frame_rate=video.frame_rate / stride,
            models=models,
        )


def spread(num_frames: int, wanted: int, stride: int) -> np.ndarray:
    """Return which frames are edited, int64 [wanted], from the first on.

    Raises:
        ValueError: the video has fewer frames than are to be edited.
    """
    if num_frames < wanted:
        remedy = (
            "magdiff_model.generate takes single pictures"
            if num_frames == 1
            else "take a longer one, or lower --num-frames"
        )
        count = f"{num_frames} frame{'s' * (num_frames != 1)}"
        raise ValueError(f"the video has {count}, and {wanted} are to be edited: {remedy}")
    return min(stride, (num_frames - 1) // max(wanted - 1, 1)) * np.arange(wanted)


def fit_masks(masks: Masks, size: tuple[int, ...], source_size: tuple[int, int], name: str) -> Masks:
    """Return masks bool [F, H, W] of the frames' height and width: as they are, or down from the source's own size.

    Raises:
        ValueError: masks of another size.
    """
    height, width = size
    source_width, source_height = source_size
    if masks.shape[1:] not in ((height, width), (source_height, source_width)):
        sizes = dict.fromkeys((f"{source_width}x{source_height}", f"{width}x{height}"))
        raise ValueError(
            f"{name} has masks of {masks.shape[2]}x{masks.shape[1]} px; for this video they must be "
            f"{' or '.join(sizes)}"
        )
    rows, columns = (
        ((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip((height, width), masks.shape[1:], strict=True)
    )
    return masks[:, rows][:, :, columns]


def kept(masks: Masks, numbers: np.ndarray, keep: Literal["subject", "background"], seen_px: int | None) -> Masks:
    """Return masks bool [F, H, W] of what is kept, given the subject's; `numbers` are the frames', for messages.

    Raises:
        ValueError: in some frames there is nothing to keep, or nothing of it in the square of `seen_px` that the model
            sees (None: it looks at no mask).
    """
    if empty := numbers[~masks.any(axis=(1, 2))].tolist():
        raise ValueError(f"frames {empty} have an empty mask: cut the video to where the subject is, or try --subject")
    if keep == "background" and (full := numbers[masks.all(axis=(1, 2))].tolist()):
        raise ValueError(f"the subject fills frames {full}: there is no background to keep")
    if seen_px is not None:
        check_frames(masks, numbers.tolist(), keep, seen_px)
    return masks if keep == "subject" else ~masks


def edit(settings: Edit) -> None:
    """Edit the video, or a batch of them.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    make_videos(settings)


def main() -> None:
    """Read the command line and edit."""
    command_line(Edit, edit, "python -m magdiff_model.", EXAMPLES)


if __name__ == "__main__":
    main()
