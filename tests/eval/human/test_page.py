"""The page in headless Chromium: three raters to the end, and the report against what they answered by hand."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eval.human.studies import small_study, write_study

from magdiff_eval.human.study import load_study

pytestmark = pytest.mark.slow

METHODS = ("magdiff", "videocrafter1")
ASPECTS = ("image_alignment", "text_alignment", "quality")
SCORES = {  # rater -> method -> the three aspects, in every item
    "keys": {"magdiff": (5, 4, 3), "videocrafter1": (1, 2, 3)},
    "clicks": {"magdiff": (4, 4, 3), "videocrafter1": (2, 2, 3)},
    "link": {"magdiff": (5, 4, 3), "videocrafter1": (1, 2, 3)},
}
# By hand, of the image's alignment: the four units are twice 5, 4, 5 and twice 1, 2, 1. Coincidences: 55: 2, 45: 2,
# 54: 2, 11: 2, 12: 2, 21: 2; 1 and 5 are there four times, 2 and 4 twice, in all 12. Squared ordinal distances: 12: 9,
# 14: 25, 15: 64, 24: 4, 25: 25, 45: 9. Observed: 2 (2·9 + 2·9) = 72; expected: 2 (8·9 + 8·25 + 16·64 + 4·4 + 8·25 +
# 8·9) / 11 = 288.
ALPHA = {"image_alignment": 1 - 72 / 288, "text_alignment": 1.0, "quality": None}
COMMAND = [sys.executable, "-m", "magdiff_eval.human"]


class Served:
    """The command `serve`, which can be killed and started again at the same port."""

    def __init__(self, study: Path) -> None:
        self.study, self.port, self.url = study, 0, ""
        self.start()

    def start(self) -> None:
        command = [*COMMAND, "serve", "--study", str(self.study), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if found := re.search(r"raters open (http://127\.0\.0\.1:(\d+))/;", line):
                self.url, self.port = found[1], int(found[2])
                return
        raise AssertionError("the server ended")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    write_study(tmp_path, small_study(2, METHODS))
    server = Served(tmp_path)
    yield server
    server.kill()


def until(page, condition: str) -> None:
    """Wait until an expression holds; the page's policy forbids the driver's own way, which evaluates text in it."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"after ten seconds it does not hold: {condition}")


class Rater:
    """Somebody at the page, who knows which method it is only because the test looks it up."""

    def __init__(self, page, study: Path, name: str) -> None:
        self.page, self.name, self.seen = page, name, []
        self.methods = {key: video.method for key, (_, video) in load_study(study).videos().items()}
        self.problems, self.texts = [], []
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.texts.append(request.url + str(request.post_data)))
        page.on("response", self._keep)

    def _keep(self, response) -> None:
        if "/media/" not in response.url:
            self.texts.append(str(response.headers))

    def join(self, url: str) -> None:
        self.page.goto(url)
        self.page.get_by_label("Your name").fill(self.name)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#begin:visible")

    def scores(self) -> tuple[int, ...]:
        """The scores for the video that plays now."""
        until(self.page, "document.getElementById('video').currentTime > 0.05")
        video = self.page.evaluate("document.getElementById('video').currentSrc").split("/")[-1].removesuffix(".mp4")
        self.seen.append(video)
        return SCORES[self.name][self.methods[video]]

    def place(self) -> str:
        return self.page.inner_text("#place")

    def by_keys(self, num_answers: int = 3) -> None:
        for score in self.scores()[:num_answers]:
            self.page.keyboard.press(str(score))

    def by_clicks(self, tap: bool) -> None:
        for aspect, score in zip(ASPECTS, self.scores(), strict=True):
            label = self.page.locator(f"[data-aspect={aspect}] label:has(input[value='{score}'])")
            label.tap() if tap else label.click()

    def saved(self) -> None:
        until(self.page, "document.getElementById('status').textContent === 'Saved'")

    def checked(self) -> list[str]:
        return self.page.eval_on_selector_all("#questions input:checked", "found => found.map((input) => input.value)")


