import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from eval.human.studies import METHODS, Client, served, small_study, write_study

from magdiff_eval.human.replies import NoSuchRange, asked_range
from magdiff_eval.human.server import MAX_NAME, StudyServer
from magdiff_eval.human.store import Answer, Store
from magdiff_eval.human.study import ANSWERS, order_for, video_file

STUDY = small_study(2)
ASPECTS = ("image_alignment", "text_alignment", "quality")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, STUDY)
    return folder


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    (folder / ANSWERS).unlink(missing_ok=True)
    with served(folder, STUDY) as (client, _):
        yield client


def test_a_rater_joins_answers_and_finds_the_answers_again(client: Client) -> None:
    token = client.json("POST", "/api/raters", {"name": " Ada "})["token"]
    shown = client.json("GET", f"/api/r/{token}")
    assert shown["name"] == "Ada"
    order = [video.id for item in order_for(STUDY, token) for video in item.videos]
    assert [video["id"] for video in shown["videos"]] == order
    assert all(video["scores"] == {} for video in shown["videos"])
    for score in (2, 5):
        body = {"video": order[3], "aspect": "quality", "score": score}
        assert client.ask("PUT", f"/api/r/{token}/answers", body)[0] == 200
    again = client.json("GET", f"/api/r/{token}")["videos"]
    assert [video["scores"] for video in again] == [{}, {}, {}, {"quality": 5}, {}, {}]


def test_no_response_names_a_method_or_an_item(client: Client, folder: Path) -> None:
    token = client.json("POST", "/api/raters", {"name": "Ada"})["token"]
    shown = client.json("GET", f"/api/r/{token}")
    for path in ("/", "/page.js", "/page.css", f"/r/{token}", "/api/study", "/study.json", "/answers.sqlite", "/api"):
        client.ask("GET", path)
    for video in shown["videos"]:
        assert client.ask("GET", video["video"])[0] == 200
        assert client.ask("GET", video["image"])[0] == 200
        for aspect in (*ASPECTS, "beauty"):
            client.ask("PUT", f"/api/r/{token}/answers", {"video": video["id"], "aspect": aspect, "score": 3})
    client.ask("PUT", f"/api/r/{token}/answers", {"video": "magic", "aspect": "quality", "score": 3})
    client.ask("POST", "/api/raters", {"name": "Ada"})
    assert len(client.seen) > 10_000
    for name in (*METHODS, *(item.name for item in STUDY.items)):
        assert name.encode() not in client.seen.lower()
    assert set(shown["videos"][0]) == {"id", "video", "image", "prompt", "scores"}


def test_every_response_keeps_the_browser_to_this_site(client: Client) -> None:
    video = f"/media/{STUDY.items[0].videos[0].id}.mp4"
    for path in ("/", "/page.js", "/api/study", "/nothing", video):
        headers = client.ask("GET", path)[1]
        assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"  # the link is the rater's secret
        assert headers["Server"] == "study"
        assert headers["Cache-Control"] == ("private, max-age=3600" if path == video else "no-store")


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"video": "x", "aspect": "quality", "score": 3}, 400, "no such video"),
        ({"aspect": "quality", "score": 3}, 400, "no such video"),
        ({"video": ["x"], "aspect": "quality", "score": 3}, 400, "no such video"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "beauty", "score": 3}, 400, "An aspect is one of"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "quality", "score": 6}, 400, "whole number from 1 to 5"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "quality", "score": 0}, 400, "whole number from 1 to 5"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "quality", "score": True}, 400, "whole number from 1 to 5"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "quality", "score": 2.5}, 400, "whole number from 1 to 5"),
        ({"video": STUDY.items[0].videos[0].id, "aspect": "quality", "score": "3"}, 400, "whole number from 1 to 5"),
        (b"{", 400, "no JSON"),
        (b"[" * 4000, 400, "no JSON"),
        (b"\xff", 400, "no JSON"),
        ([1], 400, "no JSON object"),
        ({"video": "x" * 5000}, 413, "at most 4096 bytes"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_with_a_sentence(
    client: Client, folder: Path, body: object, status: int, told: str
) -> None:
    token = client.json("POST", "/api/raters", {"name": "Ada"})["token"]
    found = client.ask("PUT", f"/api/r/{token}/answers", body)
    assert found[0] == status
    assert told in found[2].decode()
    assert Store(folder / ANSWERS).answers() == []


def test_requests_of_another_kind_or_without_a_length_are_refused(client: Client) -> None:
    token = client.json("POST", "/api/raters", {"name": "Ada"})["token"]
    path = f"/api/r/{token}/answers"
    assert client.ask("PUT", path, {}, {"Content-Type": "text/plain"})[0] == 415  # what a form elsewhere could send
    assert client.ask("PUT", path)[0] == 415
    assert client.ask("PUT", path, b"{}", {"Content-Length": "-1"})[0] == 411
    assert client.ask("PUT", path, b"{}", {"Content-Length": "9" * 5000})[0] in (411, 413)
    assert client.ask("PUT", path, b"{}", {"Transfer-Encoding": "chunked"})[0] == 411
    assert client.ask("PUT", "/api/r/another/answers", {})[0] == 404
    assert client.ask("POST", path, {})[0] == 404
    assert client.ask("PUT", "/api/raters", {"name": "Ben"})[0] == 404
    assert client.ask("DELETE", path)[0] == 501
    assert client.ask("GET", "/api/r/another")[0] == 404
    assert client.json("GET", f"/api/r/{token}")["name"] == "Ada"  # and the server goes on


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * (MAX_NAME + 1), 7, None])
def test_a_name_must_be_one(client: Client, name: object) -> None:
    status, _, content = client.ask("POST", "/api/raters", {"name": name})
    assert status == 400
    assert b"1 to 60 characters" in content


