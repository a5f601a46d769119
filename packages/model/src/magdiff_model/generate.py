"""Make a video of a picture's subject: `python -m magdiff_model.generate --help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magdiff_model.batch import command_line, make_videos
from magdiff_model.in_sight import check_picture
from magdiff_model.media import read_image, read_mask
from magdiff_model.subject_finding import SubjectFinder
from magdiff_model.video_command import Shown, VideoCommand

EXAMPLES = """\
generate --checkpoint my/magdiff --image dog.png --subject dog --prompt "a dog runs on the beach" --output dog.mp4
generate --checkpoint my/magdiff --image dog.png --box 40 60 300 400 --prompt "…" --output dog.gif
generate --checkpoint my/magdiff --image dog.png --mask mask.png --num-frames 24 --prompt "…" --output frames
generate --checkpoint my/magdiff --batch dogs.csv --output my/videos"""


@dataclass(frozen=True, kw_only=True)
class Generate(VideoCommand):
    """Make a video of a picture's subject by a text. Say where it is by one of --subject, --mask, --box, --whole."""

    image: Path | None = None
    """The picture."""
    mask: Path | None = None
    """A picture of the same size: the subject is where it is not black (of a JPEG: where it is bright)."""

    source_option = "image"
    mask_option = "mask"

    def shown(
        self,
        finder: SubjectFinder,
        num_frames: int,  # noqa: ARG002 - one picture starts any number
        seen_px: int | None,
    ) -> Shown:
        """Return the picture as one frame, with the subject's mask."""
        assert self.image is not None, "checked"
        frames = read_image(self.image)[None]
        height, width = frames.shape[1:3]
        masks, models = None, dict[str, str]()
        if self.mask:
            masks = read_mask(self.mask)[None]
            if masks.shape[1:] != (height, width):
                raise ValueError(
                    f"{self.mask} is {masks.shape[2]}x{masks.shape[1]} px, the picture {width}x{height}: "
                    "save the mask at the picture's size"
                )
            if not masks.any():
                raise ValueError(
                    f"{self.mask} is an empty mask: paint the subject white and all else black, or try --subject"
                )
        elif self.search:
            masks, models = finder.find(frames, (width, height), label=self.subject or "", box=self.box)
        if masks is not None and seen_px is not None:
            check_picture(masks, seen_px)
        return Shown(frames=frames, masks=masks, frame_rate=8.0, models=models)


def generate(settings: Generate) -> None:
    """Generate the video, or a batch of them.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    make_videos(settings)


def main() -> None:
    """Read the command line and generate."""
    command_line(Generate, generate, "python -m magdiff_model.", EXAMPLES)


if __name__ == "__main__":
    main()
