"""MSR-VTT: a video for each of its 2,990 test videos, from its first frame and one of its 20 captions.

`TestVideo/video7010.mp4` and `test_videodatainfo.json`, or the layouts in which others pass the set on (`VIDEOS`,
`TABLES`); a table of all 10,000 videos has the test videos by `split`, or else by their numbers. Which caption the
paper takes it does not say: here a hash of the seed and the video's id chooses, so that a choice depends on no other.
Nothing says what the subject is: labels are empty.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magdiff_eval.layouts.files import Folder, check_file, fold, read_text, unsafe
from magdiff_eval.layouts.findings import Findings, first, has_folder, some
from magdiff_eval.layouts.item import Item, Listing, items_stamp
from magdiff_eval.layouts.tables import file_stamp

VIDEOS = ("TestVideo", "test_videos/TestVideo", "test_videos", "videos/all", "videos", "MSRVTT_Videos")
TABLES = ("test_videodatainfo.json", "MSRVTT_data.json", "msrvtt_data/MSRVTT_data.json", "videodatainfo_2017.json")
"""Both in the order in which they are looked for."""
CATEGORIES = (
    *("music", "people", "gaming", "sports/actions", "news/events/politics", "education", "tv shows", "movie/comedy"),
    *("animation", "vehicles/autos", "howto", "travel", "science/technology", "animals/pets", "kids/family"),
    *("documentary", "food/drink", "cooking", "beauty/fashion", "advertisement"),
)
TEST_NUMBERS = range(7010, 10_000)
_UNPACK = "unpack MSR-VTT's test videos and annotations there"


def list_msrvtt(data: Path, *, num_videos: int | None = None, caption_seed: int = 0) -> Listing:
    """Return the videos to generate, in the order of their numbers.

    Args:
        data: the folder.
        num_videos: take only the first so many, and check no others' files.
        caption_seed: another takes other captions.
    """
    findings = Findings()
    if not has_folder(data, "MSR-VTT", "msrvtt", findings):
        return Listing(items=(), faults=tuple(findings.faults), notes=(), stamp={"benchmark": "msrvtt"})
    table = _first_of(data, TABLES, "file", findings)
    videos = Folder(_first_of(data, VIDEOS, "folder", findings))
    entries, captions, rule = _read(table, findings)
    items, odd_counts = [], []
    for number, entry in enumerate(first(entries, num_videos, "num_videos", findings)):
        name = entry["video_id"]
        source = videos.find(f"{name}.mp4")
        if source is None and videos.path.is_dir():
            findings.fault(f"there is no {videos.path / name}.mp4, which {table.name} lists: {_UNPACK}")
        elif source is not None:
            check_file(source, findings)
        said = captions.get(name, [])
        if not said:
            findings.fault(f"{table}: {name} has no caption: unpack the annotations again")
        if source is None or not said:
            continue
        odd_counts += [name] if len(said) != 20 else []
        caption = said[_choice(caption_seed, name, len(said))]
        items.append(
            Item(
                name=name,
                group=_category(entry.get("category")),
                task="generate",
                prompt=caption,
                clip_prompt=caption,
                source=source,
                label="",
                seed=number,
            )
        )
    if odd_counts:
        findings.note(f"{len(odd_counts)} videos have not the 20 captions of the set: {some(odd_counts)}")
    unlisted = {fold(path.stem) for path in videos.paths} - {fold(entry["video_id"]) for entry in entries}
    if unlisted:
        findings.note(f"{videos.path}: {len(unlisted)} files are no test videos of {table.name}, and ignored")
    findings.note(f"MSR-VTT: {len(items)} of {len(entries)} test videos ({rule}); the paper has 2,990")
    stamp: dict[str, Any] = {
        "benchmark": "msrvtt",
        "captions": {
            "table": file_stamp(table),
            "seed": caption_seed,
            "choice": "sha256 of seed:video, first 8 bytes, modulo the captions in the order of sen_id",
        },
        "split": {"rule": rule, "count": len(entries)},
        "items": items_stamp(items, data),
    }
    return Listing(items=tuple(items), faults=tuple(findings.faults), notes=tuple(findings.notes), stamp=stamp)


def _first_of(data: Path, names: Sequence[str], kind: str, findings: Findings) -> Path:
    """Return the first that is there, or the official one, which is a fault then."""
    is_there = Path.is_dir if kind == "folder" else Path.is_file
    there = [data / name for name in names if is_there(data / name)]
    if not there:
        others = ", ".join(names[1:])
        findings.fault(f"there is no {kind} {data / names[0]} (nor {others}): {_UNPACK}")
    return there[0] if there else data / names[0]


def _read(path: Path, findings: Findings) -> tuple[list[dict[str, Any]], dict[str, list[str]], str]:
    """Return the test videos by number, every video's captions, and what made a video a test video."""
    text = read_text(path, _UNPACK, findings) if path.exists() else None
    try:
        table = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        findings.fault(f"{path} is no JSON ({error}): unpack the annotations again")
        return [], {}, "none"
    videos, sentences = (table.get(key) if isinstance(table, dict) else None for key in ("videos", "sentences"))
    if not isinstance(videos, list) or not isinstance(sentences, list):
        if text:
            findings.fault(f"{path} has no lists 'videos' and 'sentences': unpack the annotations again")
        return [], {}, "none"
    found = _videos(path, videos, findings)
    rule, test = "split test", [entry for entry in found if entry.get("split") == "test"]
    if not test:
        rule = f"numbers {TEST_NUMBERS[0]} to {TEST_NUMBERS[-1]}"
        test = [entry for entry in found if _number(entry["video_id"]) in TEST_NUMBERS]
    if not test:
        findings.fault(f"{path} has no test video, by split or by number: unpack the annotations again")
    test.sort(key=lambda entry: (_number(entry["video_id"]), entry["video_id"]))
    known = {entry["video_id"] for entry in found}
    return test, _captions(path, sentences, known, findings), rule


