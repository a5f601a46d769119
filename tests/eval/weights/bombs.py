"""Pickles that run code where they are unpickled: it touches a file, which must never be there."""

import pathlib
from pathlib import Path
from typing import Any


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (self.marker,)
