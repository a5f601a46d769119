"""Run folders of a benchmark, as the runner leaves them, for the tests of the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from eval.scoring.tiny import FAST, moving
from PIL import Image as PillowImage

from magdiff_curation.clips.video import encode

SCORES = ("clip-text", "error-inside")
STAMP = {"benchmark": "davis", "videos": 16}


def videos(count: int, side: int = 64) -> list[bytes]:
    """Return short H.264 videos of a moving square."""
    return [encode(moving(seed, 16, side, side), 8, FAST) for seed in range(count)]


def distinct(video: bytes, number: int, size: int) -> bytes:
    """Return the video in a file of its own content and about this size: the box at its end is skipped by players."""
    rest = np.random.default_rng(number).bytes(size - len(video) - 8)
    return video + (len(rest) + 8).to_bytes(4, "big") + b"free" + rest


def item(name: str, prompt: str, group: str = "style", task: str = "edit") -> dict[str, str]:
    return {"name": name, "group": group, "task": task, "prompt": prompt}


def row(name: str, *values: float, fault: dict[str, str] | None = None, **faults: str) -> dict[str, Any]:
    """A line of rows.jsonl; a keyword is a metric whose fault has that reason."""
    return {
        "name": name,
        "scores": dict(zip(SCORES, values, strict=False)),
        "fault": fault,
        "faults": {metric: {"reason": reason, "detail": "as it is"} for metric, reason in faults.items()},
        "video": None if fault else {"width": 64, "height": 64},
        "content": name,
    }


def write_run(
    folder: Path,
    method: str,
    items: list[dict[str, str]],
    rows: list[dict[str, Any]],
    *,
    stamp: dict[str, Any] = STAMP,
    made: dict[str, bytes] | None = None,
    given: dict[str, bytes] | None = None,
    failed: dict[str, str] | None = None,
    **results: Any,
) -> Path:
    """Write a run; `made` and `given` are files by item's name, given ones PNGs unless they are videos."""
    benchmark = str(stamp["benchmark"])
    means = {
        score: float(np.mean([line["scores"][score] for line in rows if score in line["scores"]] or [0]))
        for score in SCORES
    }
    folder.mkdir(parents=True)
    listing = {"benchmark": benchmark, "stamp": stamp, "items": items}
    (folder / "listing.json").write_text(json.dumps(listing), encoding="utf-8")
    found = {
        "benchmark": benchmark,
        "method": method,
        "scores": means,
        "intervals": {score: [mean - 0.01, mean + 0.01] for score, mean in means.items()},
        "details": {score: {"videos": len(rows)} for score in means},
        "not_comparable": {},
        "protocol": {"clip": {"about": "protocol loveu", "videos": len(rows)}, "maker": {"method": method}},
        "videos": {"found": len(rows)},
        "versions": {"magdiff-eval": "0.1.0"},
    }
    (folder / "results.json").write_text(json.dumps(found | results), encoding="utf-8")
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows), encoding="utf-8")
    if failed:
        lines = [json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in failed.items()]
        (folder / "failed.jsonl").write_text("".join(lines), encoding="utf-8")
    for kind, files in (("videos", made or {}), ("shown", given or {})):
        for name, content in files.items():
            path = folder / kind / f"{name}{'.png' if content.startswith(PNG) else '.mp4'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


PNG = b"\x89PNG"


def picture(path: Path, seed: int) -> bytes:
    """Return a PNG; it is written to `path` on the way."""
    PillowImage.fromarray(moving(seed, 1)[0]).save(path)
    return path.read_bytes()
