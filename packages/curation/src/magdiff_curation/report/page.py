"""One self-contained HTML page about a curation run: what was kept, what was not and why, and what it cost.

The page loads nothing: styles, script, pictures and every row of the ledger are inside it, and its own policy lets no
other script run, so that a caption can do nothing. The same output folder gives the same page, unless the time for
pictures runs out, which the page then says. 5,000 inputs give 1.7 MB in about 1 s, plus the time for pictures.
"""

from __future__ import annotations

import base64
import collections
import hashlib
from importlib import resources
from pathlib import Path

from magdiff_curation.clips.atomic import write_atomic
from magdiff_curation.clips.index import SHARD_LIST, ShardError, load_index, load_shard_list
from magdiff_curation.clips.record import CATEGORIES
from magdiff_curation.reasons import Status
from magdiff_curation.report.charts import categories, histogram
from magdiff_curation.report.cloud import draw_cloud
from magdiff_curation.report.columns import columns
from magdiff_curation.report.costs import draw_costs
from magdiff_curation.report.examples import draw_examples
from magdiff_curation.report.funnel import draw_funnel
from magdiff_curation.report.ledger_table import Row, load_rows
from magdiff_curation.report.markup import NONE, data_bytes, element, number, script_json, share
from magdiff_curation.report.pictures import Pictures
from magdiff_curation.report.provenance import draw_runs, draw_settings, read_settings

REPORT = "report.html"


def write_report(output: Path, pictures: Pictures | None = None) -> Path:
    """Write `report.html` into a finished run's output folder and return its path.

    `pictures` sets the bounds on making pictures.

    Raises:
        ValueError: the folder has no ledger.
    """
    rows = load_rows(output)
    settings = read_settings(output)
    prices = settings.get("engine")
    style, script = _asset("page.css"), _asset("page.js")
    page = _fill(
        _asset("page.html"),
        policy=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        cards=_cards(rows, output),
        funnel=draw_funnel(rows),
        cloud=_cloud(rows),
        charts=_charts(rows),
        examples=draw_examples(rows, pictures or Pictures(output=output)),
        costs=draw_costs(rows, prices if isinstance(prices, dict) else {}),
        runs=draw_runs(output),
        settings=draw_settings(rows, settings),
        data=script_json(columns(rows)),
        script=script,
    )
    write_atomic(output / REPORT, page.encode())
    return output / REPORT


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _fill(template: str, **parts: str) -> str:
    """Return the template with each `{{name}}` replaced, once, so that nothing in a part is taken for a place."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _cards(rows: list[Row], output: Path) -> str:
    counts = collections.Counter(row.status for row in rows)
    kept = [row for row in rows if row.kept]
    seconds = sum(row.duration_seconds for row in kept)
    length = f"{seconds / 3600:.2f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"
    shards, size = _shards(output)
    values = [
        ("inputs", number(len(rows)), ""),
        *((str(status), number(counts[status]), share(counts[status], len(rows))) for status in Status),
        ("kept video", length, f"{number(sum(row.num_frames for row in kept))} frames"),
        ("labels", number(len({row.label for row in kept})), "of kept clips"),
        ("shards", number(shards) if size >= 0 else NONE, data_bytes(size) if size >= 0 else "not readable"),
    ]
    return "".join(
        element(
            "div",
            element("dt", name) + element("dd", value) + (element("dd", about, cls="soft") if about else ""),
            raw=True,
            cls=f"fact {name.replace(' ', '-')}",
        )
        for name, value, about in values
    )


def _shards(output: Path) -> tuple[int, int]:
    """Return the number of shards and their bytes; bytes of -1 where the list or an index is damaged."""
    if not (output / SHARD_LIST).is_file():
        return 0, 0
    try:
        names = load_shard_list(output).shards
        return len(names), sum(load_index(output / name).size for name in names)
    except ShardError:
        return 0, -1


def _cloud(rows: list[Row]) -> str:
    counts = collections.Counter(row.label for row in rows if row.kept and row.label)
    kinds = {row.label: row.category if row.category in CATEGORIES else "other" for row in rows if row.kept}
    if not counts:
        return element("p", "No clip was kept.", cls="soft")
    # A phone gets a layout of its own: the wide one would be too small to read there.
    return draw_cloud(counts, kinds, cls="broad") + draw_cloud(counts, kinds, aspect=1.0, cls="narrow")


def _charts(rows: list[Row]) -> str:
    kept = [row for row in rows if row.kept]
    kinds = collections.Counter(row.category if row.category in CATEGORIES else "other" for row in kept)
    return (
        histogram([len(row.caption_text.split()) for row in kept], title="Caption lengths", unit="words", whole=True)
        + categories(CATEGORIES, [kinds[name] for name in CATEGORIES], title="Categories")
        + histogram([row.duration_seconds for row in kept], title="Clip durations", unit="seconds")
    )
