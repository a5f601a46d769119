"""UCF-101: videos of its 101 classes, each from the first frame of a test video and a prompt for its class.

`UCF-101/<Class>/v_<Class>_g01_c01.avi`, and `ucfTrainTestlist/` with `classInd.txt` (`1 ApplyEyeMakeup`) and
`testlist01.txt` (`ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi`). "10,000 videos for test" (Section 4.1) can only be how
many are generated, for there are 3,783 test videos: the classes take turns, and a class goes round its test videos
with ever new noise. The paper gives no prompts: `ucf101_prompts.csv` is ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from magdiff_eval.layouts.files import Folder, check_file, fold, read_text, unsafe
from magdiff_eval.layouts.findings import Findings, first, has_folder, some
from magdiff_eval.layouts.item import Item, Listing, items_stamp
from magdiff_eval.layouts.tables import file_stamp, read_keyed

PROMPTS = Path(__file__).with_name("ucf101_prompts.csv")
_LISTS = "ucfTrainTestlist"
_UNPACK = "unpack the train/test splits for action recognition there"


def list_ucf101(
    data: Path, *, num_videos: int = 10_000, split: str = "testlist01.txt", prompts: Path | None = None
) -> Listing:
    """Return the videos to generate; the first n are the same for any `num_videos` above n.

    Args:
        data: the folder.
        num_videos: how many; only the videos that they start from are checked.
        split: which of the lists in `ucfTrainTestlist`.
        prompts: a table with the columns class, prompt and label, instead of ours.
    """
    findings = Findings()
    if not has_folder(data, "UCF-101", "ucf101", findings):
        return Listing(items=(), faults=tuple(findings.faults), notes=(), stamp={"benchmark": "ucf101"})
    prompts = prompts or PROMPTS
    class_list, test_list = data / _LISTS / "classInd.txt", data / _LISTS / split
    table = read_keyed(prompts, "class", ["prompt", "label"], findings)
    for listed in table.values():
        if not listed.cells["prompt"]:
            findings.fault(f"{prompts} line {listed.line}: {listed.cells['class']} has no prompt: fill it in")
    classes = _classes(class_list, findings)
    tests = _tests(test_list, classes, findings)
    folders = Folder(data / "UCF-101")
    for folder in folders.folders():
        if classes and fold(folder.name) not in map(fold, classes):
            findings.fault(f"{folder} is no class of {class_list.name}: remove the folder, or add the class")
    in_class = {name: Folder(folders.find(name) or folders.path / name) for name in classes}
    sources: dict[Path, None] = {}
    items = []
    with_tests = [name for name in classes if tests[name]]
    for number in first(range(num_videos), num_videos, "num_videos", findings) if with_tests else ():
        turn, name = number // len(with_tests), with_tests[number % len(with_tests)]
        video = tests[name][turn % len(tests[name])]
        source = in_class[name].find(video) or in_class[name].path / video
        sources[source] = None
        row = table.get(fold(name))
        prompt = row.cells["prompt"] if row else _words(name)
        items.append(
            Item(
                name=f"{name}/{turn:05d}",
                group=name,
                task="generate",
                prompt=prompt,
                clip_prompt=prompt,
                source=source,
                label=row.cells["label"] if row else "",
                seed=number,
            )
        )
    if not folders.path.is_dir():
        findings.fault(f"there is no folder {folders.path}: unpack UCF-101 there")
    for source in sources if folders.path.is_dir() else ():
        if source.exists() or source.is_symlink():
            check_file(source, findings)
        else:
            findings.fault(f"there is no {source}, which {test_list} lists: unpack UCF-101 there")
    by_rule = [name for name in classes if fold(name) not in table]
    if by_rule:
        findings.note(
            f"{len(by_rule)} classes are not in {prompts.name}, their prompts are the words of their names and they "
            f"have no label: {some(by_rule)}"
        )
    num_tests = sum(map(len, tests.values()))
    findings.note(
        f"UCF-101: {len(items)} videos of {len(classes)} classes from {len(sources)} of {num_tests} test videos in "
        f"{split}; the paper has 10,000 videos of 101 classes"
    )
    stamp: dict[str, Any] = {
        "benchmark": "ucf101",
        "classes": {"list": file_stamp(class_list), "count": len(classes)},
        "split": {"list": file_stamp(test_list), "count": num_tests},
        "prompts": {"table": file_stamp(prompts), "others": "the words of the class's name", "by_rule": by_rule},
        "items": items_stamp(items, data),
    }
    return Listing(items=tuple(items), faults=tuple(findings.faults), notes=tuple(findings.notes), stamp=stamp)


def _classes(path: Path, findings: Findings) -> list[str]:
    """Return the names of the classes in the list's order."""
    found: dict[str, str] = {}
    text = read_text(path, _UNPACK, findings)
    for number, line in enumerate((text or "").splitlines(), start=1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        name = words[1].strip() if len(words) == 2 and words[0].isdecimal() else ""
        if reason := unsafe(name):
            findings.fault(f"{path} line {number}: {line!r} is no number and class ({reason}): write 1 ApplyEyeMakeup")
        elif fold(name) in found:
            findings.fault(f"{path} line {number}: {name} is there already: remove one")
        else:
            found[fold(name)] = name
    return list(found.values())


def _tests(path: Path, classes: list[str], findings: Findings) -> dict[str, list[str]]:
    """Return the videos of each class in the list's order."""
    tests: dict[str, list[str]] = {name: [] for name in classes}
    by_fold, seen = {fold(name): name for name in classes}, set[str]()
    text = read_text(path, _UNPACK, findings)
    for number, line in enumerate((text or "").splitlines(), start=1):
        listed = re.sub(r"\s+\d+$", "", line.strip())  # train lists have the class's number behind
        if not listed:
            continue
        name, _, video = listed.partition("/")
        if reason := unsafe(name) or unsafe(video):
            findings.fault(f"{path} line {number}: {listed!r} is no <class>/<video>.avi ({reason}): mend the line")
        elif fold(name) not in by_fold:
            if classes:
                findings.fault(f"{path} line {number}: {name} is no class of classInd.txt: remove the line, or add it")
        elif fold(listed) in seen:
            findings.fault(f"{path} line {number}: {listed} is there already: remove one")
        else:
            seen.add(fold(listed))
            tests[by_fold[fold(name)]].append(video)
    if text and (empty := [name for name, videos in tests.items() if not videos]):
        findings.fault(f"{path} has no video of {some(empty)}: unpack the lists again")
    return tests


def _words(name: str) -> str:
    """Return the words of a class's name: `ToySpin` -> `toy spin`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name.replace("_", " ")).lower()