def report_of(study: Path) -> dict:
    done = subprocess.run([*COMMAND, "report", "--study", str(study), "--json"], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_three_raters_finish_one_of_them_interrupted_and_the_report_is_what_they_said(
    server: Served, launch: Callable
) -> None:
    browser = launch()
    keys = Rater(browser.new_page(), server.study, "keys")
    keys.join(server.url)
    keys.page.keyboard.press("Tab")  # from the heading to the link, its button, and Begin
    keys.page.get_by_role("button", name="Begin").focus()
    keys.page.keyboard.press("Enter")
    for number in range(1, 5):
        assert keys.place() == f"Video {number} of 4"
        keys.page.keyboard.press("Enter")  # nothing is answered: it stays
        assert keys.place() == f"Video {number} of 4"
        keys.by_keys()
        keys.page.keyboard.press("ArrowRight" if number % 2 else "Enter")
    keys.page.wait_for_selector("#done:visible")
    assert keys.page.inner_text("#done-count") == "12"

    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    clicks = Rater(phone.new_page(), server.study, "clicks")
    clicks.join(server.url)
    clicks.page.tap("#begin")
    for number in range(1, 5):
        assert clicks.place() == f"Video {number} of 4"
        clicks.by_clicks(tap=number % 2 == 1)
        clicks.page.tap("#next")
    clicks.page.wait_for_selector("#done:visible")

    first = Rater(browser.new_page(), server.study, "link")
    first.join(server.url)
    link = first.page.input_value("#intro-link")
    first.page.click("#begin")
    first.by_keys()
    first.page.keyboard.press("Enter")
    first.by_keys(num_answers=1)
    first.saved()
    browser.close()
    server.kill()
    server.start()
    browser = launch()
    again = Rater(browser.new_page(), server.study, "link")
    again.page.goto(link)
    assert again.page.wait_for_selector("#rate:visible")
    assert again.place() == "Video 2 of 4"
    (second,) = {again.page.evaluate("document.getElementById('video').src").split("/")[-1].removesuffix(".mp4")}
    assert second == first.seen[1]  # the order is the same
    assert again.checked() == [str(SCORES["link"][again.methods[second]][0])]
    again.page.keyboard.press("ArrowLeft")
    assert again.place() == "Video 1 of 4"
    assert again.checked() == [str(score) for score in SCORES["link"][again.methods[first.seen[0]]]]
    again.page.keyboard.press("ArrowUp")
    again.page.keyboard.press("ArrowRight")
    for score in again.scores()[1:]:
        again.page.keyboard.press(str(score))
    for _ in range(2):
        again.page.keyboard.press("Enter")
        again.by_keys()
    again.page.get_by_role("button", name="Finish").click()
    again.page.wait_for_selector("#done:visible")
    browser.close()

    assert len(set(first.seen[:1] + again.seen)) == 4
    for rater in (keys, clicks, first, again):
        assert rater.problems == []
        sent = " ".join(rater.texts).lower()
        assert "/api/r/" in sent
        assert not any(method in sent for method in METHODS)
    results = report_of(server.study)
    assert results["raters"] == {"complete": 3, "partial": 0, "without_an_answer": 0}
    assert results["num_scores"] == 36
    # Of 27 resamples one is the odd rater three times, more than 2.5%: the intervals reach from rater to rater.
    expected = [
        ("magdiff", "image_alignment", 14 / 3, 1, 4, 5),
        ("magdiff", "text_alignment", 4, 1, 4, 4),
        ("magdiff", "quality", 3, 1, 3, 3),
        ("videocrafter1", "image_alignment", 4 / 3, 2, 1, 2),
        ("videocrafter1", "text_alignment", 2, 2, 2, 2),
        ("videocrafter1", "quality", 3, 1, 3, 3),
    ]
    for cell, (method, aspect, mean, rank, lower, upper) in zip(results["means"], expected, strict=True):
        assert (cell["method"], cell["aspect"], cell["rank"]) == (method, aspect, rank)
        assert (cell["mean"], cell["lower"], cell["upper"]) == pytest.approx((mean, lower, upper))
    assert results["alpha"] == pytest.approx(ALPHA)


def test_answers_given_while_the_server_is_down_arrive_when_it_is_back(server: Served, launch: Callable) -> None:
    browser = launch()
    rater = Rater(browser.new_page(), server.study, "keys")
    rater.join(server.url)
    rater.page.click("#begin")
    expected = rater.scores()
    rater.page.keyboard.press(str(expected[0]))
    rater.saved()
    server.kill()
    rater.page.keyboard.press("5")
    rater.page.keyboard.press(str(expected[2]))
    rater.page.keyboard.press("ArrowUp")  # a change of mind, before the first was kept
    rater.page.keyboard.press(str(expected[1]))
    until(rater.page, "document.getElementById('status').textContent.startsWith('Not saved yet')")
    server.start()
    rater.saved()
    token = rater.page.url.split("/")[-1]
    shown = rater.page.evaluate(f"fetch('/api/r/{token}').then((response) => response.json())")
    assert shown["videos"][0]["scores"] == dict(zip(ASPECTS, expected, strict=True))
    browser.close()


def test_buttons_keep_their_keys_and_answers_can_be_chosen_by_tab_and_arrows(server: Served, launch: Callable) -> None:
    browser = launch()
    rater = Rater(browser.new_page(), server.study, "keys")
    rater.join(server.url)
    rater.page.click("#begin")
    rater.scores()
    rater.page.focus("#pause")
    rater.page.keyboard.press("Space")
    assert rater.page.evaluate("document.getElementById('video').paused")
    until(rater.page, "document.getElementById('pause').textContent === 'Play'")
    rater.page.focus("[data-aspect=text_alignment]")
    rater.page.keyboard.press("Space")  # elsewhere: replay
    until(rater.page, "!document.getElementById('video').paused")
    rater.page.keyboard.press("Tab")
    assert rater.page.evaluate("document.activeElement.getAttribute('aria-label')") == "1, very dissatisfied"
    rater.page.keyboard.press("Space")
    rater.page.keyboard.press("ArrowRight")
    rater.page.keyboard.press("ArrowRight")
    assert rater.checked() == ["3"]
    assert rater.place() == "Video 1 of 4"
    rater.saved()
    browser.close()


def test_links_that_are_not_known_and_names_that_are_taken_are_told(server: Served, launch: Callable) -> None:
    browser = launch()
    page = browser.new_page()
    page.goto(f"{server.url}/r/nobody")
    page.wait_for_selector("#problem:visible")
    assert "This link is not known" in page.inner_text("#problem")
    Rater(page, server.study, "keys").join(server.url)
    page.goto(server.url)
    page.get_by_label("Your name").fill("KEYS")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('join-error').textContent")
    assert "has begun already" in page.inner_text("#join-error")
    browser.close()


def test_nothing_is_wider_than_a_narrow_phone_and_what_is_pressed_is_large_enough(
    server: Served, launch: Callable
) -> None:
    browser = launch()
    context = browser.new_context(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    rater = Rater(context.new_page(), server.study, "clicks")
    rater.join(server.url)
    assert rater.page.evaluate("document.documentElement.scrollWidth") <= 320
    rater.page.tap("#begin")
    rater.scores()
    assert rater.page.evaluate("document.documentElement.scrollWidth") <= 320
    boxes = rater.page.eval_on_selector_all(
        "#questions label, nav button", "found => found.map((node) => [node.offsetWidth, node.offsetHeight])"
    )
    assert len(boxes) == 17
    assert min(min(box) for box in boxes) >= 40
    browser.close()
