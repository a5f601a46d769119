"""`prompts_and_classes.txt` of DreamBooth: a table of subjects, then two Python lists of format expressions.

It is read as text and never run:

    subject_name,class
    backpack_dog,backpack

    Object Prompts
    prompt_list = [
    'a {0} {1} in the jungle'.format(unique_token, class_token),
    ]

    Live Subject Prompts
    …
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from magdiff_eval.layouts.files import fold, read_text, unsafe
from magdiff_eval.layouts.findings import Findings

LISTS = ("object", "live")
_SECTIONS = {
    "classes": "",
    "subject_name,class": "classes",
    "prompts": "",
    "object prompts": "object",
    "live subject prompts": "live",
}
"""Heading -> what is below it."""
_EXPRESSION = re.compile(r"""(['"])(?P<text>.*)\1\.format\(\s*unique_token\s*,\s*class_token\s*\)\s*,?""")


@dataclass
class Prompts:
    """The file, read."""

    classes: dict[str, str] = field(default_factory=dict)
    """Subject -> its class, such as `dog`."""
    lists: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in LISTS})
    """`object` and `live` -> prompts, with {0} for the unique token and {1} for the class."""


def read_prompts(path: Path, findings: Findings) -> Prompts:
    """Return what the file says, with what is wrong with it found."""
    read, section = Prompts(), ""
    remedy = "unpack DreamBooth's data there"
    text = read_text(path, remedy, findings)
    for number, raw in enumerate((text or "").splitlines(), start=1):
        line = raw.strip()
        heading = re.sub(r"\s*,\s*", ",", line.rstrip(":")).casefold()
        if heading in _SECTIONS:
            section = _SECTIONS[heading]
        elif not line or line in ("prompt_list = [", "]"):
            continue
        elif section == "classes":
            wrong = _add_class(line, read)
            if wrong:
                findings.fault(f"{path} line {number}: {line!r} is no subject and class ({wrong}): mend the line")
        elif section in LISTS:
            wrong = _add_prompt(line, read.lists[section])
            if wrong:
                findings.fault(f"{path} line {number}: {line!r} is no prompt that can be read ({wrong}): mend the line")
        else:
            findings.note(f"{path} line {number}: {line!r} is in no section, and ignored")
    if text and not read.classes:
        findings.fault(f"{path} has no row below 'subject_name,class': {remedy}")
    for kind, heading in (("object", "Object Prompts"), ("live", "Live Subject Prompts")):
        if text and not read.lists[kind]:
            findings.fault(f"{path} has no prompt below '{heading}': {remedy}")
    return read


def filled(text: str, class_name: str) -> str:
    """Return a prompt with the class in it and without the unique token."""
    return " ".join(text.replace("{0}", "").replace("{1}", class_name).split())


def _add_class(line: str, read: Prompts) -> str | None:
    """Add a subject; return what is wrong with the line."""
    name, _, class_name = (cell.strip() for cell in line.partition(","))
    if reason := unsafe(name):
        return reason
    if not class_name or "," in class_name:
        return "it needs two cells"
    if fold(name) in map(fold, read.classes):
        return "it is there already"
    read.classes[name] = class_name
    return None


def _add_prompt(line: str, prompts: list[str]) -> str | None:
    """Add a prompt; return what is wrong with the line."""
    match = _EXPRESSION.fullmatch(line)
    if match is None:
        return "need 'a {0} {1} …'.format(unique_token, class_token)"
    text = match["text"]
    if sorted(re.findall(r"\{[^}]*\}?|\}", text)) != ["{0}", "{1}"] or "\\" in text:
        return "need {0} and {1} once each, and no backslash"
    if text in prompts:
        return "it is there already"
    prompts.append(text)
    return None
