"""Faults and notes, gathered while a folder is read: reading goes on, so that a person sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

_Entry = TypeVar("_Entry")
_SHOWN = 5


@dataclass
class Findings:
    """What has been found so far, each a line that any terminal prints."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, sentence: str) -> None:
        """Add a fault: where, what is wrong, what to do."""
        self.faults.append(_printable(sentence))

    def note(self, sentence: str) -> None:
        """Add what a reader should know and that is no fault."""
        self.notes.append(_printable(sentence))


def has_folder(data: Path, dataset: str, benchmark: str, findings: Findings) -> bool:
    """Whether there is a folder to read; if not, that is the only fault."""
    if data.is_dir():
        return True
    findings.fault(
        f"there is no folder {data}: unpack {dataset} there, or make toyworld's: "
        f"python -m magdiff_curation.toyworld benchmark --name {benchmark} --output {data}"
    )
    return False


def first(entries: Sequence[_Entry], count: int | None, setting: str, findings: Findings) -> Sequence[_Entry]:
    """Return the first `count` entries, all for None; a count under 1 is a fault."""
    if count is not None and count < 1:
        findings.fault(f"{setting} is {count}: give 1 or more")
        return []
    return entries[:count]


def some(values: Iterable[object]) -> str:
    """Return values parted by commas, of many the first few and how many more there are."""
    shown = [str(value) for value in values]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


def _printable(text: str) -> str:
    """Return a text in one line; what no terminal shows, such as a name that is no UTF-8, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
