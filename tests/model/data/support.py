"""What the tests of the loader share: sets of shards, samples of them, and a web server that can misbehave."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from magdiff_curation.clips.atomic import sha256_hex
from magdiff_curation.clips.index import ShardList, save_shard_list
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_model.data.batch import Batch
from magdiff_model.data.samples import ClipSamples, DataSettings
from magdiff_model.data.shards import find_shards
from magdiff_model.data.subjects import SubjectSettings

SUBJECT = SubjectSettings(size_px=32, clip_size_px=24)


def samples_of(source: Path | str, held_out: bool = False, **settings: object) -> ClipSamples:
    chosen = DataSettings(**{"frame_stride": 2, "seed": 5} | settings)
    return ClipSamples(find_shards([str(source)]), chosen, SUBJECT, (4, 8, 8), 1000, held_out)


def equal(left: Batch, right: Batch) -> bool:
    tensors = ("frames", "filled", "clip_pictures", "noise", "timesteps")
    return (
        (left.keys, left.captions, left.skipped) == (right.keys, right.captions, right.skipped)
        and all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors)
        and all(torch.equal(a, b) for a, b in zip(left.pyramid, right.pyramid, strict=True))
    )


def write_set(folder: Path, shards: list[list[Clip]]) -> Path:
    """Write clips as a set, one list a shard."""
    indexes = [
        write_shard(
            folder / f"clips-{number:06d}.tar",
            ((clip.record.key, pack_sample(clip.record.key, clip.to_members())) for clip in clips),
        )
        for number, clips in enumerate(shards)
    ]
    listing = ShardList(
        shards=tuple(index.shard for index in indexes),
        index_sha256=tuple(sha256_hex(index.to_json()) for index in indexes),
        num_samples=tuple(len(index.samples) for index in indexes),
        settings_sha256="",
    )
    save_shard_list(folder, listing)
    return folder


@dataclass
class Web:
    """A folder on http://127.0.0.1, and how it is served."""

    folder: Path
    url: str = ""
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """The answers to come for tars end after so many bytes, though they promise all of them."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """Names, and the first byte asked for."""


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, web: Web) -> None:
        self.web = web
        super().__init__(*arguments, directory=str(web.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.web.asked.append((path.name, int(asked[1]) if asked else 0))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        partial = bool(asked and self.web.ranges)
        if asked and partial:
            content = content[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.web.cuts.pop(0) if self.web.cuts and path.suffix == ".tar" else None
        self.wfile.write(content[:cut])

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(web: Web) -> Iterator[Web]:
    """Serve a folder while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, web=web))
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
