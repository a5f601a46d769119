"""What a video was made from, as JSON beside it: `dog.mp4.json` for `dog.mp4`.

`request` is all that shapes the video, files and models by their digests; `made` is what else one may want to know.
The sidecar is written after the video: a sidecar with a request says that its video is whole and made from that.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magdiff_curation.clips.atomic import sha256_hex, write_atomic
from magdiff_curation.digests import model_digest

PACKAGES = ("magdiff-model", "magdiff-curation", "torch", "diffusers", "transformers")


def sidecar_path(output: Path) -> Path:
    """Return where the sidecar of a video, or of a folder of frames, lies."""
    return output.with_name(f"{output.name}.json")


def read_request(output: Path) -> dict[str, Any] | None:
    """Return what a video was made from, or None where it is not there, not whole, or not known."""
    try:
        request = json.loads(sidecar_path(output).read_bytes())["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return request if isinstance(request, dict) and output.exists() else None


def disown(output: Path) -> None:
    """Say in a sidecar, before a video is written, that it is not whole yet; it also marks a folder as ours."""
    write_atomic(sidecar_path(output), b"{}\n")


def write_sidecar(output: Path, request: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Write a video's sidecar; the video must be there already."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    content = {"request": request, "made": {**made, "versions": versions}}
    write_atomic(sidecar_path(output), json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def checkpoint_digest(folder: Path) -> str:
    """Return the digest of a pipeline's parts; what else lies in its folder, such as a run's state, does not count."""
    index = json.loads((folder / "model_index.json").read_bytes())
    parts = {name: model_digest(folder / name) for name in sorted(index) if (folder / name).is_dir()}
    return sha256_hex(json.dumps([index, parts], sort_keys=True).encode())[:12]
