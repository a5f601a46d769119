"""Where a model is on this node: what lies on S3 is fetched once, and from then on is a folder like any other.

A model's place in the cache (`$MAGDIFF_CACHE`, by default ~/.cache/magdiff) is called after its URL and after what one
listing says of its objects: names, sizes, ETags. So other weights under the same URL get a place of their own; nothing
removes the old one. A place is filled under another name and then renamed: what has its name is whole. Of several
workers that need a model at once one fetches it, the others wait; the lock ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from magdiff_curation.clips import stores
from magdiff_curation.clips.atomic import TEMPORARY_SUFFIX, atomic_file, canonical_json, sha256_hex
from magdiff_curation.clips.location import S3, is_remote, location
from magdiff_curation.digests import DIGEST_DIGITS, model_digest

CACHE = "MAGDIFF_CACHE"
"""The environment's name for the cache: every node has its own, so it is no setting of the run."""
EVERY_NODE = "put it on storage that every node sees, or give s3://bucket/folder or a hub id"


def local_model(model: str | Path) -> str:
    """Return the path of a model that lies on S3, fetched unless it is in the cache; any other name as it is.

    Raises:
        ValueError: nothing is there, it cannot be fetched, or it is no URL of S3.
    """
    place = location(model)
    if not is_remote(place):
        return str(model)
    url = str(place).rstrip("/")
    try:
        objects = stores.versions(place)
    except FileNotFoundError:
        objects = {}
    except OSError as error:
        raise ValueError(f"model {url} cannot be listed ({error}); endpoint and keys: AWS_* on every node") from error
    if not objects:
        raise ValueError(f"there is no model at {url}: give the folder or the weights file that was uploaded")
    if any(part in ("", ".", "..") for name in objects if name for part in name.split("/")):
        raise ValueError(f"objects below {url} have names that no files can have: upload the model's folder again")
    version = sha256_hex(canonical_json([url, objects]))[:DIGEST_DIGITS]
    readable = re.sub(r"[^\w.-]+", "--", url.removeprefix(S3), flags=re.ASCII)[-160:]
    kept = _cache() / f"{readable}--{version}"
    if not kept.is_dir():
        try:
            _fetch(url, objects, kept)
        except OSError as error:
            raise ValueError(
                f"model {url} cannot be fetched to {kept.parent} on node {socket.gethostname()} ({error}); run again, "
                f"or let {CACHE} name a folder with {sum(size for size, _ in objects.values()) / 1e6:.0f} MB of room"
            ) from error
    return str(kept / url.rpartition("/")[2])


def content_name(model: str | Path) -> str | None:
    """Return "name@digest" of a model in a folder or a file on this node or on S3, or None for any other."""
    path = Path(local_model(model))
    return f"{path.resolve().name}@{model_digest(path)}" if path.exists() else None


def _cache() -> Path:
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "magdiff") / "models"


def _fetch(url: str, objects: Mapping[str, tuple[int, str]], kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Nodes that share a cache may not share locks: each fills a folder of its own, and the first rename counts.
    partial = kept.with_name(f".{kept.name}.{socket.gethostname()}{TEMPORARY_SUFFIX}")
    with kept.with_name(f".{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.is_dir():
            return
        shutil.rmtree(partial, ignore_errors=True)  # a killed worker's
        try:
            for name, (size, _) in objects.items():
                source = f"{url}/{name}" if name else url
                with atomic_file(partial / url.rpartition("/")[2] / name) as file:
                    stores.get_file(source, Path(file.name))
                    if Path(file.name).stat().st_size != size:
                        raise OSError(f"{source} broke off")
            if stores.versions(location(url)) != objects:
                raise OSError("it changed meanwhile")
            partial.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
