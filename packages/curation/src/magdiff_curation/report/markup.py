"""HTML from values: everything is escaped unless its caller says that it is markup already."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence

NONE = "\u2013"
"""Stands where a table has no value."""
_FIGURE = re.compile(r"[-\d.,\u202f\u2013% ]*")


def element(tag: str, content: str, *, raw: bool = False, cls: str = "", **attributes: str) -> str:
    """Return one element; `raw` content is markup already, `data_x` becomes the attribute `data-x`."""
    names = {"class": cls, **{name.replace("_", "-"): value for name, value in attributes.items()}}
    shown = "".join(f' {name}="{html.escape(value)}"' for name, value in names.items() if value)
    return f"<{tag}{shown}>{content if raw else html.escape(content)}</{tag}>"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of plain values in a box that scrolls sideways; columns of numbers stand at the right."""
    sides = ["figure" if all(_FIGURE.fullmatch(line[i]) for line in lines) else "" for i in range(len(header))]
    head = "".join(element("th", name, cls=side, scope="col") for name, side in zip(header, sides, strict=True))
    body = "".join(
        element("tr", "".join(element("td", v, cls=s) for v, s in zip(line, sides, strict=True)), raw=True)
        for line in lines
    )
    inner = element("thead", element("tr", head, raw=True), raw=True) + element("tbody", body, raw=True)
    return element("div", element("table", inner, raw=True), raw=True, cls="wide", tabindex="0")


def number(value: float, digits: int = 0) -> str:
    """Return a number with thin spaces between thousands and this many digits after the point."""
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def share(part: float, whole: float) -> str:
    """Return a share in percent, with one digit where it is needed."""
    if not whole:
        return "0%"
    percent = 100 * part / whole
    return f"{percent:.1f}%" if part and percent < 99.95 else f"{percent:.0f}%"


def short(value: float) -> str:
    """Return a number in at most four significant digits, without an exponent where it can be helped."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def data_bytes(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves one digit before the point."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"


def script_json(value: object) -> str:
    """Return JSON that nothing inside a script element can end or be taken for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
