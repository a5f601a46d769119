"""Settings of the models that look at pictures: who answers, who finds, who segments, who tracks.

Each model is a hub id, or a folder in the hub's layout, here or on S3 (s3://bucket/folder, fetched once a node);
nothing is ever downloaded but what a setting names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from magdiff_curation.segment import GrabCutSettings
from magdiff_curation.trackers.optical_flow import OpticalFlowSettings

Dtype = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class HubModelSettings:
    """A model in the hub's layout."""

    model: str
    """Hub id, folder or s3://bucket/folder."""
    revision: str | None = None
    """Commit, tag or branch of a hub id."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""
    dtype: Dtype = "float32"
    """Number format; bfloat16 halves the memory on a GPU."""


@dataclass(frozen=True, kw_only=True)
class ImageTextSettings(HubModelSettings):
    """A vision-language model: any `AutoModelForImageTextToText`."""

    model: str = "Salesforce/blip2-opt-2.7b"
    """Hub id, folder or s3://bucket/folder; Salesforce/blip2-flan-t5-xl works the same way, and so do chat models such
    as LLaVA."""
    quantization: Literal["none", "int8", "int4"] = "none"
    """Smaller weights by bitsandbytes, which must be installed."""
    prompt: str = "Question: {question} Answer:"
    """How the question is put to models without a chat template; BLIP-2's form."""
    caption_prompt: str = ""
    """What asks for a caption of models without a chat template; BLIP-2 captions when it is asked nothing."""
    chat_caption_request: str = "Describe this picture in one short sentence."
    """What asks a chat model for a caption."""
    max_new_tokens: int = 24
    """Longest answer, in tokens."""
    batch_size: int = 1
    """Pictures at a time. A batch is faster on a GPU; there, an answer's last bits may depend on its neighbours."""


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """The foreground answer (Supplement C)."""

    backend: Literal["manifest", "image_text"] = "manifest"
    """Where answers come from: the manifest's `answer_column`, or a vision-language model."""
    question: str = "What is the foreground in the picture?"
    """The paper's question."""
    answer_column: str = "answer"
    """The manifest's column with the answer."""
    image_text: ImageTextSettings = ImageTextSettings()
    """The vision-language model; BLIP-2 by default."""
    missing_caption: Literal["drop", "make"] = "drop"
    """What becomes of a clip without a caption: dropped, or captioned by the same model from its first frame."""


@dataclass(frozen=True, kw_only=True)
class ZeroShotSettings(HubModelSettings):
    """A zero-shot detector: any `AutoModelForZeroShotObjectDetection`."""

    model: str = "IDEA-Research/grounding-dino-tiny"
    """Hub id, folder or s3://bucket/folder; the default is SAM-Track's Grounding-DINO with a Swin-T."""
    threshold: float = 0.25
    """Smallest score of a box."""
    max_box_ratio: float = 1.0
    """Boxes over more than this share of the frame are left out (SAM-Track's notebook: 0.5)."""
    overlap: float = 0.5
    """Of two boxes that overlap by more than this (IoU), the better one stays."""


@dataclass(frozen=True, kw_only=True)
class SamSettings:
    """Segment Anything."""

    weights: Path = Path("models/sam_vit_b_01ec64.pth")
    """A published weights file (ViT-B, as SAM-Track), or a folder with config.json and model.safetensors; on S3 too."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""


@dataclass(frozen=True, kw_only=True)
class RepromptSettings:
    """Optical flow carries the mask, the segmenter draws it anew from its box in every frame."""

    work_short_side_px: int = 192
    """Flow is computed at this short side; smaller frames at their own size."""
    margin: float = 0.04
    """How far the prompt's box reaches beyond the carried mask, as a share of its sides."""
    agreement: float = 0.5
    """The drawn mask counts where it overlaps the carried one by at least this (IoU); else the carried one stays."""
    patience_frames: int = 4
    """The subject is lost after this many frames in a row in which the drawn mask does not count."""
    smallest_area_px: int = 32
    """The subject is lost below this many pixels at the reduced size."""


@dataclass(frozen=True, kw_only=True)
class Sam2Settings(HubModelSettings):
    """SAM 2 video, or EdgeTAM, its light relative."""

    model: str = "facebook/sam2.1-hiera-base-plus"
    """Hub id, folder or s3://bucket/folder."""


