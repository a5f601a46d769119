"""Raters and their answers in SQLite: an answer is on disk when `answer` returns, whatever happens to the server then.

WAL, so that a report reads while the server writes; `synchronous=FULL`, so that a power cut takes no answer either. One
connection behind a lock serves all threads: an answer costs a third of a millisecond.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from magdiff_eval.human.study import HIGHEST, LOWEST

MAX_RATERS = 2000
"""So that nobody fills the disk by joining."""
_VERSION = 1
_TABLES = f"""
CREATE TABLE raters (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    name TEXT UNIQUE COLLATE NOCASE,
    invited INTEGER NOT NULL,
    joined_at TEXT NOT NULL
) STRICT;
CREATE TABLE answers (
    rater INTEGER NOT NULL REFERENCES raters (number),
    video TEXT NOT NULL,
    aspect TEXT NOT NULL,
    score INTEGER NOT NULL CHECK (score BETWEEN {LOWEST} AND {HIGHEST}),
    answered_at TEXT NOT NULL,
    PRIMARY KEY (rater, video, aspect)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, kw_only=True)
class Rater:
    """One who answers."""

    number: int
    """From 1 on; what reports call the rater by."""
    token: str
    """The end of the personal link."""
    name: str | None
    """None where the link was made beforehand."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One score."""

    rater: int
    video: str
    aspect: str
    score: int


class NameTaken(ValueError):
    """Somebody has joined under this name."""


class TooManyRaters(ValueError):
    """The study takes no more."""


class Store:
    """The answers of one study; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            with self._transaction() as database:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _TABLES.split(";"):
                        database.execute(statement)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ValueError(f"{path} cannot be used as a study's answers ({error}): move it elsewhere") from error
        if version not in (0, _VERSION):
            self._connection.close()
            raise ValueError(f"{path} is of version {version}, this program knows {_VERSION}: use the one that made it")

    def join(self, name: str) -> Rater:
        """Add somebody who came by and gave a name, and return the new rater.

        Raises:
            NameTaken: another has it, upper and lower case of a to z being the same.
            TooManyRaters: there are `MAX_RATERS`.
        """
        with self._transaction() as database:
            if database.execute("SELECT 1 FROM raters WHERE name = ?", (name,)).fetchone():
                raise NameTaken(f"{name} has begun already")
            return self._add(database, name)

    def invite(self, count: int) -> list[Rater]:
        """Return `count` raters whose links are given out beforehand; those who are missing are added.

        Raises:
            TooManyRaters: there would be more than `MAX_RATERS`.
        """
        with self._transaction() as database:
            query = "SELECT number, token, name FROM raters WHERE invited = 1 ORDER BY number LIMIT ?"
            known = [_rater(row) for row in database.execute(query, (count,))]
            return known + [self._add(database, None) for _ in range(count - len(known))]

    def raters(self) -> list[Rater]:
        """Return all raters in the order in which they came."""
        with self._transaction() as database:
            return [_rater(row) for row in database.execute("SELECT number, token, name FROM raters ORDER BY number")]

    def rater(self, token: str) -> Rater | None:
        """Return who has this token."""
        with self._transaction() as database:
            row = database.execute("SELECT number, token, name FROM raters WHERE token = ?", (token,)).fetchone()
        return _rater(row) if row else None

    def answer(self, answer: Answer) -> None:
        """Keep an answer, in place of an earlier one to the same question."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._transaction() as database:
            database.execute(
                "INSERT INTO answers (rater, video, aspect, score, answered_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET score = excluded.score, answered_at = excluded.answered_at",
                (answer.rater, answer.video, answer.aspect, answer.score, now),
            )

    def answers(self, rater: int | None = None) -> list[Answer]:
        """Return the answers of one rater, or of all, in a fixed order."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT rater, video, aspect, score FROM answers WHERE ?1 IS NULL OR rater = ?1 "
                "ORDER BY rater, video, aspect",
                (rater,),
            ).fetchall()
        return [Answer(rater=row[0], video=row[1], aspect=row[2], score=row[3]) for row in rows]

    def close(self) -> None:
        """End the connection; nothing waits to be written."""
        with self._lock:
            self._connection.close()

    def _add(self, database: sqlite3.Connection, name: str | None) -> Rater:
        (number,) = database.execute("SELECT count(*) + 1 FROM raters").fetchone()
        if number > MAX_RATERS:
            raise TooManyRaters(f"the study has {MAX_RATERS} raters already")
        rater = Rater(number=number, token=secrets.token_urlsafe(24), name=name)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        database.execute(
            "INSERT INTO raters (number, token, name, invited, joined_at) VALUES (?, ?, ?, ?, ?)",
            (number, rater.token, name, name is None, now),
        )
        return rater

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _rater(row: tuple[int, str, str | None]) -> Rater:
    return Rater(number=row[0], token=row[1], name=row[2])
