"""What a benchmark run is told: a command for each benchmark, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from magdiff_eval.baselines import BASELINES
from magdiff_eval.harness.makers import Sampling
from magdiff_eval.harness.shown import has_videos
from magdiff_eval.harness.toyworld import Spoilt, Toyworld
from magdiff_eval.layouts.davis import list_davis
from magdiff_eval.layouts.dreambooth import list_dreambooth
from magdiff_eval.layouts.item import Listing
from magdiff_eval.layouts.msrvtt import list_msrvtt
from magdiff_eval.layouts.ucf101 import list_ucf101
from magdiff_eval.metrics.fvd import ClipMode
from magdiff_eval.scoring.loading import ExtractorSettings, Metric
from magdiff_model.precision import Precision
from magdiff_model.sampling import Solver

BaselineName = Literal[
    "animatediff-ip-adapter", "i2vgen-xl", "stable-video-diffusion", "instruct-pix2pix", "modelscope-t2v"
]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every benchmark takes."""

    model: Path | None = None
    """A MagDiff checkpoint: a folder that magdiff_model.train wrote. One of --model, --baseline and --videos."""
    baseline: BaselineName | None = None
    """Another method, by name; its weights are looked for in --weights."""
    videos: Path | None = None
    """Videos made elsewhere: files or folders of frames, named as the benchmark's items (listing.json has them)."""
    method: str | None = None
    """What tables call the method; for --videos its folder's name otherwise."""
    output: Path = Path("data/scores")
    """Receives results.json, rows.jsonl, tables, report.html, and the videos."""
    features: Path = Path("data/features")
    """Keeps the features of videos that were scored."""
    weights: Path = Path("data/weights")
    """Weights of metrics and baselines; `python -m magdiff_eval.weights` says what is there."""
    extractors: Literal["published", "toyworld"] = "published"
    """The networks of metrics; toyworld's are part of the repository, and compare with nothing published."""
    metrics: tuple[Metric, ...] | None = None
    """Instead of the benchmark's own; see magdiff_eval.score."""
    clip_protocol: Literal["loveu", "tune-a-video", "fatezero"] = "loveu"
    """How CLIP is shown frames."""
    clip_mode: ClipMode = "resample"
    """What makes 16 frames, which I3D and C3D are shown, of a video of eight; done to the reference too."""
    reference: Path | None = None
    """What Fréchet distances are to: videos, or an .npz; otherwise the benchmark's own videos."""
    reference_stride: int = 4
    """Of videos of the reference, every so-manieth frame is taken, as many as a made video has."""
    vision: str | None = None
    """Curation's models that find subjects: a preset (full, toyworld), or a YAML file; full by default."""
    num_frames: int = 8
    """Frames of a video (Supplement B)."""
    steps: int | None = None
    """Denoising steps: 50 for MagDiff, a baseline's published ones."""
    guidance_scale: float | None = None
    """Classifier-free guidance on the text: 7.5 for MagDiff, as in the paper; a baseline's published one."""
    image_guidance_scale: float | None = None
    """Guidance on the subject: 1 for MagDiff, which is none, as in the paper; a baseline's published one."""
    baseline_settings: tuple[str, ...] = ()
    """More settings of the baseline in place of the published ones, such as num_frames=16 height_px=256."""
    solver: Solver | None = None
    """MagDiff's solver; None is the checkpoint's."""
    device: str = "auto"
    """auto: the GPU where there is one."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ()
    """The benchmark's metrics."""

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.model, self.baseline, self.videos)) != 1:
            raise ValueError("give one of --model CHECKPOINT, --baseline NAME and --videos FOLDER")
        if self.baseline_settings and self.baseline is None:
            raise ValueError("--baseline-settings are a baseline's: give --baseline too")
        if self.solver is not None and self.model is None:
            raise ValueError("--solver is MagDiff's: give --model too")
        if self.videos is not None and self.given:
            raise ValueError(f"--videos are made already: leave out {', '.join(self.given)}")
        if self.reference is not None and not self.reference.exists():
            raise ValueError(f"there is no {self.reference}: give --reference videos, or an .npz of their statistics")

    def listing(self) -> Listing:
        """Return what is to be made."""
        raise NotImplementedError

    def check_tasks(self, listing: Listing) -> None:
        """Raise ValueError where the baseline cannot do what the benchmark asks for."""
        tasks = dict.fromkeys(item.task for item in listing.items)
        if self.baseline is not None and (
            cannot := [task for task in tasks if task not in BASELINES[self.baseline].tasks]
        ):
            others = [name for name, baseline in BASELINES.items() if set(tasks) <= set(baseline.tasks)]
            raise ValueError(f"{self.baseline} cannot {cannot[0]}: take {' or '.join(others) or 'no baseline'}")

    def check_reference(self, listing: Listing) -> None:
        """Raise ValueError where a distance is asked for and there are no videos that it could be to."""
        wanted = self.metrics or self.own_metrics
        own = isinstance(self, ToyworldCommand) or any(has_videos(item) for item in listing.items)
        if "fvd" in wanted and self.reference is None and not own:
            raise ValueError("fvd is a distance, and this benchmark has no videos of its own: give --reference")

    @property
    def given(self) -> dict[str, float]:
        """Return the sampling settings that were given.

        Raises:
            ValueError: a setting of the baseline that is no name=number.
        """
        names = ("steps", "guidance_scale", "image_guidance_scale")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for setting in self.baseline_settings:
            name, _, value = setting.partition("=")
            try:
                found[name] = float(value) if "." in value else int(value)
            except ValueError:
                raise ValueError(f"--baseline-settings has {setting!r}: give name=number") from None
        return found

    @property
    def how(self) -> Sampling:
        """Return how MagDiff samples: the paper's settings where none were given."""
        given = {"steps": 50, "guidance_scale": 7.5, "image_guidance_scale": 1.0} | self.given
        return Sampling(
            steps=int(given["steps"]),
            guidance_scale=given["guidance_scale"],
            image_guidance_scale=given["image_guidance_scale"],
            solver=self.solver,
        )

    @property
    def scoring(self) -> ExtractorSettings:
        """Return what the videos are shown to."""
        return ExtractorSettings(
            metrics=self.metrics or self.own_metrics,
            extractors=self.extractors,
            weights=self.weights,
            clip_mode=self.clip_mode,
            clip_protocol=self.clip_protocol,
            num_frames=self.num_frames,
            device=self.device,
        )

    @property
    def method_name(self) -> str:
        """Return what tables call the method."""
        if self.videos is not None:
            return self.method or self.videos.resolve().name
        return self.method or (BASELINES[self.baseline].title if self.baseline else "MagDiff")