@dataclass(frozen=True, kw_only=True)
class DeAotSettings:
    """DeAOT by the `deaotpy` package; SAM-Track's tracker."""

    model: str = "r50_deaotl"
    """Which of its models."""
    weights: Path = Path("models/R50_DeAOTL_PRE_YTB_DAV.pth")
    """The published weights file, on S3 too."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""
    max_long_side_px: int = 1040
    """Frames are shrunk to this long side."""
    long_term_gap_frames: int = 9999
    """Every so many frames one joins the long-term memory; SAM-Track's value keeps the first alone."""
    max_long_term_frames: int = 10
    """Frames in the long-term memory at most."""


@dataclass(frozen=True, kw_only=True)
class Sam3Settings(HubModelSettings):
    """SAM 3 video, which takes the text itself."""

    model: str = "facebook/sam3"
    """Hub id, folder or s3://bucket/folder."""


@dataclass(frozen=True, kw_only=True)
class SamTrackSettings:
    """How finding, segmenting and tracking work together."""

    key_frame_interval: int = 10
    """Frames from one look at the label to the next; SAM-Track's library uses 10, its notebook 49."""
    instances: Literal["best", "all", "only"] = "best"
    """Of several subjects in the first key frame: the best box, all as one, or the clip is dropped unless it is one."""
    same_subject: float = 0.5
    """A later box means the tracked subject where it overlaps its box by at least this (IoU)."""
    redraw: bool = False
    """Also draw the mask anew at every key frame that agrees; without it only where the subject was lost."""
    min_agreement: float = 0.5
    """The clip is dropped where fewer of the key frames with a box agree with the tracked mask."""


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """Finding the subject and following it (SAM-Track)."""

    backend: Literal["sam_track", "sam3"] = "sam_track"
    """A grounder, a segmenter and a tracker; or SAM 3, which is all three."""
    grounder: Literal["manifest", "zero_shot", "manifest_or_zero_shot"] = "manifest"
    """Where boxes come from: the manifest's first box, a zero-shot detector, or the detector where there is no box."""
    box_column: str = "box"
    """The manifest's column with the first frame's box, source pixels x0, y0, x1, y1."""
    zero_shot: ZeroShotSettings = ZeroShotSettings()
    """The zero-shot detector; Grounding-DINO by default."""
    segmenter: Literal["grabcut", "sam"] = "grabcut"
    """What turns a box into a mask; GrabCut needs no weights."""
    grabcut: GrabCutSettings = field(default_factory=GrabCutSettings)
    """GrabCut's settings."""
    sam: SamSettings = SamSettings()
    """Segment Anything's settings."""
    tracker: Literal["optical_flow", "reprompt", "deaot", "sam2"] = "optical_flow"
    """What carries the mask through the clip; optical_flow needs no weights, reprompt only the segmenter's."""
    optical_flow: OpticalFlowSettings = field(default_factory=OpticalFlowSettings)
    """The flow tracker's settings."""
    reprompt: RepromptSettings = RepromptSettings()
    """The re-prompting tracker's settings."""
    deaot: DeAotSettings = DeAotSettings()
    """DeAOT's settings."""
    sam2: Sam2Settings = Sam2Settings()
    """SAM 2's settings."""
    sam_track: SamTrackSettings = SamTrackSettings()
    """Key frames, instances, agreement."""
    sam3: Sam3Settings = Sam3Settings()
    """SAM 3's settings."""


def models_in_use(answer: AnswerSettings, mask: MaskSettings) -> tuple[dict[str, HubModelSettings], dict[str, Path]]:
    """Return what the settings ask for by the setting's name: models (hub ids or folders), and weights files."""
    models: dict[str, HubModelSettings] = {}
    files: dict[str, Path] = {}
    if answer.backend == "image_text":
        models["answer.image_text.model"] = answer.image_text
    if mask.backend == "sam3":
        models["mask.sam3.model"] = mask.sam3
        return models, files
    if mask.grounder != "manifest":
        models["mask.zero_shot.model"] = mask.zero_shot
    if mask.segmenter == "sam":
        files["mask.sam.weights"] = mask.sam.weights
    if mask.tracker == "sam2":
        models["mask.sam2.model"] = mask.sam2
    if mask.tracker == "deaot":
        files["mask.deaot.weights"] = mask.deaot.weights
    return models, files
