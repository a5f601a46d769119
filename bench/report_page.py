"""How soon the curation report is usable: a made-up ledger of 5,000 inputs, its page, and a headless Chromium.

python bench/report_page.py                      make the page, open it from disk, check it, take pictures of it
python bench/report_page.py --rows 100000
python bench/report_page.py --output data/curated   the page of a real run; nothing of it is checked

Prints the time from opening the file to a table that can be used, as the page's own clock has it, and checks that
links with a search or a filter show the right number of rows. Pictures (light, dark, phone) go to data/bench/report/.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.video import encode
from magdiff_curation.report import write_report

FOLDER = Path("data/bench/report")
SUBJECTS = {
    "person": "woman man person girl boy surfer dancer child chef runner cyclist farmer couple bride",
    "animal": "dog cat horse bird elephant fish bear lion cow sheep butterfly turtle deer fox monkey owl",
    "object": "car boat train cup bicycle airplane bus laptop guitar clock drone tractor candle balloon",
    "other": "tree flower waterfall mountain leaf cloud wave fire mushroom coral sunflower",
}
LOSSES = [
    ("normalize", "dropped", "short_side_too_small", 9), ("normalize", "dropped", "static_clip", 3),
    ("normalize", "dropped", "too_short", 2), ("normalize", "failed", "source_unreadable", 0.6),
    ("normalize", "failed", "frames_missing", 0.4), ("answer", "failed", "worker_died", 0.1),
    ("label", "dropped", "label_without_meaning", 4), ("label", "dropped", "label_missing", 1),
    ("mask", "dropped", "subject_not_found", 7), ("mask", "dropped", "area_too_small", 11),
    ("mask", "dropped", "area_too_large", 8), ("mask", "dropped", "subject_lost", 3),
    ("commit", "dropped", "duplicate", 1),
]  # fmt: skip
ORDER = ("normalize", "answer", "label", "mask", "commit")
COSTS = {"normalize": 1.3, "answer": 0.4, "label": 0.02, "mask": 3.1}


def make_row(index: int, draw: random.Random) -> dict[str, Any]:
    """Return one plausible row of the ledger."""
    reasons = [*LOSSES, ("commit", "kept", "kept", 50)]
    stage, status, reason, _ = draw.choices(reasons, [weight for *_, weight in reasons])[0]
    passed = ORDER[: ORDER.index(stage) + 1]
    category = draw.choices(list(SUBJECTS), [45, 25, 18, 12])[0]
    names = SUBJECTS[category].split()
    label = names[min(len(names) - 1, int(draw.expovariate(0.35)))]
    place = draw.choice(["the beach", "a forest", "a busy street", "the kitchen", "a field at sunset", "the snow"])
    more = draw.choice(["", " while the camera moves slowly", " in slow motion", ", seen from above, on a cloudy day"])
    width, height = draw.choice([(1920, 1080), (3840, 2160), (1280, 720), (1080, 1920), (640, 360)])
    scores: dict[str, float] = {"motion": round(draw.expovariate(12), 5)}
    if "label" in passed:
        scores |= {"answer_similarity": round(draw.uniform(0.3, 1), 6), "noun_similarity": round(draw.random(), 6)}
    if "mask" in passed:
        scores |= {"grounding": round(draw.uniform(0.3, 1), 6), "area_ratio_mean": round(draw.betavariate(2, 5), 6)}
    labelled = "mask" in passed
    seconds = {name: round(mean * draw.lognormvariate(0, 0.5), 4) for name, mean in COSTS.items() if name in passed}
    return {
        "source": f"pexels/{index // 1000:03d}/{draw.randrange(10**7):07d}_{index}.mp4",
        "status": status, "stage": stage, "reason": reason,
        "detail": "" if status == "kept" else f"made-up detail of {reason}, {draw.random():.3f}",
        "key": f"{draw.getrandbits(128):032x}", "caption": f"a {label} moves through {place}{more}",
        "answer": f"a {label}", "nouns": label, "label": label if labelled else "",
        "label_source": "answer" if labelled else "", "category": category if labelled else "",
        "source_width": width, "source_height": height, "width": 910, "height": 512,
        "num_frames": min(3000, int(25 * draw.lognormvariate(2.3, 0.5))), "frame_rate": 25.0,
        "scores": json.dumps(scores), "seconds": json.dumps(seconds),
        "thresholds": json.dumps({"min_short_side_px": 512, "min_area_ratio": 0.05, "max_area_ratio": 0.6}),
        "models": json.dumps({"answer": "Salesforce/blip2-opt-2.7b@0123abc", "mask": "facebook/sam2.1-hiera@4567def"}),
        "cpu_seconds": json.dumps({name: round(value * 0.9, 4) for name, value in seconds.items()}),
        "gpu_seconds": json.dumps({name: seconds[name] for name in ("answer", "mask") if name in seconds}),
        "settings_sha256": "5e77" * 16,
    }  # fmt: skip


def make_ledger(folder: Path, num_rows: int) -> list[dict[str, Any]]:
    """Write a ledger of made-up rows and return them."""
    draw = random.Random(7)
    rows = [make_row(index, draw) for index in range(num_rows)]
    folder.mkdir(parents=True, exist_ok=True)
    # One small source stands for all, so that the page carries as many pictures as a real one.
    ramp = np.linspace(0, 255, 320 * 180 * 3).reshape(180, 320, 3)
    write_atomic(folder / "source.mp4", encode([(ramp + 9 * i).astype(np.uint8) for i in range(25)], 25))
    for row in rows:
        row["path"] = str((folder / "source.mp4").resolve())
    pq.write_table(pa.Table.from_pylist(rows), folder / "ledger.parquet")
    return rows


def chromium(address: str, *options: str, size: str = "1280,900") -> str:
    """Open an address in a fresh headless browser and return what it prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            "/usr/bin/chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={profile}", f"--window-size={size}", "--hide-scrollbars", *options, address,
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


