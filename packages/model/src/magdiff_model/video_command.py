"""What `generate` and `edit` have in common: their options, their models, and the making of one video."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import tyro

from magdiff_curation.clips.masks import Frames, Masks
from magdiff_curation.digests import model_digest
from magdiff_model.checkpoints import load_pipeline, quiet_loading, read_index
from magdiff_model.outputs import check_output, write_video
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.sidecar import checkpoint_digest, disown, sidecar_path, write_sidecar
from magdiff_model.subject_finding import SubjectFinder


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the model is shown of a subject."""

    frames: Frames
    """uint8 [1 or F, H, W, 3]."""
    masks: Masks | None
    """bool [1 or F, H, W]; None for whole frames."""
    frame_rate: float
    """Frames per second that suit the video."""
    models: dict[str, str] = field(default_factory=dict)
    """What found the subject."""


@dataclass(frozen=True, kw_only=True)
class VideoCommand:
    """The options of both commands."""

    checkpoint: str
    """A pipeline folder that magdiff_model.train wrote."""
    prompt: str = ""
    """What the video shows."""
    output: Path | None = None
    """What to write: NAME.mp4, NAME.gif, or a name without a dot for a folder of PNG frames; of a batch, its folder."""
    subject: str | None = None
    """What the subject is, such as "dog": it is found, cut out and followed."""
    box: tuple[float, float, float, float] | None = None
    """x0 y0 x1 y1 around the subject (of a video: in its first frame), in the source's own pixels."""
    whole: bool = False
    """Take whole frames as the subject (the paper's null mask)."""
    vision: str | None = None
    """What finds the subject: curation's preset full, toyworld or manifest, or a YAML file as curate.py takes it.
    None: full for --subject, and manifest, which needs no weights, for --box."""
    num_frames: int | None = None
    """Frames to make. None: as many as the checkpoint makes at once; more are made in overlapping windows."""
    batch: Path | None = None
    """A csv with a video a row. Its columns are called as these options; the command line has what a row leaves out.
    Paths are relative to the csv, outputs to --output. Started again, it makes only what is missing."""
    dry_run: bool = False
    """Check everything that can be checked without loading a model, and say what would be made."""
    sampling: tyro.conf.OmitArgPrefixes[SamplingSettings] = field(default_factory=SamplingSettings)
    """How."""

    source_option: ClassVar[str]
    """The option with the picture or video."""
    mask_option: ClassVar[str]
    """The option with the mask or masks."""

    def check(self, own_frames: int) -> None:
        """Raise ValueError, without loading a model, for what cannot be made; the message says what to do.

        The checkpoint makes `own_frames` frames at once.
        """
        source = getattr(self, self.source_option)
        for name, value in ((self.source_option, source), ("prompt", self.prompt.strip()), ("output", self.output)):
            if not value:
                raise ValueError(f"--{name} is missing")
        assert self.output is not None, "it was looked at"
        check_output(self.output)
        check_apart([self.output], self.files().values())
        for name, path in self.files().items():
            if not (path.is_file() or (name == "masks" and path.is_dir())):
                raise ValueError(f"--{name}: there is no file {path}")
        ways = {"subject": self.subject, self.mask_option: getattr(self, self.mask_option), "box": self.box}
        given = [name for name, value in (ways | {"whole": self.whole or None}).items() if value is not None]
        if len(given) != 1:
            options = ", ".join(f"--{name}" for name in (*ways, "whole"))
            raise ValueError(f"say where the subject is by one of {options}; given: {', '.join(given) or 'none'}")
        if self.subject is not None and not self.subject.strip():
            raise ValueError("--subject is empty: say what the subject is, such as dog")
        if self.box and not (
            all(map(math.isfinite, self.box)) and self.box[0] < self.box[2] and self.box[1] < self.box[3]
        ):
            raise ValueError(f"--box is {self.box}; it must be x0 y0 x1 y1, finite, with x0 < x1 and y0 < y1")
        if self.num_frames is not None and self.num_frames < own_frames:
            raise ValueError(f"--num-frames is {self.num_frames}; this checkpoint makes {own_frames} or more")
        self.sampling.check()

    def files(self) -> dict[str, Path]:
        """Return the files and folders that are read, by their options."""
        paths = {name: getattr(self, name) for name in (self.source_option, self.mask_option)}
        return {name: path for name, path in paths.items() if path is not None}

    @property
    def search(self) -> dict[str, bool] | None:
        """How the subject is searched for, as `SubjectFinder` is asked; None where a mask or nothing is given."""
        if self.subject is None and self.box is None:
            return None
        return {"by_box": self.box is not None, "one_picture": self.source_option == "image"}

    def shown(self, finder: SubjectFinder, num_frames: int, seen_px: int | None) -> Shown:
        """Return what a model is shown, and find the subject where that is to be done.

        Args:
            finder: finds it.
            num_frames: frames of the video to make.
            seen_px: side of the middle square as the model sees it, in which the subject must be; None: it may be
                anywhere, as the model looks at no mask.

        Raises:
            ValueError: inputs that cannot be used; the message says what to do.
        """
        raise NotImplementedError


