"""The clip: one sample of a shard, as every package of MagDiff sees it.

Four members share a key: `<key>.mp4` (the canonical clip), `<key>.json` (this record), `<key>.masks.json` (one
COCO RLE a frame) and `<key>.subject.png` (the first frame's mask, 0 or 255). The record holds nothing that
differs between two runs over the same input: no timings, no dates, no absolute paths.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from PIL import Image as PillowImage

from magdiff_curation.clips.atomic import canonical_json
from magdiff_curation.clips.masks import Masks, decode_rle, encode_rle

VIDEO, RECORD, MASKS, SUBJECT = "mp4", "json", "masks.json", "subject.png"
MEMBERS = (VIDEO, RECORD, MASKS, SUBJECT)
CATEGORIES = ("person", "animal", "object", "other")
"""The paper's four kinds of subject (Supplement C)."""


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """What is known of a clip besides its pixels and masks."""

    key: str
    """Hash of the source's bytes, the span in it and the settings that shape the clip; no dots."""
    caption: str
    augmented_caption: str
    """The caption with the subject's label appended (Supplement C)."""
    label: str
    """The subject's name, as Algorithm 1 chose it."""
    category: str
    """person, animal, object or other."""
    width: int
    height: int
    num_frames: int
    frame_rate: float
    """Frames per second."""
    scores: Mapping[str, float]
    """Every score that decided something: similarities, area ratios."""
    provenance: Mapping[str, object]
    """Source name and sha256, span, model ids and revisions, settings hash."""

    def to_json(self) -> bytes:
        """Return the record's one JSON form."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> ClipRecord:
        """Return the record of its JSON form.

        Raises:
            ValueError: not an object with exactly this record's fields.
        """
        value = json.loads(content)
        expected = {field.name for field in fields(cls)}
        found = set(value) if isinstance(value, dict) else set()
        if found != expected:
            raise ValueError(
                f"a clip record has the fields {sorted(expected)}; missing {sorted(expected - found)}, "
                f"unknown {sorted(found - expected)}"
            )
        return cls(**value)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One sample: the record, the canonical video's bytes and one mask per frame, bool [F, H, W]."""

    record: ClipRecord
    video: bytes
    masks: Masks

    def to_members(self) -> dict[str, bytes]:
        """Return the sample's members, extension -> bytes.

        Raises:
            ValueError: the masks' shape is not the record's [num_frames, height, width].
        """
        expected = (self.record.num_frames, self.record.height, self.record.width)
        if self.masks.shape != expected:
            raise ValueError(f"clip {self.record.key} has masks {self.masks.shape}, its record says {expected}")
        png = io.BytesIO()
        PillowImage.fromarray(self.masks[0].astype(np.uint8) * 255).save(png, "PNG")
        return {
            VIDEO: self.video,
            RECORD: self.record.to_json(),
            MASKS: canonical_json([encode_rle(mask) for mask in self.masks]),
            SUBJECT: png.getvalue(),
        }

    @classmethod
    def from_members(cls, members: Mapping[str, bytes]) -> Clip:
        """Return the clip of a sample's members.

        Raises:
            ValueError: a member is missing or damaged.
        """
        missing = [name for name in MEMBERS if name not in members]
        if missing:
            raise ValueError(f"the sample lacks {', '.join(missing)}; it has {', '.join(sorted(members))}")
        record = ClipRecord.from_json(members[RECORD])
        masks = np.stack([decode_rle(rle) for rle in json.loads(members[MASKS])])
        if len(masks) != record.num_frames:
            raise ValueError(f"clip {record.key} has {len(masks)} masks for {record.num_frames} frames")
        return cls(record=record, video=members[VIDEO], masks=masks)
