"""What raters said, as rows: from a study's answers, or from anybody's csv of rater, video, method, aspect and score.

A rater who gave every answer that there is to give is complete, any other partial. In a csv, what there is to give is
what any rater in it gave. Rows call raters by numbers: names and links stay in the study.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from magdiff_eval.human.store import Store
from magdiff_eval.human.study import ANSWERS, ASPECTS, HIGHEST, LOWEST, Study

_MOST_FAULTS = 20


@dataclass(frozen=True)
class Rating:
    """One score."""

    rater: str
    video: str
    """The item's name: a video is this and the method."""
    method: str
    aspect: str
    score: int


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """All scores, and from whom."""

    rows: list[Rating]
    methods: list[str]
    aspects: list[str]
    num_videos: int
    """Of all methods together."""
    complete: list[str]
    """Raters who answered everything."""
    partial: list[str]
    """Raters who answered something."""
    num_silent: int = 0
    """Raters who joined, or were given a link, and answered nothing."""


COLUMNS = tuple(field.name for field in fields(Rating))


def of_study(folder: Path, study: Study) -> Ratings:
    """Return a study's answers; the server may go on meanwhile.

    Raises:
        ValueError: nobody answered yet, or an answer is to a video that the study has not.
    """
    path = folder / ANSWERS
    if not path.is_file():
        raise ValueError(f"there is no {path}: nobody has taken part yet; let raters in with serve --study {folder}")
    store = Store(path)
    try:
        raters, answers = store.raters(), store.answers()
    finally:
        store.close()
    videos, rows = study.videos(), []
    for answer in answers:
        if answer.video not in videos or answer.aspect not in ASPECTS:
            raise ValueError(
                f"{path} has an answer on {answer.video}, {answer.aspect}, which the study has not: "
                "the file is another study's, bring the right one"
            )
        item, video = videos[answer.video]
        rows.append(Rating(str(answer.rater), item.name, video.method, answer.aspect, answer.score))
    found = _ratings(rows, study.num_answers, f"{path} has no answer yet: let raters in with serve --study {folder}")
    silent = len(raters) - len(found.complete) - len(found.partial)
    return replace(found, methods=list(study.methods), aspects=list(ASPECTS), num_videos=len(videos), num_silent=silent)


def of_csv(path: Path) -> Ratings:
    """Return the ratings of a csv.

    Raises:
        ValueError: other columns, a cell that is empty, a score off the scale, or one question answered twice by one
            rater.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
            raise ValueError(
                f"{path} has the columns {', '.join(reader.fieldnames or ['none'])}: name them {', '.join(COLUMNS)}"
            )
        lines = [(reader.line_num, line) for line in reader]
    except FileNotFoundError:
        raise ValueError(f"there is no {path}: give a csv with the columns {', '.join(COLUMNS)}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no csv in UTF-8 ({error})") from None
    faults, rows, seen = [], [], dict[tuple[str, ...], int]()
    for number, line in lines:
        if None in line or not all(line.values()):
            faults.append(f"line {number} has {'too many cells' if None in line else 'an empty cell'}")
            continue
        if line["score"] not in map(str, range(LOWEST, HIGHEST + 1)):
            faults.append(f"line {number} has the score {line['score']!r}: need {LOWEST} to {HIGHEST}")
            continue
        question = line["rater"], line["video"], line["method"], line["aspect"]
        first = seen.setdefault(question, number)
        if first != number:
            faults.append(f"line {number} answers what line {first} answered: keep one of them")
        rows.append(Rating(*question, int(line["score"])))
    if faults:
        more = f"\n  … and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        shown = "".join(f"\n  {fault}" for fault in faults[:_MOST_FAULTS])
        raise ValueError(f"{path} has {len(faults)} faults, mend them first:{shown}{more}")
    asked = len({(row.video, row.method, row.aspect) for row in rows})
    return _ratings(rows, asked, f"{path} has no rows: give one for each answer")


def only_complete(found: Ratings) -> Ratings:
    """Return the ratings of complete raters alone.

    Raises:
        ValueError: there is none.
    """
    if not found.complete:
        raise ValueError(f"none of {len(found.partial)} raters is complete: leave --complete-only out, or wait")
    kept = set(found.complete)
    return replace(found, rows=[row for row in found.rows if row.rater in kept])


def as_csv(found: Ratings) -> bytes:
    """Return the rows as csv."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in found.rows)
    return table.getvalue().encode()


def _ratings(rows: list[Rating], asked: int, none: str) -> Ratings:
    if not rows:
        raise ValueError(none)
    given = Counter(row.rater for row in rows)
    aspects = dict.fromkeys(row.aspect for row in rows)
    return Ratings(
        rows=rows,
        methods=list(dict.fromkeys(row.method for row in rows)),
        # The paper's three in its order, then others as they come.
        aspects=[name for name in ASPECTS if name in aspects] + [name for name in aspects if name not in ASPECTS],
        num_videos=len({(row.video, row.method) for row in rows}),
        complete=[rater for rater, count in given.items() if count == asked],
        partial=[rater for rater, count in given.items() if count < asked],
    )
