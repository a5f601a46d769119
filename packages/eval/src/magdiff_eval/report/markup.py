"""HTML from values: everything is escaped unless its caller says that it is markup already."""

from __future__ import annotations

import html
import json
from typing import Any


def element(tag: str, content: str, *, raw: bool = False, cls: str = "", **attributes: str) -> str:
    """Return one element; `raw` content is markup already, an attribute `aria_label` becomes `aria-label`."""
    names = {"class": cls, **{name.replace("_", "-"): value for name, value in attributes.items()}}
    shown = "".join(f' {name}="{html.escape(value)}"' for name, value in names.items() if value)
    return f"<{tag}{shown}>{content if raw else html.escape(content)}</{tag}>"


def script_json(value: Any) -> str:
    """Return JSON that nothing inside a script element can end or be taken for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def fill(template: str, **parts: str) -> str:
    """Return the template with each `{{name}}` replaced, once, so that nothing in a part is taken for a place."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def short(value: float) -> str:
    """Return a number in four significant digits, as the page's script has it."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
