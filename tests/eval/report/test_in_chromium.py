"""The page in headless Chromium, opened from disk, with five methods' videos of 64 prompts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eval.report.many import METHODS, NUM_PROMPTS, write_many
from eval.report.runs import item, row, videos, write_run

from magdiff_eval.report.document import write_document
from magdiff_eval.report.runs import read_runs

pytestmark = pytest.mark.slow

SHOWN_NAMES = "[...document.querySelectorAll('.row:not([hidden])')].map((row) => row.dataset.name)"
OPEN_VIDEOS = "document.querySelectorAll('video[src]').length"
EVIL = "</script ></script><img src=x onerror='document.title=`broken`'>\"'<!-- <script>"


class Opened:
    """A tab with the page, and what its console said."""

    def __init__(self, chromium: Any, path: Path, **settings: Any) -> None:
        self.errors: list[str] = []
        self.context = chromium.new_context(**settings)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    @property
    def names(self) -> list[str]:
        return list(self.page.evaluate(SHOWN_NAMES))

    def times(self, name: str) -> list[float]:
        """Return where each video of a row stands, in seconds."""
        videos = f".row[data-name='{name}'] video"
        return list(self.page.eval_on_selector_all(videos, "(nodes) => nodes.map((node) => node.currentTime)"))

    def wait_until_plays(self, name: str) -> None:
        self.page.wait_for_function(
            "(name) => { const found = [...document.querySelectorAll(`.row[data-name='${name}'] video`)];"
            " return found.length && found.every((video) => video.currentTime > 0.2); }",
            arg=name,
            timeout=20_000,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    folder = tmp_path_factory.mktemp("many")
    folders = write_many(folder / "runs")
    assert write_document(folders, folder / "report.html") == NUM_PROMPTS
    return folders, folder / "report.html"


@pytest.fixture
def opened(chromium: Any, made: tuple[list[Path], Path]) -> Iterator[Opened]:
    opened = Opened(chromium, made[1], viewport={"width": 1280, "height": 900})
    yield opened
    opened.context.close()
    assert opened.errors == []


def test_the_page_is_usable_in_under_two_seconds(opened: Opened) -> None:
    ready = [int(opened.page.get_attribute("html", "data-ready"))]
    for _ in range(2):  # the fastest of three: other processes share the machine
        opened.page.reload()
        opened.page.wait_for_selector("html[data-ready]")
        ready.append(int(opened.page.get_attribute("html", "data-ready")))
    assert 0 < min(ready) < 2000
    assert opened.page.locator(".row").count() == NUM_PROMPTS
    assert opened.page.locator("video").count() == NUM_PROMPTS * (len(METHODS) + 1) - 1  # one could not be made


def test_a_rows_videos_play_together_in_sight_alone(opened: Opened) -> None:
    first, last = opened.names[0], opened.names[-1]
    opened.page.locator(f".row[data-name='{first}']").scroll_into_view_if_needed()
    opened.wait_until_plays(first)
    times = opened.times(first)
    assert len(times) == len(METHODS)  # four methods and what they were given
    assert max(times) - min(times) < 0.15
    assert set(opened.times(last)) == {0}
    assert 0 < opened.page.evaluate(OPEN_VIDEOS) < 60  # browsers hold few
    opened.page.locator(f".row[data-name='{last}']").scroll_into_view_if_needed()
    opened.wait_until_plays(last)
    assert set(opened.times(first)) == {0}, "far from the window, nothing is loaded"
    assert opened.page.evaluate(OPEN_VIDEOS) < 60


def test_a_row_starts_again_once_all_its_videos_have_ended(opened: Opened) -> None:
    name = opened.names[1]
    opened.page.locator(f".row[data-name='{name}']").scroll_into_view_if_needed()
    opened.wait_until_plays(name)
    rounds = (
        "(name) => { window.rounds = 0; const video = document.querySelector(`.row[data-name='${name}'] video`);"
        " video.addEventListener('ended', () => { window.rounds += 1; }); }"
    )
    opened.page.evaluate(rounds, name)
    opened.page.wait_for_function("() => window.rounds >= 2", timeout=20_000)  # 2 s each
    times = opened.times(name)
    assert max(times) - min(times) < 0.3


def test_failures_come_first_then_the_worst_and_the_best_score_comes_last(
    opened: Opened, made: tuple[list[Path], Path]
) -> None:
    run = read_runs(made[0])[0]
    scores = {name: run.scores(name).get("clip-text") for name in run.items}
    failed = [name for name, value in scores.items() if value is None]
    rest = sorted((name for name in scores if scores[name] is not None), key=lambda name: scores[name])
    assert failed == ["scene-01/object", "scene-01/background"]
    assert opened.names == failed + rest
    assert "not made: the mask is empty" in opened.page.locator(".row").first.inner_text()


def test_sorting_by_another_score_of_another_method_orders_the_rows_anew(
    opened: Opened, made: tuple[list[Path], Path]
) -> None:
    run = read_runs(made[0])[2]
    opened.page.select_option("#score", label="error-inside")
    opened.page.select_option("#method", label="I2VGen-XL")
    worst = sorted(run.items, key=lambda name: -run.scores(name)["error-inside"])
    assert opened.names == worst, "a large error is bad"
    opened.page.select_option("#order", "best")
    assert opened.names[0] == worst[-1]
    value = run.scores(worst[-1])["error-inside"]
    assert opened.page.locator(".row .key").first.inner_text() == f"error-inside of I2VGen-XL: {value:.4g}"


def test_sorting_by_the_difference_of_two_methods_shows_where_the_first_falls_behind(
    opened: Opened, made: tuple[list[Path], Path]
) -> None:
    ours, other = read_runs(made[0])[1:3]
    opened.page.select_option("#method", label="AnimateDiff")
    opened.page.select_option("#minus", label="I2VGen-XL")
    differences = {name: ours.scores(name)["clip-text"] - other.scores(name)["clip-text"] for name in ours.items}
    assert opened.names == sorted(differences, key=lambda name: differences[name])
    text = opened.page.locator(".row .key").first.inner_text()
    assert re.fullmatch(r"clip-text, AnimateDiff minus I2VGen-XL: \u22120\.\d+", text)


def test_text_group_and_faults_filter_and_clear_brings_all_back(opened: Opened) -> None:
    opened.page.fill("#search", "SCENE 07")
    assert sorted(opened.names) == [f"scene-07/{group}" for group in ("background", "multiple", "object", "style")]
    opened.page.select_option("#group", "style")
    assert opened.names == ["scene-07/style"]
    assert opened.page.inner_text("#found") == "1 of 64 prompts"
    opened.page.click("#controls [type=reset]")
    assert len(opened.names) == NUM_PROMPTS
    opened.page.check("#faults")
    assert opened.names == ["scene-01/object", "scene-01/background"]


def test_everything_can_be_paused_by_keyboard_and_one_row_played(opened: Opened) -> None:
    name = opened.names[0]
    opened.page.locator(f".row[data-name='{name}']").scroll_into_view_if_needed()
    opened.wait_until_plays(name)
    opened.page.focus("#pause")
    opened.page.keyboard.press("Enter")
    assert opened.page.inner_text("#pause") == "Play all"
    playing = "[...document.querySelectorAll('video')].filter((video) => !video.paused).length"
    assert opened.page.evaluate(playing) == 0
    opened.page.locator(f".row[data-name='{name}'] button").focus()
    opened.page.keyboard.press("Space")
    assert opened.page.evaluate(playing) == len(METHODS)
    assert opened.page.locator(f".row[data-name='{name}'] button").inner_text() == "Pause"


def test_whoever_wants_little_motion_gets_still_videos(chromium: Any, made: tuple[list[Path], Path]) -> None:
    still = Opened(chromium, made[1], reduced_motion="reduce")
    still.page.locator(".row").first.scroll_into_view_if_needed()
    loaded = "() => [...document.querySelectorAll('.row video')].some((video) => video.readyState > 3)"
    still.page.wait_for_function(loaded)
    assert set(still.times(still.names[0])) == {0}
    assert still.page.inner_text("#pause") == "Play all"
    still.context.close()


def test_a_phone_scrolls_down_alone_and_a_dark_screen_gets_a_dark_page(
    chromium: Any, made: tuple[list[Path], Path]
) -> None:
    phone = Opened(chromium, made[1], viewport={"width": 390, "height": 800}, color_scheme="dark", has_touch=True)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    phone.page.click("#theme")
    assert phone.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    phone.context.close()


def test_markup_in_texts_is_text_and_a_broken_video_says_so(chromium: Any, tmp_path: Path) -> None:
    items = [item("evil", EVIL, group=EVIL, task=EVIL), item("good", "a bear")]
    made = {"evil": b"no video at all", "good": videos(1)[0]}
    faults = [row("evil", 0.1, clip=EVIL), row("good", 0.2)]
    folder = write_run(tmp_path / "run", EVIL, items, faults, made=made, versions={EVIL: EVIL})
    write_document([folder], tmp_path / "report.html")
    opened = Opened(chromium, tmp_path / "report.html")
    assert opened.page.locator("img, script[src], iframe").count() == 0
    assert opened.page.locator("h3").nth(1).inner_text() == EVIL  # after the run's own in the notes
    opened.page.locator(".row").first.scroll_into_view_if_needed()
    opened.page.wait_for_selector("text=The browser cannot show this file.")
    opened.page.locator(".row").last.scroll_into_view_if_needed()
    opened.wait_until_plays("good")
    assert opened.page.title() == f"davis: {EVIL}"
    assert opened.errors == []
    opened.context.close()
