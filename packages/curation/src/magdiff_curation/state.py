"""What is known of one input as it passes through the stages; a row of the Ray dataset is one of these as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, sha256_hex
from magdiff_curation.reasons import ClipRejected, Reason


@dataclass(kw_only=True)
class ClipState:
    """One input. Stages fill it in; a set `status` means that it is decided and no later stage touches it."""

    source: str
    """The input's name: its path relative to the folder or manifest (with #2, #3 where a path comes again)."""
    path: str
    """Where the file is."""
    caption: str
    fields: dict[str, Any]
    """The manifest's other columns."""
    start_seconds: float = 0.0
    """Where the clip begins in its source."""
    end_seconds: float | None = None
    """Where it ends (exclusive); None is the source's end."""
    size_bytes: int = -1
    modified_ns: int = -1
    settings_sha256: str = ""

    source_sha256: str = ""
    key: str = ""
    source_width: int = 0
    source_height: int = 0
    width: int = 0
    height: int = 0
    num_frames: int = 0
    frame_rate: float = 0.0
    fingerprint: str = ""
    """What the clip looks like, for near-duplicates; empty where they are not looked for."""
    made_caption: str = ""
    """What a model said of the first frame where the input has no caption."""
    answer: str = ""
    nouns: list[str] = field(default_factory=list)
    label: str = ""
    label_source: str = ""
    category: str = ""
    augmented_caption: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    """Stage -> model and revision."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> wall time of making its result, in this run or the one that made it."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> processor time, children included."""
    gpu_seconds: dict[str, float] = field(default_factory=dict)
    """Stage -> wall time on the share of a GPU that its worker reserves."""
    reused: list[str] = field(default_factory=list)
    """Stages whose results an earlier run had made."""

    stage: str = ""
    """The last stage that the clip went through, or that decided it."""
    status: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def row_id(self) -> str:
        """Name of this input under these settings: the name its commit goes by, 24 hexadecimal digits."""
        identity = [self.source, self.caption, self.fields, self.size_bytes, self.modified_ns, self.settings_sha256]
        return sha256_hex(canonical_json(identity))[:24]

    @property
    def caption_text(self) -> str:
        """The input's caption, or the one that was made for it."""
        return self.caption or self.made_caption

    def reject(self, reason: Reason, detail: str) -> None:
        """Decide this input, for a reason other than being kept."""
        rejection = ClipRejected(reason, detail)
        self.status, self.reason, self.detail = rejection.status, rejection.reason, rejection.detail

    def to_json(self) -> str:
        """Return the state's one JSON form."""
        return canonical_json(dataclasses.asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> ClipState:
        """Return the state of its JSON form."""
        return cls(**json.loads(text))
