"""Names and files of a benchmark's folder: what is safe, what is there, what can be opened."""

from __future__ import annotations

import stat
import unicodedata
from pathlib import Path

from PIL import Image as PillowImage

from magdiff_eval.layouts.findings import Findings, some

_MAX_NAME_BYTES = 200
"""File systems take 255; a result's name gets an ending."""


def fold(name: str) -> str:
    """Return a name as those are compared that differ in capitals or in the form of their accents only.

    UCF-101 itself has HandstandPushups/v_HandStandPushups_g01_c01.avi, and an ä from a Mac is not the ä of a table.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unsafe(name: str) -> str | None:
    """Return why a name is no file's, or None where it is one."""
    if not name or name != name.strip():
        return "it is empty, or begins or ends with a space"
    if any(c in name for c in "/\\"):
        return "it has a slash in it"
    if name.startswith("."):
        return "it begins with a dot"
    if not name.isprintable():
        return "it has characters that cannot be shown"
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None


class Folder:
    """The entries of a folder that are not hidden, found by name; none where there is no such folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.paths = sorted(p for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []
        self._exact = {path.name: path for path in self.paths}
        self._folded = {fold(path.name): path for path in reversed(self.paths)}

    def find(self, name: str) -> Path | None:
        """Return the entry of this name, or of one that only differs in capitals or form of accents; None for none."""
        return self._exact.get(name) or self._folded.get(fold(name))

    def folders(self) -> list[Path]:
        """Return the folders among the entries, by name; what archives from a Mac leave is none."""
        return [path for path in self.paths if path.is_dir() and path.name != "__MACOSX"]


def read_text(path: Path, remedy: str, findings: Findings) -> str | None:
    """Return a UTF-8 file's text, a byte order mark taken off; None where there is none, which is a fault.

    Lines that are no UTF-8 are a fault too, and come back with replacement characters.
    """
    if not path.is_file():
        findings.fault(f"there is no {path}: {remedy}")
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        findings.fault(f"{path} cannot be opened ({error.strerror}): make it readable")
        return None
    if not content.strip():
        findings.fault(f"{path} is empty: {remedy}")
        return None
    wrong = [number for number, line in enumerate(content.split(b"\n"), start=1) if not _is_utf8(line)]
    if wrong:
        findings.fault(f"{path} line {some(wrong)}: there are bytes that are no UTF-8: save the file as UTF-8")
    return content.decode("utf-8-sig", errors="replace")


def check_file(path: Path, findings: Findings) -> None:
    """Find a file that is there by name but has nothing to read."""
    try:
        status = path.stat()
    except OSError as error:
        findings.fault(f"{path} cannot be opened ({error.strerror}): unpack it again, or mend the link")
        return
    if not stat.S_ISREG(status.st_mode):
        findings.fault(f"{path} is no file: put the video there")
    elif status.st_size == 0:
        findings.fault(f"{path} is empty: unpack it again")


def picture_size(path: Path, findings: Findings) -> tuple[int, int] | None:
    """Return the width and height that a picture's header gives; None where there is no header, which is a fault."""
    try:
        with PillowImage.open(path) as image:
            return image.size
    except (OSError, ValueError, PillowImage.DecompressionBombError):
        findings.fault(f"{path} is no picture that can be read: unpack it again")
        return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
