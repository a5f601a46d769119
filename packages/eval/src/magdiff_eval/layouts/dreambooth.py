"""DreamBooth: videos of 30 subjects, 25 prompts each, from one of a subject's 4 to 6 pictures.

`dataset/<subject>/00.jpg` … and `dataset/prompts_and_classes.txt`, which `prompts.py` reads. 21 subjects are objects
and 9 live, with a list of prompts each (`dreambooth_subjects.csv`). The unique token, which stands for a subject that a
model was tuned to, is left out: a picture shows the subject here, and CLIP never knew the token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magdiff_eval.layouts.files import Folder, fold, picture_size
from magdiff_eval.layouts.findings import Findings, first, has_folder, some
from magdiff_eval.layouts.item import Item, Listing, items_stamp
from magdiff_eval.layouts.prompts import LISTS, Prompts, filled, read_prompts
from magdiff_eval.layouts.tables import Row, file_stamp, read_keyed

SUBJECTS = Path(__file__).with_name("dreambooth_subjects.csv")
NUM_PROMPTS = 25
_FILE = "prompts_and_classes.txt"
_SUFFIXES = (".jpg", ".jpeg", ".png")


def list_dreambooth(data: Path, *, images_per_prompt: int = 1, num_subjects: int | None = None) -> Listing:
    """Return the videos to generate, all of the first pictures before those of the second.

    A prompt's picture is its own number modulo the pictures, its second the one after that, and so on; the video of its
    second is called `backpack/07-2`.

    Args:
        data: the folder.
        images_per_prompt: how many videos a prompt gets.
        num_subjects: take only the first so many of the file, and check no others' pictures.
    """
    findings = Findings()
    if not has_folder(data, "DreamBooth's data", "dreambooth", findings):
        return Listing(items=(), faults=tuple(findings.faults), notes=(), stamp={"benchmark": "dreambooth"})
    folders, path = Folder(data / "dataset"), data / "dataset" / _FILE
    table = read_keyed(SUBJECTS, "subject", ["class", "prompts"], findings)
    prompts = read_prompts(path, findings)
    chosen = {name: _list_of(name, class_name, table) for name, class_name in prompts.classes.items()}
    _check_official(path, prompts, table, findings)
    pictures = {
        name: _pictures(folders, name, findings)
        for name in first(list(prompts.classes), num_subjects, "num_subjects", findings)
    }
    copies = first(range(images_per_prompt), images_per_prompt, "images_per_prompt", findings)
    plan = [
        (copy, name, number, text)
        for copy in copies
        for name in pictures
        for number, text in enumerate(prompts.lists[chosen[name]])
    ]
    items = []
    for seed, (copy, name, number, text) in enumerate(plan):
        if not (own := pictures[name]):
            continue
        prompt = filled(text, prompts.classes[name])
        items.append(
            Item(
                name=f"{name}/{number:02d}" + (f"-{copy + 1}" if copy else ""),
                group=name,
                task="generate",
                prompt=prompt,
                clip_prompt=prompt,
                source=own[(number + copy) % len(own)],
                references=tuple(own),
                label=prompts.classes[name],
                seed=seed,
            )
        )
    listed = set(map(fold, prompts.classes))
    if unlisted := [folder.name for folder in folders.folders() if fold(folder.name) not in listed]:
        findings.note(f"{folders.path}: {some(unlisted)} is no subject of {_FILE}, and ignored")
    if unknown := [name for name in chosen if fold(name) not in table]:
        findings.note(
            f"{len(unknown)} subjects are not DreamBooth's 30, their classes say which prompts they take: "
            f"{some(f'{name} {chosen[name]}' for name in unknown)}"
        )
    counts = ", ".join(f"{len(prompts.lists[kind])} {kind}" for kind in LISTS)
    findings.note(
        f"DreamBooth: {len(items)} videos of {len(pictures)} subjects, of prompts {counts}; the official set has 30 "
        f"subjects and {NUM_PROMPTS} prompts in either list, which makes 750"
    )
    stamp: dict[str, Any] = {
        "benchmark": "dreambooth",
        "prompts": {"table": file_stamp(path), "unique_token": "left out"},
        "subjects": {"table": file_stamp(SUBJECTS), "others": "as their class", "prompts": chosen},
        "images_per_prompt": images_per_prompt,
        "items": items_stamp(items, data),
    }
    return Listing(items=tuple(items), faults=tuple(findings.faults), notes=tuple(findings.notes), stamp=stamp)


def _list_of(name: str, class_name: str, table: dict[str, Row]) -> str:
    """Return which list a subject takes: the table's, or that of others of its class, or the objects'."""
    if fold(name) in table:
        return table[fold(name)].cells["prompts"]
    of_class = {row.cells["class"]: row.cells["prompts"] for row in table.values()}
    return of_class.get(class_name, "object")


def _check_official(path: Path, prompts: Prompts, table: dict[str, Row], findings: Findings) -> None:
    """Find what an edited or shortened copy of DreamBooth's file lacks; other subjects may have other prompts."""
    here = {fold(name) for name in prompts.classes}
    if not here & table.keys():
        return
    if missing := [row.cells["subject"] for name, row in table.items() if name not in here]:
        findings.note(f"{path} lacks {len(missing)} of DreamBooth's 30 subjects: {some(missing)}")
    for kind in LISTS:
        if prompts.lists[kind] and len(prompts.lists[kind]) != NUM_PROMPTS:
            findings.fault(
                f"{path} has {len(prompts.lists[kind])} {kind} prompts, DreamBooth {NUM_PROMPTS}: unpack it again"
            )


def _pictures(folders: Folder, name: str, findings: Findings) -> list[Path]:
    """Return a subject's pictures by name, with what is wrong with them found."""
    folder = folders.find(name)
    if folder is None or not folder.is_dir():
        findings.fault(f"there is no folder {folders.path / name}, which {_FILE} lists: unpack DreamBooth's data there")
        return []
    there = Folder(folder).paths
    pictures = [path for path in there if path.suffix.lower() in _SUFFIXES]
    if others := [path.name for path in there if path not in pictures]:
        findings.note(f"{folder}: {some(others)} is no picture, and ignored")
    if not pictures:
        findings.fault(f"{folder} has no picture: unpack DreamBooth's data there")
    for path in pictures:
        picture_size(path, findings)
    return pictures
