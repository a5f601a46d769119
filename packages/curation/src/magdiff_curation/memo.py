"""What stages found, kept under what they found it from: a changed setting computes again only what it touches.

A result's name is the hash of its stage, the settings that shape it, and its inputs (for the masks: the clip, the
label, the box). Rules are applied afterwards, to fresh and remembered results alike. A result that is found carries
the time that making it took. A few kilobytes a clip and stage, most of it masks; deleting `work/results` costs
nothing but time.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import canonical_json, read_many, sha256_hex, write_atomic


class Memo:
    """Results of stages in a folder."""

    def __init__(self, folder: Path, stage_sha256: Mapping[str, str]) -> None:
        self.folder, self.stage_sha256 = folder, stage_sha256

    def load(self, stage: str, inputs: object) -> dict[str, Any] | None:
        """Return a result, or None where it was never made, or not with these settings."""
        try:
            (content,) = read_many([self._path(stage, inputs)])
        except FileNotFoundError:
            return None
        result: dict[str, Any] = json.loads(zlib.decompress(content))
        return result

    def store(self, stage: str, inputs: object, result: Mapping[str, Any]) -> None:
        """Keep a result."""
        write_atomic(self._path(stage, inputs), zlib.compress(canonical_json(result)))

    def _path(self, stage: str, inputs: object) -> Path:
        name = sha256_hex(canonical_json([stage, self.stage_sha256[stage.split(".")[0]], inputs]))[:32]
        return self.folder / stage / name[:2] / name
