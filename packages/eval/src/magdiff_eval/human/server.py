"""The raters' server: a page, its videos, and answers that are kept at once. Standard library, one thread a connection.

    GET  /                          the page that asks for a name
    GET  /api/study                 whether one joins by a name, or only by a personal link
    POST /api/raters                a name becomes a rater, with a token
    GET  /r/<token>                 a rater's page, at the first question that is open
    GET  /api/r/<token>             what to show, in this rater's order, with the answers so far
    PUT  /api/r/<token>/answers     one answer
    GET  /media/<random>.mp4|.png   a video or picture

Whatever is sent holds random ids, prompts and scores, and nothing on who made a video. A file is found by looking its
whole name up, so that no path leads elsewhere.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from magdiff_eval.human.replies import Refused, Replies
from magdiff_eval.human.store import Answer, NameTaken, Rater, Store, TooManyRaters
from magdiff_eval.human.study import ASPECTS, HIGHEST, LOWEST, Study, image_file, order_for, video_file

MAX_NAME = 60
_PAGE = {
    name: (resources.files(__package__).joinpath("page", name).read_bytes(), f"text/{kind}; charset=utf-8")
    for name, kind in (("index.html", "html"), ("page.js", "javascript"), ("page.css", "css"))
}


LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
"""What this machine calls itself."""


class StudyServer(ThreadingHTTPServer):
    """Serves one study; `server_address` tells the port where 0 was asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        folder: Path,
        study: Study,
        store: Store,
        address: tuple[str, int],
        *,
        by_link: bool,
        url: str | None = None,
    ) -> None:
        """Listen.

        Args:
            folder: the study's.
            study: what is in it.
            store: takes the answers.
            address: host and port.
            by_link: only raters with a link take part; nobody joins by a name.
            url: what raters open, where it is not the address.

        Raises:
            ValueError: files of the study are gone.
            OSError: the address cannot be listened on.
        """
        self.study, self.store, self.by_link = study, store, by_link
        # A hostile page may point its own name at this machine: a server that is local answers to local names alone.
        self.names = LOCAL | {urlsplit(url or "").hostname} if address[0] in LOCAL else None
        self.videos = study.videos()
        videos = [(video_file(folder, video), "video/mp4") for video in self.videos]
        images = [(image_file(folder, item.id), "image/png") for item in study.items]
        self.media = {path.name: (path, kind) for path, kind in videos + images}
        gone = [path for path, _ in self.media.values() if not path.is_file()]
        if gone:
            raise ValueError(f"{len(gone)} files of the study are gone, the first is {gone[0]}: bring them back")
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):  # browsers drop videos half-way
            super().handle_error(request, client_address)


def _hostname(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


class _Handler(Replies):
    server: StudyServer

    def do_GET(self) -> None:  # noqa: N802 - the base class's names
        # What comes behind the headers is not read, so that the connection cannot go on.
        self.close_connection |= bool({"content-length", "transfer-encoding"} & {name.lower() for name in self.headers})
        self._answer(self._get)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:  # noqa: N802
        self._answer(self._join)

    def do_PUT(self) -> None:  # noqa: N802
        self._answer(self._keep)

    def _answer(self, action: Callable[[list[str]], None]) -> None:
        try:
            if self.server.names is not None and _hostname(self.headers.get("Host", "")) not in self.server.names:
                raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "This server goes by another name: give it as --url.")
            action(unquote(self.path.partition("?")[0]).split("/")[1:])
        except Refused as refused:
            self.close_connection = True  # the body may not have been read
            self.send_json({"error": refused.text}, refused.status)

    def _get(self, parts: list[str]) -> None:
        match parts:
            case [""] | ["r", _]:
                self.send_content(*_PAGE["index.html"])
            case [("page.js" | "page.css") as name]:
                self.send_content(*_PAGE[name])
            case ["media", name] if name in self.server.media:
                self.send_file(*self.server.media[name])
            case ["api", "study"]:
                self.send_json({"by_link": self.server.by_link})
            case ["api", "r", token]:
                self.send_json(self._state(self._rater(token)))
            case _:
                raise _nothing_here()

    def _join(self, parts: list[str]) -> None:
        if parts != ["api", "raters"]:
            raise _nothing_here()
        name = self.read_json().get("name")
        if self.server.by_link:
            raise Refused(HTTPStatus.FORBIDDEN, "This study is by personal link: open the link that you were given.")
        if not isinstance(name, str) or not name.strip().isprintable() or not 0 < len(name.strip()) <= MAX_NAME:
            raise Refused(HTTPStatus.BAD_REQUEST, f"Give a name or code of 1 to {MAX_NAME} characters.")
        try:
            rater = self.server.store.join(name.strip())
        except NameTaken:
            told = "This name has begun already: go on by your link, or choose another name."
            raise Refused(HTTPStatus.CONFLICT, told) from None
        except TooManyRaters:
            raise Refused(HTTPStatus.FORBIDDEN, "The study takes no more raters.") from None
        self.send_json({"token": rater.token}, HTTPStatus.CREATED)

    def _keep(self, parts: list[str]) -> None:
        match parts:
            case ["api", "r", token, "answers"]:
                rater, given = self._rater(token), self.read_json()
            case _:
                raise _nothing_here()
        video, aspect, score = given.get("video"), given.get("aspect"), given.get("score")
        if not isinstance(video, str) or video not in self.server.videos:
            raise Refused(HTTPStatus.BAD_REQUEST, "The study has no such video.")
        if not isinstance(aspect, str) or aspect not in ASPECTS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"An aspect is one of {', '.join(ASPECTS)}.")
        if type(score) is not int or not LOWEST <= score <= HIGHEST:
            raise Refused(HTTPStatus.BAD_REQUEST, f"A score is a whole number from {LOWEST} to {HIGHEST}.")
        self.server.store.answer(Answer(rater=rater.number, video=video, aspect=aspect, score=score))
        self.send_json({})

    def _state(self, rater: Rater) -> dict[str, Any]:
        """Return a rater's videos in the rater's order, without a word on who made them."""
        scores: dict[str, dict[str, int]] = {}
        for answer in self.server.store.answers(rater.number):
            scores.setdefault(answer.video, {})[answer.aspect] = answer.score
        return {
            "name": rater.name,
            "videos": [
                {
                    "id": video.id,
                    "video": f"/media/{video.id}.mp4",
                    "image": f"/media/{item.id}.png",
                    "prompt": item.prompt,
                    "scores": scores.get(video.id, {}),
                }
                for item in order_for(self.server.study, rater.token)
                for video in item.videos
            ],
        }

    def _rater(self, token: str) -> Rater:
        rater = self.server.store.rater(token)
        if rater is None:
            raise Refused(HTTPStatus.NOT_FOUND, "This link is not known: check that it is whole.")
        return rater


def _nothing_here() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
