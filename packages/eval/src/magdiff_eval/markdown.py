"""Plain tables as Markdown."""

from __future__ import annotations

Table = tuple[str, list[str], list[list[str]]]
"""Title, header, lines."""


def markdown(tables: list[Table]) -> str:
    """Return tables as Markdown."""
    parts = []
    for title, header, lines in tables:
        rows = [header, ["---"] * len(header), *lines]
        parts.append(f"### {title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n")
    return "\n".join(parts)
