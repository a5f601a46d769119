"""Damaged and hostile video files, made on the spot and the same for the same seed; each with its right reasons.

`write_hostile` makes as many as are asked for, one kind after another. Sources are small, so the resolution rule must
let 64 px pass. Playlists and references point at `targets/` and at a port of this machine: nothing may open either.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from magdiff_curation.clips.masks import bounding_box
from magdiff_curation.clips.video import encode
from magdiff_curation.toyworld.scene import render, sample_scene

HEIGHT, WIDTH, NUM_FRAMES = 96, 160, 48
Rng = np.random.Generator
Packets = list[tuple[bytes, bool]]


def write_hostile(folder: Path, count: int, seed: int, port: int = 9) -> dict[str, set[str]]:
    """Write files of every kind in turn; return file name -> right reasons. Not all are regular files."""
    targets = folder / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    (targets / "secret.mp4").write_bytes(base_mp4(0))
    names = list(KINDS)
    right = {}
    for index in range(count):
        kind = names[index % len(names)]
        make, reasons = KINDS[kind]
        path = folder / f"{kind}-{index:03d}.mp4"
        path_or_bytes = make(np.random.default_rng([seed, index]), path, port)
        if path_or_bytes is not None:
            path.write_bytes(path_or_bytes)
        right[path.name] = reasons
    return right


def write_good(folder: Path, count: int, seed: int) -> list[dict[str, object]]:
    """Write toyworld clips that must be kept, in all the containers and some codecs; return their manifest's rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        suffix, codec = GOOD[index % len(GOOD)]
        scene = sample_scene(seed, index)
        frames, masks = render(scene, height=HEIGHT, width=WIDTH, num_frames=NUM_FRAMES)
        name = f"good-{index:03d}.{suffix}"
        (folder / name).write_bytes(encode(frames, 24) if codec == "" else mux(frames, suffix, codec))
        rows.append(
            {"video": name, "caption": scene.caption, "answer": f"a {scene.noun}", "box": bounding_box(masks[0])}
        )
    return rows


GOOD = [("mp4", ""), ("mp4", "libx264"), ("mov", "libx264"), ("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"),
        ("ts", "libx264"), ("mp4", "mpeg4"), ("mov", "mjpeg"), ("webm", "libvpx-vp9")]  # fmt: skip


def mux(
    frames: np.ndarray, suffix: str, codec: str, options: dict[str, str] | None = None, title: str = "", aspect: int = 1
) -> bytes:
    """Return frames, uint8 [F, H, W, 3], as a file of 24 frames per second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{suffix}"
        with av.open(str(path), "w", options={"fflags": "+bitexact"} | (options or {})) as container:
            if title:
                container.metadata["title"] = title
            stream = container.add_stream(codec, rate=24)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24", "gif": "rgb8", "rawvideo": "rgb24"}.get(
                codec, "yuv420p"
            )
            stream.codec_context.thread_count = 1
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
            if codec == "libx264":
                stream.options = {"preset": "ultrafast", "bf": "2", "g": "12"}
            elif codec.startswith("libvpx"):
                stream.options = {"deadline": "realtime", "cpu-used": "8"}
            for image in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            container.mux(stream.encode(None))
        return path.read_bytes()


def packets_of(frames: np.ndarray, codec: str) -> Packets:
    """Return encoded frames and whether each is a key frame."""
    with av.open(io.BytesIO(mux(frames, "mkv", codec))) as container:
        return [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]


def from_packets(packets: Packets, suffix: str, codec: str, times: list[int], rate: int, like: np.ndarray) -> bytes:
    """Return a file of the given packets at the given times, in 1/rate s, with the header of `like`'s encoding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{suffix}"
        with (
            av.open(io.BytesIO(mux(like[:2], "mkv", codec))) as template,
            av.open(str(path), "w", options={"fflags": "+bitexact"}) as container,
        ):
            stream = container.add_stream_from_template(template.streams.video[0])
            stream.time_base = Fraction(1, rate)
            stream.codec_context.framerate = Fraction(rate)
            for (content, is_keyframe), time in zip(packets, times, strict=True):
                packet = av.Packet(content)
                packet.pts = packet.dts = time
                packet.duration = 1
                packet.time_base = Fraction(1, rate)
                packet.is_keyframe = is_keyframe
                packet.stream = stream
                container.mux(packet)
        return path.read_bytes()


