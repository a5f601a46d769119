"""What a curation run leaves, told so that a test which compares two runs says what of which clip differs."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from magdiff_curation.clips.atomic import list_files, read_many


def products(output: Path, suffixes: tuple[str, ...] = (".tar", ".json")) -> dict[str, str]:
    """Return the shards, indexes and lists in an output folder: JSON as text, other bytes by their hash.

    A shard counts whole and member by member.
    """
    names = sorted(name for name in list_files(output) if "/" not in name and name.endswith(suffixes))
    told: dict[str, str] = {}
    for name, content in zip(names, read_many([output / name for name in names]), strict=True):
        told[name] = _tell(name, content)
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(content)) as shard:
                for member in shard:
                    file = shard.extractfile(member)
                    assert file is not None, f"{name} holds {member.name}, which is no file"
                    told[f"{name}: {member.name}"] = _tell(member.name, file.read())
    return told


def _tell(name: str, content: bytes) -> str:
    return (
        content.decode() if name.endswith(".json") else f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"
    )