@dataclass(frozen=True, kw_only=True)
class DavisCommand(RunSettings):
    """Four edits of every DAVIS video, from a folder in LOVEU-TGVE 2023's layout (Table 3)."""

    data: Path = Path("data/davis")
    """The folder."""
    labels: Path | None = None
    """A table of the videos' subjects (video, label) instead of ours."""
    num_videos: int | None = None
    """Take only the first so many videos."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ("clip", "motion")

    def listing(self) -> Listing:
        """Return what is to be made."""
        return list_davis(self.data, num_videos=self.num_videos, labels=self.labels, num_frames=self.num_frames)


@dataclass(frozen=True, kw_only=True)
class Ucf101Command(RunSettings):
    """Videos of UCF-101's classes, each of a subject in the first frame of a test video (Tables 1, 2, 5, 6 and 7)."""

    data: Path = Path("data/ucf101")
    """The folder."""
    num_videos: int = 10_000
    """Videos to make; the paper's number."""
    split: str = "testlist01.txt"
    """Which of the lists of videos they start from."""
    prompts: Path | None = None
    """A table of the classes' prompts (class, prompt, label) instead of ours."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ("fvd", "video-is", "clip", "dino", "motion")

    def listing(self) -> Listing:
        """Return what is to be made."""
        return list_ucf101(self.data, num_videos=self.num_videos, split=self.split, prompts=self.prompts)


@dataclass(frozen=True, kw_only=True)
class MsrvttCommand(RunSettings):
    """MSR-VTT's test videos, each made anew from its caption and first frame's subject (Tables 1, 2, 5, 6 and 7)."""

    data: Path = Path("data/msrvtt")
    """The folder."""
    num_videos: int | None = None
    """Take only the first so many videos."""
    caption_seed: int = 0
    """Which of a video's 20 captions is taken."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ("fvd", "clip", "dino", "motion")

    def listing(self) -> Listing:
        """Return what is to be made."""
        return list_msrvtt(self.data, num_videos=self.num_videos, caption_seed=self.caption_seed)


@dataclass(frozen=True, kw_only=True)
class DreamboothCommand(RunSettings):
    """DreamBooth's subjects, each in its 25 prompts (Table 2)."""

    data: Path = Path("data/dreambooth")
    """The folder."""
    num_subjects: int | None = None
    """Take only the first so many subjects."""
    images_per_prompt: int = 1
    """Videos a prompt, each from another picture of the subject."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ("clip", "dino", "motion")

    def listing(self) -> Listing:
        """Return what is to be made."""
        return list_dreambooth(self.data, num_subjects=self.num_subjects, images_per_prompt=self.images_per_prompt)


@dataclass(frozen=True, kw_only=True)
class ToyworldCommand(RunSettings):
    """Held-out toyworld clips before new backgrounds, judged by the oracles that know the truth."""

    extractors: Literal["published", "toyworld"] = "toyworld"
    """The networks of metrics; toyworld's are part of the repository."""
    num_clips: int = 100
    """How many clips."""
    seed: int = 30_000_001
    """Their world; train on another."""
    tasks: tuple[Literal["edit", "generate"], ...] = ("edit", "generate")
    """What is made of each."""
    contrast: float = 1.0
    """Of the sources: less than 1 greys them."""
    noise: float = 0.0
    """On the sources: a standard deviation, of 255."""
    subject_size: float = 1.0
    """Subjects are drawn at this times their size."""
    mask_error_px: int = 0
    """Masks are grown by so many pixels of 128, or shrunk where negative."""
    own_metrics: ClassVar[tuple[Metric, ...]] = ("fvd", "clip", "dino", "motion")

    def listing(self) -> Listing:
        """Return what is to be made; what it is made from is drawn."""
        return self.world.listing()

    @cached_property
    def world(self) -> Toyworld:
        """Return the world's clips."""
        spoilt = Spoilt(
            contrast=self.contrast,
            noise=self.noise,
            subject_size=self.subject_size,
            mask_error_px=self.mask_error_px,
        )
        return Toyworld(self.output / "drawn", self.num_clips, self.seed, self.tasks, self.num_frames, spoilt)


Command = DavisCommand | Ucf101Command | MsrvttCommand | DreamboothCommand | ToyworldCommand
COMMANDS: dict[str, Callable[..., Any]] = {
    "davis": DavisCommand,
    "ucf101": Ucf101Command,
    "msrvtt": MsrvttCommand,
    "dreambooth": DreamboothCommand,
    "toyworld": ToyworldCommand,
}