def test_a_name_that_has_begun_is_sent_to_its_link(client: Client) -> None:
    assert client.ask("POST", "/api/raters", {"name": "Ada"})[0] == 201
    status, _, content = client.ask("POST", "/api/raters", {"name": "ada"})
    assert status == 409
    assert b"go on by your link" in content


def test_a_study_by_link_lets_nobody_in_by_name(folder: Path) -> None:
    (folder / ANSWERS).unlink(missing_ok=True)
    with served(folder, STUDY, by_link=True) as (client, store):
        (rater,) = store.invite(1)
        assert client.json("GET", "/api/study") == {"by_link": True}
        assert client.ask("POST", "/api/raters", {"name": "Ada"})[0] == 403
        assert len(client.json("GET", f"/api/r/{rater.token}")["videos"]) == 6
        assert store.raters() == [rater]


@pytest.mark.parametrize(
    "path",
    [
        "/media/../study.json",
        "/media/%2e%2e/study.json",
        "/media/..%2fstudy.json",
        "/media/%2e%2e%2fanswers.sqlite",
        "//study.json",
        "/media//etc/passwd",
        "/../../../../etc/passwd",
        "/media/",
        "/media",
        "/page.js/../study.json",
        "/page/index.html",
        "/media/\\..\\study.json",
    ],
)
def test_no_path_leads_out_of_what_is_served(client: Client, path: str) -> None:
    assert client.ask("GET", path)[0] == 404


def test_videos_come_whole_or_in_the_range_that_is_asked_for(client: Client, folder: Path) -> None:
    video = STUDY.items[1].videos[2].id
    whole = video_file(folder, video).read_bytes()
    status, headers, content = client.ask("GET", f"/media/{video}.mp4")
    assert (status, headers["Content-Type"], content) == (200, "video/mp4", whole)
    for asked, start, stop in (("0-", 0, len(whole)), ("10-99", 10, 100), ("-7", len(whole) - 7, len(whole))):
        status, headers, content = client.ask("GET", f"/media/{video}.mp4", headers={"Range": f"bytes={asked}"})
        assert (status, content) == (206, whole[start:stop])
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    status, headers, content = client.ask("GET", f"/media/{video}.mp4", headers={"Range": f"bytes={len(whole)}-"})
    assert (status, headers["Content-Range"], content) == (416, f"bytes */{len(whole)}", b"")
    status, headers, content = client.ask("HEAD", f"/media/{video}.mp4")
    assert (status, headers["Content-Length"], content) == (200, str(len(whole)), b"")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-200", (5, 100)),
        ("bytes=-200", (0, 100)),
        ("bytes = 5 - 9", (5, 10)),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=0-" + "9" * 30, None),
    ],
)
def test_ranges_are_read_as_http_has_them(header: str | None, found: tuple[int, int] | None) -> None:
    assert asked_range(header, 100) == found


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_past_the_end_are_none(header: str) -> None:
    with pytest.raises(NoSuchRange):
        asked_range(header, 100)


def test_one_connection_carries_many_requests_unless_something_is_left_unread(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/api/study")
        assert connection.getresponse().read() == b'{"by_link": false}'
    connection.close()
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as plain:
        plain.sendall(
            b"GET /api/study HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\nGET /page.js HTTP/1.1\r\n\r\n"
        )
        received = b""
        while piece := plain.recv(2**16):
            received += piece
    assert received.count(b"HTTP/1.1 ") == 1  # what lies in a body is no request


def test_a_study_whose_files_are_gone_is_not_served(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY)
    gone = video_file(tmp_path, STUDY.items[0].videos[0].id)
    gone.unlink()
    store = Store(tmp_path / ANSWERS)
    with pytest.raises(ValueError, match=f"1 files of the study are gone, the first is {gone}"):
        StudyServer(tmp_path, STUDY, store, ("127.0.0.1", 0), by_link=False)


def test_answers_given_to_one_server_are_there_with_the_next(folder: Path) -> None:
    (folder / ANSWERS).unlink(missing_ok=True)
    video = STUDY.items[0].videos[1].id
    with served(folder, STUDY) as (client, _):
        token = client.json("POST", "/api/raters", {"name": "Ada"})["token"]
        client.ask("PUT", f"/api/r/{token}/answers", {"video": video, "aspect": "quality", "score": 2})
    with served(folder, STUDY) as (client, store):
        shown = client.json("GET", f"/api/r/{token}")["videos"]
        assert {entry["id"]: entry["scores"] for entry in shown if entry["scores"]} == {video: {"quality": 2}}
        assert store.answers() == [Answer(rater=1, video=video, aspect="quality", score=2)]


def test_a_page_that_points_its_own_name_at_this_machine_gets_no_answer(client: Client) -> None:
    for name, status in (
        ("evil.example", 421),
        (f"evil.example:{client.port}", 421),
        (f"localhost:{client.port}", 200),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
        connection.request("GET", "/api/study", headers={"Host": name})
        assert connection.getresponse().status == status
        connection.close()