def check_apart(outputs: Iterable[Path], files: Iterable[Path]) -> None:
    """Raise ValueError where writing an output would replace a file that is read, or a folder that holds one."""
    read = {place: file for file in files for place in (file.resolve(), *file.resolve().parents)}
    for output in outputs:
        if file := read.get(output.resolve()):
            raise ValueError(f"--output {output} would replace {file}, which is read: choose another name")


class Models:
    """The checkpoint's pipeline and the finder of a run; both load what they need when it is first needed."""

    def __init__(self, command: VideoCommand) -> None:
        self.checkpoint, self.device = Path(command.checkpoint), command.sampling.usable_device()
        self.finder = SubjectFinder(command.vision)
        quiet_loading()
        self.index = read_index(self.checkpoint)

    @property
    def num_frames(self) -> int:
        """What the checkpoint makes at once."""
        return int(self.index["num_frames"])

    @property
    def seen_px(self) -> int | None:
        """Side of the square that the checkpoint sees of a subject; None: it takes whole frames, whatever the mask."""
        return int(self.index["size_px"]) if self.index["subject_masked"] else None

    @functools.cached_property
    def digest(self) -> str:
        """The checkpoint's, taken once: of what is loaded."""
        return checkpoint_digest(self.checkpoint)

    @functools.cached_property
    def pipeline(self) -> MagDiffPipeline:
        """The checkpoint, on its device, with a bar for its steps on terminals.

        Raises:
            ValueError: what was loaded may not be what `digest` tells.
        """
        before = self.digest
        pipeline = load_pipeline(self.checkpoint)
        if checkpoint_digest(self.checkpoint) != before:
            raise ValueError(f"{self.checkpoint} changed while it was read: start again when nothing writes to it")
        pipeline = pipeline.to(self.device)
        pipeline.set_progress_bar_config(desc="denoising", leave=False, disable=None)
        return pipeline


def request_of(command: VideoCommand, models: Models) -> dict[str, Any]:
    """Return all that shapes a video, as JSON can hold it: options, and files and models by their digests."""
    options = dataclasses.asdict(command)
    sampling = options.pop("sampling")
    for name in ("output", "vision", "batch", "dry_run"):
        del options[name]
    del sampling["device"]
    files = {name: model_digest(path) for name, path in command.files().items()}
    search = command.search
    if options["box"] is not None:
        options["box"] = list(options["box"])
    return {
        "command": type(command).__name__.lower(),
        **options,
        **sampling,
        **files,
        "checkpoint": models.digest,
        "vision": models.finder.digest(**search) if search else None,
    }


def check_unchanged(command: VideoCommand, models: Models, request: dict[str, Any]) -> None:
    """Raise ValueError where what was read may not be what the request, which was made earlier, tells."""
    changed = [f"--{name} {path}" for name, path in command.files().items() if model_digest(path) != request[name]]
    search = command.search
    if search and models.finder.digest(**search) != request["vision"]:
        changed.append("the weights of what finds the subject")
    if changed:
        raise ValueError(f"{' and '.join(changed)} changed after this run had begun: start it again")


def make_video(command: VideoCommand, models: Models, request: dict[str, Any]) -> None:
    """Make one video, and write it with its sidecar, which holds the request as it was when the run began.

    Raises:
        ValueError: inputs that cannot be used; the message says what to do.
    """
    assert command.output is not None, "checked"
    begin = time.monotonic()
    # The subject is looked for first: what cannot be found need not wait for the pipeline.
    shown = command.shown(models.finder, command.num_frames or models.num_frames, models.seen_px)
    check_unchanged(command, models, request)
    video = models.pipeline(
        command.prompt,
        shown.frames,
        shown.masks,
        num_frames=command.num_frames,
        **command.sampling.pipeline_arguments(),
    ).frames[0]
    frame_rate = command.sampling.frame_rate or shown.frame_rate
    disown(command.output)
    write_video(command.output, video, frame_rate)
    made = {
        "checkpoint": str(models.checkpoint),
        **{name: str(path) for name, path in command.files().items()},
        "found_by": shown.models,
        "num_frames": len(video),
        "size_px": list(video.shape[2:0:-1]),
        "frame_rate": frame_rate,
        "device": str(models.pipeline.device),
        "seconds": round(time.monotonic() - begin, 1),
    }
    write_sidecar(command.output, request, made)
    print(f"wrote {command.output}, and {sidecar_path(command.output).name} beside it", flush=True)
