"""DAVIS as LOVEU-TGVE 2023 lays it out: four edits of each of 16 videos (Table 3).

`LOVEU-TGVE-2023_Dataset.csv` has a heading row before each source's videos, of which DAVIS's are taken;
`DAVIS_480p/480p_frames/<video>/00000.jpg` the frames; `Annotations/480p/<video>/00000.png` DAVIS's own masks, where a
video has them: the challenge does not ship them. Where it has none its subject is found by its label. The paper gives
neither labels nor what an edit keeps: `davis_labels.csv` has, as a singular noun, the subject of each video's own
caption, and `KEPT` is our reading.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from magdiff_eval.layouts.files import Folder, fold, unsafe
from magdiff_eval.layouts.findings import Findings, first, has_folder, some
from magdiff_eval.layouts.frames import check_frames, check_masks, sampled_frames
from magdiff_eval.layouts.item import Item, Listing, items_stamp
from magdiff_eval.layouts.tables import Row, file_stamp, read_keyed, read_rows

TABLE = "LOVEU-TGVE-2023_Dataset.csv"
EDITS = {
    "style": "Style Change Caption",
    "object": "Object Change Caption",
    "background": "Background Change Caption",
    "multiple": "Multiple Changes Caption",
}
"""Edit type -> the table's column."""
KEPT: dict[str, Literal["subject", "surroundings"]] = {
    "style": "subject",
    "object": "surroundings",
    "background": "subject",
    "multiple": "subject",
}
"""Which side of the mask an edit shows to the model, and so keeps."""
LABELS = Path(__file__).with_name("davis_labels.csv")
_NAME = "Video name"
_UNPACK = "unpack LOVEU-TGVE 2023 there"


def list_davis(
    data: Path, *, num_videos: int | None = None, labels: Path | None = None, num_frames: int = 8
) -> Listing:
    """Return the edits of a LOVEU-TGVE folder, those of a video one after the other.

    Args:
        data: the folder.
        num_videos: take only the first so many of the table, and check no others' frames.
        labels: a table with the columns video and label, instead of ours.
        num_frames: how many frames are sampled of each video.
    """
    findings = Findings()
    if not has_folder(data, "LOVEU-TGVE 2023", "davis", findings):
        return Listing(items=(), faults=tuple(findings.faults), notes=(), stamp={"benchmark": "davis"})
    labels = labels or LABELS
    known = {name: row.cells["label"] for name, row in read_keyed(labels, "video", ["label"], findings).items()}
    rows = _rows(data / TABLE, findings)
    videos = Folder(data / "DAVIS_480p" / "480p_frames")
    masks = Folder(data / "Annotations" / "480p")
    listed = {fold(row.cells[_NAME]) for row in rows}
    for folder in videos.folders():
        if rows and fold(folder.name) not in listed:
            findings.fault(f"{folder} is in no row of {TABLE}: remove the folder, or add its row")
    if not videos.path.is_dir():
        findings.fault(f"there is no folder {videos.path}: {_UNPACK}")
    items: list[Item] = []
    for number, row in enumerate(first(rows if videos.path.is_dir() else [], num_videos, "num_videos", findings)):
        name = row.cells[_NAME]
        source = videos.find(name)
        if source is None or not source.is_dir():
            findings.fault(f"there are no frames in {videos.path / name} ({TABLE} line {row.line}): {_UNPACK}")
            continue
        own_masks = masks.find(name)
        frames = check_frames(source, num_frames, findings)
        if own_masks and len(frames) >= num_frames:
            used = [list(frames)[index] for index in sampled_frames(len(frames), num_frames)]
            check_masks(own_masks, {frame: frames[frame] for frame in used}, findings)
        items += [
            Item(
                name=f"{name}/{edit}",
                group=edit,
                task="edit",
                prompt=row.cells[column],
                clip_prompt=row.cells[column],
                source=source,
                masks=own_masks,
                label=known.get(fold(name)) or _leading_words(name),
                kept=KEPT[edit],
                seed=number * len(EDITS) + index,
            )
            for index, (edit, column) in enumerate(EDITS.items())
        ]
    _tell(items, findings)
    stamp: dict[str, Any] = {
        "benchmark": "davis",
        "prompts": file_stamp(data / TABLE),
        "labels": {
            "table": file_stamp(labels),
            "others": "the words before -<number>",
            "used": {item.name.split("/")[0]: item.label for item in items},
        },
        "kept": KEPT,
        "masks": sorted({item.name.split("/")[0] for item in items if item.masks}),
        "frames": {"count": num_frames, "which": "evenly spread, first to last"},
        "items": items_stamp(items, data),
    }
    return Listing(items=tuple(items), faults=tuple(findings.faults), notes=tuple(findings.notes), stamp=stamp)


def _rows(path: Path, findings: Findings) -> list[Row]:
    """Return DAVIS's rows, one a video, with all the faults of the table found."""
    rows = read_rows(path, [_NAME, *EDITS.values()], _UNPACK, findings)
    headings = [index for index, row in enumerate(rows) if _is_heading(row)]
    if headings:
        starts = [index for index in headings if fold(rows[index].cells[_NAME]).startswith("davis")]
        if not starts:
            findings.fault(f"{path} has headings, but no row 'DAVIS Videos:': add it before DAVIS's rows")
            return []
        rows = rows[starts[0] + 1 : next((index for index in headings if index > starts[0]), len(rows))]
    found: dict[str, Row] = {}
    for row in rows:
        name = row.cells[_NAME]
        if reason := unsafe(name):
            findings.fault(f"{path} line {row.line}: {name!r} names no folder ({reason}): mend the name")
            continue
        twin = found.setdefault(fold(name), row)
        if twin is not row:
            findings.fault(f"{path} line {row.line}: {name} is there already, on line {twin.line}: remove one")
        if empty := [column for column in EDITS.values() if not row.cells[column]]:
            findings.fault(f"{path} line {row.line}: {name} has no {', '.join(empty)}: fill it in")
    if not found and not findings.faults:
        findings.fault(f"{path} lists no video of DAVIS: {_UNPACK}")
    return list(found.values())


def _is_heading(row: Row) -> bool:
    return fold(row.cells[_NAME]).rstrip(":").endswith(" videos") and not any(row.cells[c] for c in EDITS.values())


def _leading_words(name: str) -> str:
    """Return the label that a name such as `mushroom-07` gives, empty for others."""
    match = re.fullmatch(r"(.*[^\W\d_].*)-\d+", name)
    return match[1].replace("-", " ") if match else ""


def _tell(items: list[Item], findings: Findings) -> None:
    videos = {item.name.split("/")[0]: item for item in items}
    findings.note(f"DAVIS: {len(videos)} videos, {len(items)} edits; the challenge has 16 videos, 64 edits")
    if unmasked := [name for name, item in videos.items() if not item.masks]:
        findings.note(f"{len(unmasked)} videos have no masks, their subjects are found by label: {some(unmasked)}")
    if unlabelled := [name for name, item in videos.items() if not item.label]:
        findings.note(f"{len(unlabelled)} videos have no label: {some(unlabelled)}")
