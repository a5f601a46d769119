"""Where the subject is, found by curation's own models: by its name, or from a box in the first frame.

By name, a detector finds it, a segmenter draws it and a tracker follows it; with a box, the detector is left out.
`vision` says which models do this, as curation is told: one of its presets, or a YAML file of its settings, of which
the `mask` section counts. Without it, a name is looked for by the preset `full`, and a box is cut out by GrabCut and
followed by optical flow, which need no weights. Models are loaded when they are first needed, and kept. No Ray.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from magdiff_curation.clips.masks import Box, Frames, Masks
from magdiff_model.media import vision_packages

if TYPE_CHECKING:
    from magdiff_curation.backends import Masker
    from magdiff_curation.vision_config import MaskSettings

GIVE_IT = "say where it is by --box, or give a mask"
REMEDIES = {
    "subject_not_found": f"try another word for it, such as 'person' for 'chef'; or {GIVE_IT}",
    "several_subjects": GIVE_IT,
    "subject_enters_late": f"cut the video to where it is in sight; or {GIVE_IT}",
    "subject_lost": f"take fewer frames, by --num-frames or --frame-stride; or {GIVE_IT}",
    "box_unusable": "give --box x0 y0 x1 y1 in the source's own pixels, around the subject in the first frame",
}
"""What to try, by curation's reasons."""


class SubjectNotFound(ValueError):
    """The models looked, and there is no such subject, or not throughout."""


class SubjectFinder:
    """Finds subjects with the models that `vision` names: a preset, a YAML file, or None for the defaults."""

    def __init__(self, vision: str | None = None) -> None:
        self.vision = vision
        self._read: dict[str, MaskSettings] = {}
        self._maskers: dict[MaskSettings, Masker] = {}

    def settings(self, *, by_box: bool, one_picture: bool) -> MaskSettings:
        """Return curation's settings for a search from a box or by name, in one picture or a video.

        A YAML file is read once: what is written to it later is the next run's.

        Raises:
            ValueError: `vision` names nothing, or nothing that can search in this way.
        """
        vision = self.vision or ("manifest" if by_box else "full")
        if vision not in self._read:
            self._read[vision] = read_vision(vision)
        mask = self._read[vision]
        if by_box and mask.backend == "sam3":
            raise ValueError(f"--vision {vision}: SAM 3 takes names, no boxes; give --subject instead of --box")
        if by_box:
            mask = replace(mask, grounder="manifest")
        elif mask.backend == "sam_track" and mask.grounder == "manifest":
            raise ValueError(
                f"--vision {vision} has no detector, so nothing is found by name: set mask.grounder to zero_shot in "
                "it, leave --vision out, or give --box"
            )
        return replace(mask, tracker="optical_flow") if one_picture else mask  # nothing to follow: no tracker to load

    def check(self, *, by_box: bool, one_picture: bool) -> None:
        """Raise ValueError, without loading a model, where one is missing; the message says how to get it."""
        settings = self.settings(by_box=by_box, one_picture=one_picture)
        with vision_packages():
            from magdiff_curation.backends import check_models
            from magdiff_curation.vision_config import AnswerSettings
        try:
            check_models(AnswerSettings(backend="manifest"), settings)
        except ValueError as error:
            raise ValueError(f"{error}. Without it: other models by --vision, --box, or a mask") from None

    def digest(self, *, by_box: bool, one_picture: bool) -> str:
        """Return a hash of the settings and weights that shape the masks; on which device they run does not count."""
        from magdiff_curation.config import CurationSettings

        settings = without_devices(self.settings(by_box=by_box, one_picture=one_picture))
        return CurationSettings(mask=settings).stage_sha256("mask")[:12]

    def find(
        self, frames: Frames, source_size: tuple[int, int], *, label: str = "", box: Box | None = None
    ) -> tuple[Masks, dict[str, str]]:
        """Return one mask a frame, bool [F, H, W], none of them empty, and the models that made them.

        Args:
            frames: uint8 [F, H, W, 3]; a picture is one frame.
            source_size: width and height in pixels of what the box was drawn in.
            label: the subject's name, if there is no box.
            box: around the subject in the first frame.

        Raises:
            SubjectNotFound: it is not found, or is lost; says what to do.
            ValueError: models or packages are missing; says what to do.
        """
        settings = self.settings(by_box=box is not None, one_picture=len(frames) == 1)
        with vision_packages():
            from magdiff_curation.backends import new_masker
            from magdiff_curation.grounding import GroundingRequest
            from magdiff_curation.reasons import ClipRejected

            if settings not in self._maskers:
                self._maskers[settings] = new_masker(settings)
        masker, label = self._maskers[settings], label or "the subject"
        request = GroundingRequest(
            image=frames[0],
            frame=0,
            label=label,
            source_size=source_size,
            fields={} if box is None else {settings.box_column: box},
        )
        try:
            masks = masker.follow(frames, request, lambda _: None).masks
        except ClipRejected as rejected:
            detail, remedy = rejected.detail, REMEDIES.get(rejected.reason, GIVE_IT)
            if box is not None and rejected.reason == "subject_not_found":
                detail, remedy = f"nothing stands out inside box {box}", "try a tighter one, or give a mask"
            raise SubjectNotFound(f"{detail}: {remedy}") from None
        return masks, masker.models


def without_devices(settings: MaskSettings) -> MaskSettings:
    """Return the settings with every device as it is where nobody chooses one."""
    parts = {part.name: getattr(settings, part.name) for part in fields(settings)}
    return replace(
        settings, **{name: replace(part, device="auto") for name, part in parts.items() if hasattr(part, "device")}
    )


def read_vision(vision: str) -> MaskSettings:
    """Return the mask settings of one of curation's presets, or of a YAML file as `pipelines/curate.py` takes it.

    Raises:
        ValueError: neither, or a setting in it that does not exist.
    """
    with vision_packages():
        from magdiff_curation.config import PRESETS, load_settings
    if vision in PRESETS:
        preset = importlib.resources.files("magdiff_curation").joinpath("presets", f"{vision}.yaml")
        with importlib.resources.as_file(preset) as path:
            return load_settings(path).mask
    if not Path(vision).is_file():
        raise ValueError(f"--vision {vision} is neither a preset ({', '.join(PRESETS)}) nor a YAML file")
    return load_settings(Path(vision)).mask