def _videos(path: Path, entries: list[Any], findings: Findings) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        name = entry.get("video_id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or (reason := unsafe(name)):
            why = reason if isinstance(name, str) else "it is no text"
            findings.fault(f"{path}: videos[{index}] has the video_id {name!r} ({why}): mend the name")
        elif fold(name) in found:
            findings.fault(f"{path}: videos[{index}]: {name} is there already: remove one")
        else:
            found[fold(name)] = entry
    return list(found.values())


def _captions(path: Path, sentences: list[Any], known: set[str], findings: Findings) -> dict[str, list[str]]:
    """Return the captions of each video in the order of their numbers, spaces made single."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for index, sentence in enumerate(sentences):
        entry = sentence if isinstance(sentence, dict) else {}
        name, caption, number = entry.get("video_id"), entry.get("caption"), entry.get("sen_id", index)
        if not isinstance(name, str) or not isinstance(caption, str) or not isinstance(number, int):
            findings.fault(f"{path}: sentences[{index}] lacks a video_id, caption or sen_id: add what it lacks")
        elif name not in known:
            findings.fault(f"{path}: sentences[{index}] is of {name}, which is no video of the file: remove it")
        elif not caption.strip() or _has_surrogate(caption):
            what = "is no Unicode text" if caption.strip() else "is empty"
            findings.fault(f"{path}: sentences[{index}], of {name}, {what}: fill it in, or remove it")
        else:
            numbered.setdefault(name, []).append((number, " ".join(caption.split())))
    return {name: [caption for _, caption in sorted(said)] for name, said in numbered.items()}


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _choice(seed: int, name: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]) % count


def _number(name: str) -> int:
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else -1


def _category(index: object) -> str:
    """Return a category's name, `category <index>` for one that the set does not have."""
    if isinstance(index, int) and 0 <= index < len(CATEGORIES):
        return CATEGORIES[index]
    return f"category {index}"