def opened(page: Path, **link: str) -> tuple[int, int]:
    """Return milliseconds until the page was ready, and the rows that its table says it shows."""
    address = page.resolve().as_uri() + (f"#?{urlencode(link)}" if link else "")
    dom = chromium(address, "--dump-dom")
    ready = re.search(r'<html[^>]*data-ready="(\d+)"', dom)
    count = re.search(r'id="found"[^>]*data-count="(\d+)"', dom)
    if not (ready and count):
        raise RuntimeError(f"the page's script did not reach its end: {dom[:300]}")
    return int(ready[1]), int(count[1])


def check(page: Path, rows: list[dict[str, Any]]) -> None:
    """Compare what the page finds with what the rows hold."""
    expected = {
        "reason": ("area_too_small", sum(row["reason"] == "area_too_small" for row in rows)),
        "status": ("failed", sum(row["status"] == "failed" for row in rows)),
        "label": ("dog", sum(row["label"] == "dog" for row in rows)),
        "category": ("animal", sum(row["category"] == "animal" for row in rows)),
        "search": ("kitchen dog", sum("kitchen" in row["caption"] and "dog" in row["caption"] for row in rows)),
    }
    for name, (value, count) in expected.items():
        _, found = opened(page, **{name: value})
        print(f"{name} {value!r}: {found} rows, {'right' if found == count else f'WRONG, expected {count}'}")
        assert found == count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--output", type=Path, help="a real run's output folder, instead of made-up rows")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = arguments.output or FOLDER / f"rows-{arguments.rows}"
    rows = [] if arguments.output else make_ledger(folder, arguments.rows)
    begun = time.perf_counter()
    page = write_report(folder)
    print(f"wrote {page} in {time.perf_counter() - begun:.1f} s, {page.stat().st_size / 1e6:.2f} MB")
    times = sorted(opened(page)[0] for _ in range(3))
    print(f"usable after {times[1]} ms (median of {times})")
    if rows:
        check(page, rows)
    name = "real-" if arguments.output else ""
    dark = "--blink-settings=preferredColorScheme=0"
    address = page.resolve().as_uri()
    # A headless window is never narrower than 500 px; a frame can be.
    frame = (FOLDER / "phone.html").resolve()
    frame.write_text(f'<body style="margin:0"><iframe src="{address}" width="390" height="8990" style="border:0">')
    for kind, shown, options in (("light", address, []), ("dark", address, [dark]), ("phone", frame.as_uri(), [])):
        picture = (FOLDER / f"{name}{kind}.png").resolve()
        size = "500,9000" if kind == "phone" else "1280,9000"
        chromium(shown, f"--screenshot={picture}", "--virtual-time-budget=3000", *options, size=size)
        print(f"wrote {picture}")


if __name__ == "__main__":
    main()