@functools.cache
def base_frames(variant: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return render(sample_scene(99, variant), height=height, width=width, num_frames=NUM_FRAMES)[0]


@functools.cache
def base_mp4(variant: int, faststart: bool = False, title: str = "") -> bytes:
    options = {"movflags": "faststart"} if faststart else {}
    return mux(base_frames(variant), "mp4", "libx264", options, title)


def variant_of(rng: Rng) -> int:
    return int(rng.integers(4))


def media(content: bytes) -> tuple[int, int]:
    """Return where the frames of an mp4 begin and end."""
    at = content.index(b"mdat")
    (size,) = struct.unpack(">I", content[at - 4 : at])
    return at + 4, at - 4 + size


def cut(content: bytes, rng: Rng, start: int = 0) -> bytes:
    """Return a file that ends somewhere between 10 and 90 % of what comes after `start`."""
    return content[: start + int((len(content) - start) * rng.uniform(0.1, 0.9))]


def patched(content: bytes, kind: bytes, offset: int, *values: int) -> bytes:
    """Return an mp4 with numbers of 32 bits overwritten, `offset` after a box's name."""
    at = content.index(kind) + 4 + offset
    return content[:at] + struct.pack(f">{len(values)}I", *values) + content[at + 4 * len(values) :]


def index_lost(rng: Rng, path: Path, port: int) -> bytes:
    content = base_mp4(variant_of(rng))
    start, end = media(content)
    return content[: int(rng.integers(start, end))]


def media_cut(rng: Rng, path: Path, port: int) -> bytes:
    content = base_mp4(variant_of(rng), faststart=True)
    return cut(content, rng, media(content)[0])


def title_that_looks_like_a_log(rng: Rng, path: Path, port: int) -> bytes:
    stream = f"Input stream #0:0 (video): {NUM_FRAMES} packets read (1 bytes); {NUM_FRAMES} frames decoded"
    content = base_mp4(0, faststart=True, title=f"\n[in#0/x @ 0x1]   {stream}; 0 decode errors; \n")
    return cut(content, rng, media(content)[0])


def bytes_flipped(rng: Rng, path: Path, port: int) -> bytes:
    content = np.frombuffer(base_mp4(variant_of(rng), faststart=bool(rng.integers(2))), np.uint8).copy()
    start, end = media(content.tobytes())
    places = rng.integers(start + (end - start) // 4, end, size=(end - start) // 20)
    content[places] ^= rng.integers(1, 256, size=len(places), dtype=np.uint8)
    return content.tobytes()


def garbage(rng: Rng, path: Path, port: int) -> bytes:
    return rng.bytes(int(rng.integers(1, 50_000)))


def empty(rng: Rng, path: Path, port: int) -> bytes:
    return b""


def concat_list(rng: Rng, path: Path, port: int) -> bytes:
    return b"ffconcat version 1.0\nfile targets/secret.mp4\n"


def playlist(rng: Rng, path: Path, port: int) -> bytes:
    target = f"http://127.0.0.1:{port}/{path.name}.ts" if rng.integers(2) else str(path.parent / "targets/secret.mp4")
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n".encode()


def dash_manifest(rng: Rng, path: Path, port: int) -> bytes:
    url = f"http://127.0.0.1:{port}/{path.name}"
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration='
        f'"PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{url}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def pixel_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """16384x16384 px in a few kilobytes: from the start, or only from the third frame on."""
    frames = base_frames(0)[:12]
    packets = packets_of(frames, "mjpeg")
    first = int(rng.integers(2)) * 3
    packets = [(huge(content) if index >= first else content, key) for index, (content, key) in enumerate(packets)]
    suffix = ["avi", "mov", "mkv"][int(rng.integers(3))]
    return from_packets(packets, suffix, "mjpeg", list(range(12)), 24, frames)


def huge(picture: bytes) -> bytes:
    """Return a JPEG whose header says 16384x16384."""
    at = picture.index(b"\xff\xc0") + 5
    return picture[:at] + struct.pack(">HH", 16384, 16384) + picture[at + 4 :]


def aspect_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """A small frame whose pixels are declared to be thousands of times as wide as high."""
    content = mux(base_frames(variant_of(rng))[:12], "mp4", "mpeg4", aspect=2)
    return patched(content, b"pasp", 0, int(rng.integers(1000, 30_000)), 1)


def duration_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """Twelve frames that are hours apart."""
    frames = base_frames(0)[:12]
    step = 24 * 3600 * int(rng.integers(1, 10))
    return from_packets(packets_of(frames, "mpeg4"), "mp4", "mpeg4", [step * i for i in range(12)], 24, frames)


@functools.cache
def many_frames(suffix: str) -> bytes:
    like = np.full((2, 64, 64, 3), 128, np.uint8)
    (packet, _), _ = packets_of(like, "mpeg4")
    return from_packets([(packet, True)] * 60_500, suffix, "mpeg4", list(range(60_500)), 1000, like)


def frame_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """60,500 tiny frames at 1000 a second."""
    return many_frames(["mp4", "mkv"][int(rng.integers(2))])


@functools.cache
def large_clip() -> bytes:
    like = np.full((2, 2048, 4096, 3), 128, np.uint8)
    key, same = packets_of(like, "libvpx")
    return from_packets([key] + [same] * 2949, "mkv", "libvpx", list(range(2950)), 25, like)


def decoded_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """A clip under all other limits: small as a file, gigabytes when a worker decodes it."""
    return large_clip()


def more_declared(rng: Rng, path: Path, port: int) -> bytes:
    content = base_mp4(variant_of(rng), faststart=True)
    more = NUM_FRAMES + int(rng.integers(1, 20))
    return patched(content, b"stts", 8, more) if rng.integers(2) else patched(content, b"stsz", 8, more)


def count_bomb(rng: Rng, path: Path, port: int) -> bytes:
    content = base_mp4(variant_of(rng), faststart=True)
    count = int(rng.integers(10**7, 2**31))
    return patched(content, b"stts", 8, count) if rng.integers(2) else patched(content, b"stsz", 4, 10, count)


def chunk_bomb(rng: Rng, path: Path, port: int) -> bytes:
    """As above, and the first chunk holds them all: an index of hundreds of megabytes, or of gigabytes."""
    count = int(rng.integers(10**7, 10**8))
    return patched(patched(base_mp4(0, faststart=True), b"stsz", 4, 1, count), b"stsc", 12, count)


def audio_only(rng: Rng, path: Path, port: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / ["x.mp4", "x.mkv"][int(rng.integers(2))]
        with av.open(str(written), "w", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream("aac", rate=16_000, layout="mono")
            for index in range(20):
                sound = rng.uniform(-0.1, 0.1, (1, 1024)).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16_000, 1024 * index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return written.read_bytes()


def other_codec(rng: Rng, path: Path, port: int) -> bytes:
    suffix, codec = [("mov", "png"), ("mkv", "ffv1"), ("avi", "rawvideo"), ("avi", "ffv1")][int(rng.integers(4))]
    return mux(base_frames(variant_of(rng))[:12], suffix, codec)


def other_container(rng: Rng, path: Path, port: int) -> bytes:
    frames = base_frames(variant_of(rng))[:12]
    suffix, codec = [("gif", "gif"), ("flv", "flv"), ("nut", "mpeg4"), ("asf", "mpeg4"), ("swf", "flv")][
        int(rng.integers(5))
    ]
    return mux(frames, suffix, codec)


def no_video(rng: Rng, path: Path, port: int) -> bytes:
    if rng.integers(2):
        return b"A clip of a dog that runs over a lawn.\n" * int(rng.integers(1, 500))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("clip.mp4"), base_mp4(0))
    return packed.getvalue()


def size_changes(rng: Rng, path: Path, port: int) -> bytes:
    small, large = base_frames(0)[:20], base_frames(0, HEIGHT, 192)[:20]
    if rng.integers(2):
        large = base_frames(0, 2 * HEIGHT, 2 * WIDTH)[:20]
    suffix, codec = [("mp4", "mjpeg"), ("avi", "mjpeg"), ("mkv", "libvpx")][int(rng.integers(3))]
    packets = packets_of(small, codec) + packets_of(large, codec)
    return from_packets(packets, suffix, codec, list(range(len(packets))), 24, small)


def outside_reference(rng: Rng, path: Path, port: int) -> bytes:
    """A mov that says its frames lie in another file, there in full."""
    content = base_mp4(0)
    at = content.index(b"dref") - 4
    target = str(path.parent / "targets/secret.mp4")
    if rng.integers(2):
        entry = struct.pack(">I", 12 + len(target) + 1) + b"url \0\0\0\0" + target.encode() + b"\0"
    else:
        # A Macintosh alias: 150 bytes, then tagged strings, of which FFmpeg follows the one with tag 18.
        body = bytes(150) + struct.pack(">hH", 18, len(target)) + target.encode()
        body += b"\0" * (len(target) % 2) + struct.pack(">hH", -1, 0)
        entry = struct.pack(">I", 12 + len(body)) + b"alis\0\0\0\0" + body
    old_size = struct.unpack(">I", content[at : at + 4])[0]
    new = struct.pack(">I", 16 + len(entry)) + b"dref" + struct.pack(">II", 0, 1) + entry
    grown = len(new) - old_size
    content = content[:at] + new + content[at + old_size :]
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        where = content.index(kind) - 4
        size = struct.unpack(">I", content[where : where + 4])[0]
        content = content[:where] + struct.pack(">I", size + grown) + content[where + 4 :]
    return content


def pipe(rng: Rng, path: Path, port: int) -> None:
    os.mkfifo(path)


def folder(rng: Rng, path: Path, port: int) -> None:
    path.mkdir()


def dead_link(rng: Rng, path: Path, port: int) -> None:
    path.symlink_to(path.parent / "targets/nothing.mp4")


def other_cut(rng: Rng, path: Path, port: int) -> bytes:
    suffix, codec = [("mkv", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("mkv", "mpeg4")][int(rng.integers(4))]
    return cut(good_bytes(variant_of(rng), suffix, codec), rng)


def middle_lost(rng: Rng, path: Path, port: int) -> bytes:
    """A file without its middle third: the end still tells the whole length."""
    suffix, codec = [("ts", "libx264"), ("mkv", "libx264"), ("ts", "mpeg2video")][int(rng.integers(3))]
    content = good_bytes(variant_of(rng), suffix, codec)
    third = len(content) // 3 // 188 * 188
    return content[:third] + content[2 * third :]


@functools.cache
def good_bytes(variant: int, suffix: str, codec: str) -> bytes:
    return mux(base_frames(variant), suffix, codec)


def late_frame(rng: Rng, path: Path, port: int) -> bytes:
    """The header says half a second, and the last frame comes after ten hours."""
    frames = base_frames(0)[:12]
    times = [*range(11), 24 * 36_000]
    content = from_packets(packets_of(frames, "mpeg4"), "mkv", "mpeg4", times, 24, frames)
    at = content.index(b"\x44\x89\x88") + 3
    content = content[:at] + struct.pack(">d", 500.0) + content[at + 8 :]
    return content.replace(b"10:00:00.", b"00:00:00.")


UNREADABLE, REFUSED, LIMIT = {"source_unreadable"}, {"source_refused"}, {"limit_exceeded"}
BROKEN = {"source_unreadable", "frames_missing"}
Maker = Callable[[Rng, Path, int], bytes | None]
KINDS: dict[str, tuple[Maker, set[str]]] = {
    "index_lost": (index_lost, UNREADABLE),
    "media_cut": (media_cut, BROKEN),
    "bytes_flipped": (bytes_flipped, BROKEN),
    "log_in_title": (title_that_looks_like_a_log, BROKEN),
    "other_cut": (other_cut, BROKEN),
    "middle_lost": (middle_lost, BROKEN),
    "more_declared": (more_declared, BROKEN),
    "late_frame": (late_frame, BROKEN),
    "garbage": (garbage, UNREADABLE | REFUSED),
    "empty": (empty, UNREADABLE),
    "no_video": (no_video, UNREADABLE | REFUSED),
    "concat_list": (concat_list, REFUSED),
    "playlist": (playlist, REFUSED),
    "dash_manifest": (dash_manifest, REFUSED),
    "outside_reference": (outside_reference, REFUSED),
    "audio_only": (audio_only, REFUSED),
    "other_codec": (other_codec, REFUSED),
    "other_container": (other_container, REFUSED),
    "size_changes": (size_changes, REFUSED),
    "pipe": (pipe, REFUSED),
    "folder": (folder, REFUSED),
    "dead_link": (dead_link, {"source_missing"}),
    "pixel_bomb": (pixel_bomb, LIMIT),
    "aspect_bomb": (aspect_bomb, LIMIT),
    "count_bomb": (count_bomb, LIMIT),
    "chunk_bomb": (chunk_bomb, LIMIT),
    "frame_bomb": (frame_bomb, LIMIT),
    "duration_bomb": (duration_bomb, {"too_long"}),
    "decoded_bomb": (decoded_bomb, {"too_long"}),
}
