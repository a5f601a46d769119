"""Small studies for the tests, and a client that looks at raw responses."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval.scoring.tiny import FAST, moving
from PIL import Image as PillowImage

from magdiff_curation.clips.video import encode
from magdiff_eval.human.server import StudyServer
from magdiff_eval.human.store import Store
from magdiff_eval.human.study import ANSWERS, Study, StudyItem, StudyVideo, image_file, video_file

METHODS = ("magdiff", "videocrafter1", "animatediff")
JSON = {"Content-Type": "application/json"}


def small_study(num_items: int, methods: tuple[str, ...] = METHODS) -> Study:
    """A study whose ids tell what they are."""
    items = tuple(
        StudyItem(
            id=f"{index:032x}",
            name=f"item-{index}",
            prompt=f"prompt {index}",
            videos=tuple(
                StudyVideo(id=f"{16 * index + place + 4096:032x}", method=m) for place, m in enumerate(methods)
            ),
        )
        for index in range(num_items)
    )
    return Study(seed=0, methods=methods, items=items)


def write_study(folder: Path, study: Study) -> None:
    study.save(folder)
    image_file(folder, "").parent.mkdir()
    for seed, item in enumerate(study.items):
        PillowImage.fromarray(moving(seed, 1)[0]).save(image_file(folder, item.id))
        for place, video in enumerate(item.videos):
            video_file(folder, video.id).write_bytes(encode(moving(16 * seed + place, 8), 8, FAST))


class Client:
    """Asks a server, and keeps every byte that came back."""

    def __init__(self, port: int) -> None:
        self.port, self.seen = port, b""

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None):
        """Return status, headers and content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, {**(JSON if content else {}), **(headers or {})})
        response = connection.getresponse()
        received = response.read()
        self.seen += str(response.getheaders()).encode() + received
        connection.close()
        return response.status, dict(response.getheaders()), received

    def json(self, method: str, path: str, body: object = None):
        return json.loads(self.ask(method, path, body)[2])


@contextmanager
def served(folder: Path, study: Study, *, by_link: bool = False) -> Iterator[tuple[Client, Store]]:
    store = Store(folder / ANSWERS)
    server = StudyServer(folder, study, store, ("127.0.0.1", 0), by_link=by_link)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Client(server.server_address[1]), store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        store.close()
