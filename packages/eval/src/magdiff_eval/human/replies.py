"""What the server says, whatever it serves: JSON, pages and files, with headers that keep browsers to this site.

Files go whole or in the one range that is asked for: without ranges, Chromium and Safari play no video. Requests are
small or refused, and a connection that says nothing for half a minute is closed.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

MAX_BODY_BYTES = 4096
_PIECE = 2**16
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """A request that gets an error and a sentence."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class NoSuchRange(ValueError):
    """The range lies outside the file."""


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the byte after the last that a Range header asks for; None: send the whole file.

    Several ranges, other units and what is no range at all are answered with the whole file, as HTTP allows.

    Raises:
        NoSuchRange: none of the range lies within the file.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":  # so many bytes at the end
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise NoSuchRange(f"bytes from {start} on of {size}")
    return start, stop


class Replies(BaseHTTPRequestHandler):
    """How requests are read and answered."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def version_string(self) -> str:
        return "study"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's
        """Say nothing: paths hold tokens."""

    def read_json(self) -> dict[str, Any]:
        """Return the JSON object that was sent; another site's page cannot send this kind unasked.

        Raises:
            Refused: no object of at most `MAX_BODY_BYTES`, declared as what it is.
        """
        length = self.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Say the body's length.")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {MAX_BODY_BYTES} bytes.")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body is no JSON.") from None
        if not isinstance(given, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "The body is no JSON object.")
        return given

    def send_json(self, value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send an object."""
        self.send_content(json.dumps(value).encode(), "application/json", status)

    def send_content(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Send what is not to be kept by anyone on the way."""
        self._begin(status, kind, len(content), {"Cache-Control": "no-store"})
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_file(self, path: Path, kind: str) -> None:
        """Send a file, or the range of it that is asked for."""
        with path.open("rb") as file:
            size = file.seek(0, 2)
            headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
            try:
                asked = asked_range(self.headers.get("Range"), size)
            except NoSuchRange:
                headers["Content-Range"] = f"bytes */{size}"
                self._begin(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, headers)
                return
            start, stop = asked or (0, size)
            if asked:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            self._begin(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, kind, stop - start, headers)
            file.seek(start)
            while self.command != "HEAD" and start < stop:
                piece = file.read(min(_PIECE, stop - start))
                if not piece:  # cut since: only the end of the connection tells the browser
                    self.close_connection = True
                    return
                self.wfile.write(piece)
                start += len(piece)

    def _begin(self, status: HTTPStatus, kind: str, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(length)} | headers | _HEADERS).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
