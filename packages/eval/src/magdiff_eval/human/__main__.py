"""The human study's commands: `python -m magdiff_eval.human make|serve|report`."""

from __future__ import annotations

import errno
import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from magdiff_eval.human.make import MakeSettings, make
from magdiff_eval.human.report import ReportSettings, as_json, as_markdown, report
from magdiff_eval.human.server import StudyServer
from magdiff_eval.human.store import Store
from magdiff_eval.human.study import ANSWERS, load_study


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Let raters in, until Ctrl-C. Started again, it goes on with all answers."""

    study: Path
    """The study's folder."""
    host: str = "127.0.0.1"
    """Where to listen; by default only this machine can connect."""
    port: int = 8765
    """0 takes a free one."""
    raters: int = 0
    """Print so many personal links, and let nobody in by name; 0: whoever comes gives a name."""
    url: str | None = None
    """What links begin with, where raters reach the server by another address, such as https://study.example."""


def serve(settings: ServeSettings) -> None:
    """Serve until interrupted."""
    study = load_study(settings.study)
    if settings.raters < 0:
        raise ValueError(f"--raters {settings.raters} is none: give a number, or 0 to let people join by name")
    if not 0 <= settings.port <= 65535:
        raise ValueError(f"--port {settings.port} is none: give 0 to 65535")
    store = Store(settings.study / ANSWERS)
    invited = store.invite(settings.raters)
    try:
        server = StudyServer(
            settings.study,
            study,
            store,
            (settings.host, settings.port),
            by_link=bool(settings.raters),
            url=settings.url,
        )
    except OSError as error:
        remedy = "choose another --port" if error.errno == errno.EADDRINUSE else "choose another --host"
        raise ValueError(f"cannot listen on {settings.host}, port {settings.port} ({error}): {remedy}") from None
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = (settings.url or f"http://{shown}:{server.server_address[1]}").rstrip("/")
    if not _is_loopback(settings.host):
        print(
            f"WARNING: whoever reaches {settings.host} can take part and see the videos, and nothing is encrypted. "
            "Do this in a network that you trust, or behind a proxy with https (--url).",
            file=sys.stderr,
        )
    print(f"{len(study.videos())} videos, {study.num_answers} answers each, kept in {settings.study / ANSWERS}")
    for number, rater in enumerate(invited, 1):
        print(f"rater {number}: {url}/r/{rater.token}")
    print(f"raters open {'their links' if invited else url + '/'}; end with Ctrl-C", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("\nstopped; every answer is kept")
    finally:
        server.server_close()
        store.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> None:
    """Read the command line and do what it says."""
    commands: dict[str, Callable[..., MakeSettings | ServeSettings | ReportSettings]] = {
        "make": MakeSettings,
        "serve": ServeSettings,
        "report": ReportSettings,
    }
    settings = tyro.extras.subcommand_cli_from_dict(commands, prog="python -m magdiff_eval.human", description=__doc__)
    try:
        if isinstance(settings, MakeSettings):
            study, left_out = make(settings)
            print("".join(f"left out: {line}\n" for line in left_out), end="")
            print(f"{len(study.items)} items of {len(study.methods)} methods are in {settings.output}")
            print(f"let raters in: python -m magdiff_eval.human serve --study {settings.output}")
        elif isinstance(settings, ServeSettings):
            serve(settings)
        else:
            results = report(settings)
            print(as_json(results).decode() if settings.json else as_markdown(results))
    except (ValueError, OSError) as error:
        sys.exit(f"human: {error}")


if __name__ == "__main__":
    main()
