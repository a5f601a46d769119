"""The page's content, read back from the file that was written."""

import base64
import hashlib
import html.parser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eval.report.runs import STAMP, distinct, item, picture, row, videos, write_run

from magdiff_eval.report import document
from magdiff_eval.report.document import write_document
from magdiff_eval.report.order import better, choose, worst_first
from magdiff_eval.report.runs import PageItem, read_runs

EVIL = "</script ></script><img src=x onerror=alert(1)> {{script}} \"' <!-- <script>"
POLICY = "Content-Security-Policy"


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with their attributes, texts of scripts, and all other words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        else:
            self.words += data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])

    @property
    def media(self) -> list[list[str]]:
        return json.loads(self.scripts[2])


def three(folder: Path, method: str = "MagDiff", **more: Any) -> Path:
    """A run of three prompts."""
    items = [item("a/style", "a bear, watercolour"), item("a/object", "a cat", "object"), item("b", "a dog", "object")]
    rows = [row("a/style", 0.3, 0.5), row("a/object", 0.1, 0.25), row("b", 0.2, 0.75)]
    return write_run(folder, method, items, more.pop("rows", rows), **more)


def page_of(*folders: Path) -> Page:
    path = folders[0].parent / "report.html"
    write_document(folders, path)
    return Page(path)


def test_the_page_holds_every_methods_video_and_what_they_were_given(tmp_path: Path) -> None:
    video, other, given = videos(3)
    subject = picture(tmp_path / "subject.png", 1)
    first = three(tmp_path / "a", made={"a/style": video}, given={"a/style": given})
    second = three(tmp_path / "b", "SVD", made={"a/style": other}, given={"a/style": video, "b": subject})
    page = page_of(first, second)
    assert page.data["methods"] == ["MagDiff", "SVD"]
    assert page.data["scores"] == [
        {"name": "clip-text", "better": "higher"},
        {"name": "error-inside", "better": "lower"},
    ]
    rows = {entry["name"]: entry for entry in page.data["rows"]}
    media = [(kind, base64.b64decode(content)) for kind, content in page.media]
    style = rows["a/style"]
    assert (style["prompt"], style["group"], style["task"]) == ("a bear, watercolour", "style", "edit")
    assert media[style["given"]] == ("video/mp4", given), "the first run's"
    assert [media[cell["video"]] for cell in style["cells"]] == [("video/mp4", video), ("video/mp4", other)]
    assert style["cells"][0]["scores"] == [0.3, 0.5]
    assert media[rows["b"]["given"]] == ("image/png", subject)
    assert rows["b"]["picture"]
    assert rows["b"]["cells"][0] == {
        "video": None,
        "scores": [0.2, 0.75],
        "faults": ["there is no videos/b.mp4 in the run's folder"],
    }


def test_a_failed_video_has_its_reason_and_a_metric_that_asks_too_much_is_no_fault(tmp_path: Path) -> None:
    rows = [
        row("a/style", fault={"reason": "not_there", "detail": "no such video"}),
        row("a/object", 0.1, clip="length_not_taken", dino="item_lacks"),
    ]
    run = read_runs([three(tmp_path / "a", rows=rows, failed={"a/style": "the mask is empty"})])[0]
    assert run.faults("a/style") == ["not made: the mask is empty"]
    assert run.faults("a/object") == ["clip: length not taken: as it is"]
    assert run.faults("b") == ["rows.jsonl does not have it: run the benchmark to its end"]
    assert run.faults("c") == ["this run does not have the prompt"]


def test_a_video_that_failed_once_and_was_made_later_has_no_fault(tmp_path: Path) -> None:
    run = read_runs([three(tmp_path / "a", failed={"b": "out of memory"})])[0]
    assert run.faults("b") == []


def test_scores_that_are_no_finite_numbers_are_left_out(tmp_path: Path) -> None:
    rows = [row("a/style", float("nan"), 0.5), row("a/object", float("inf"), 0.25), row("b", 0.2, 0.75)]
    page = page_of(three(tmp_path / "a", rows=rows, scores={"clip-text": 0.2, "error-inside": 0.5}, intervals={}))
    assert [entry["cells"][0]["scores"] for entry in page.data["rows"]] == [[None, 0.5], [None, 0.25], [0.2, 0.75]]


def test_means_have_their_intervals_and_the_best_is_bold(tmp_path: Path) -> None:
    rows = [row("a/style", 0.4, 0.5), row("a/object", 0.2, 0.75), row("b", 0.3, 0.25)]
    page = page_of(three(tmp_path / "a"), three(tmp_path / "b", "SVD", rows=rows))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<strong>0.3</strong>" in text
    assert "0.2 [0.19, 0.21]" in page.words
    assert "clip-text ↑" in page.words
    assert "error-inside ↓" in page.words
    assert text.count("<strong>0.5</strong>") == 2, "both are best"


def test_a_mean_that_does_not_compare_has_a_dagger_and_its_reason_and_is_not_the_best(tmp_path: Path) -> None:
    rows = [row("a/style", 0.9, 0.5), row("a/object", 0.9, 0.25), row("b", 0.9, 0.75)]
    odd = three(tmp_path / "c", "Odd", rows=rows, not_comparable={"clip-text": "another CLIP"})
    page = page_of(three(tmp_path / "a"), three(tmp_path / "b", "SVD"), odd)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0.9<sup>†1</sup>" in text
    assert "<strong>0.2</strong>" in text
    assert "another CLIP" in page.words


def test_the_runs_own_tables_are_put_in_as_they_are(tmp_path: Path) -> None:
    first, second = three(tmp_path / "a"), three(tmp_path / "b", "SVD")
    (first / "tables.html").write_text('<section class="paper-table"><b>Table 3</b></section>', encoding="utf-8")
    (second / "tables.html").write_text("<b>not this</b>", encoding="utf-8")
    page_of(first, second)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<section class="paper-table"><b>Table 3</b></section>' in text
    assert "not this" not in text


def test_another_listing_or_another_way_of_scoring_is_said_at_the_top(tmp_path: Path) -> None:
    first = three(tmp_path / "a", protocol={"clip": {"about": "loveu", "videos": 3}, "maker": {"steps": 50}})
    listing = three(tmp_path / "b", "Other", stamp=STAMP | {"videos": 3})
    fewer = three(tmp_path / "c", "Fewer", protocol={"clip": {"about": "loveu", "videos": 2}, "maker": {"steps": 9}})
    way = three(tmp_path / "d", "Way", protocol={"clip": {"about": "fatezero", "videos": 3}})
    words = page_of(first, listing, fewer, way).words
    assert "Other was run on another listing than MagDiff: videos of it differ. Their scores do not compare." in words
    assert "Way was scored in another way than MagDiff: clip differ. Their scores do not compare." in words
    assert "Fewer was" not in words


def test_methods_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [three(tmp_path / name) for name in ("short", "long", "x/long")]
    assert [run.title for run in read_runs(folders)] == [
        "MagDiff (short)",
        f"MagDiff ({tmp_path / 'long'})",
        f"MagDiff ({tmp_path / 'x/long'})",
    ]


def test_runs_of_two_benchmarks_are_refused(tmp_path: Path) -> None:
    a, b = three(tmp_path / "a"), three(tmp_path / "b", stamp={"benchmark": "ucf101"})
    with pytest.raises(ValueError, match=r"a run of davis, .* one of ucf101: give runs of one benchmark"):
        read_runs([a, b])


def test_no_folder_or_one_twice_or_one_that_is_no_runs_is_refused(tmp_path: Path) -> None:
    folder = three(tmp_path / "a")
    with pytest.raises(ValueError, match="there are no runs"):
        read_runs([])
    with pytest.raises(ValueError, match="2 times: give it once"):
        read_runs([folder, tmp_path / "b" / ".." / "a"])
    (folder / "listing.json").unlink()
    with pytest.raises(ValueError, match=r"there is no .*listing.json: give a folder"):
        read_runs([folder])
    (folder / "listing.json").write_text('{"benchmark": "davis", "stamp": {}, "items": [{"name": 3}]}')
    with pytest.raises(ValueError, match=r"listing.json is no listing .*3 is no text"):
        read_runs([folder])


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", "a/../../b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_run(tmp_path / "a", "MagDiff", [item(name, "a bear")], [row(name, 0.1, 0.2)])
    with pytest.raises(ValueError, match="which is no path in the folder"):
        read_runs([folder])


def test_texts_cannot_end_their_script_or_become_markup(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", EVIL, [item("a", EVIL, EVIL, EVIL)], [row("a", 0.1, clip=EVIL)], versions={EVIL: EVIL}
    )
    page = page_of(folder)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, names in page.elements for name in names if name.startswith("on")]
    assert page.data["rows"][0]["prompt"] == EVIL
    assert page.data["methods"] == [EVIL]


def test_the_policy_lets_the_pages_own_script_run_alone_and_nothing_load(tmp_path: Path) -> None:
    page = page_of(three(tmp_path / "a"))
    policy = next(names["content"] for _, names in page.elements if names.get("http-equiv") == POLICY)
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    loaded = [names for _, names in page.elements if names.get("src") or (names.get("href") or "#")[0] != "#"]
    assert loaded == [{"rel": "icon", "href": "data:,"}]


def test_more_videos_than_a_page_holds_leave_the_worst_and_an_even_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_VIDEOS", 8)
    names = [f"{number:02d}" for number in range(20)]
    rows = [row(name, 1 - number / 20, 0.5) for number, name in enumerate(names)]
    folder = write_run(tmp_path / "a", "MagDiff", [item(name, "a bear") for name in names], rows)
    page = page_of(folder)
    assert [entry["name"] for entry in page.data["rows"]] == ["00", "17", "18", "19"], "as listed"
    assert "4 of 20 prompts are shown" in page.words
    assert "the worst by clip-text of MagDiff" in page.words


def test_large_videos_leave_fewer_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 50_000)
    video = videos(1)[0]
    names = [f"{number:02d}" for number in range(10)]
    made = {name: distinct(video, number, 10_000) for number, name in enumerate(names)}
    rows = [row(name, number / 10, 0.5) for number, name in enumerate(names)]
    folder = write_run(tmp_path / "a", "MagDiff", [item(name, "a bear") for name in names], rows, made=made)
    page = page_of(folder)
    assert len(page.data["rows"]) == 5
    assert len(page.media) == 5


def test_the_worst_of_a_score_come_first_failures_before_them_and_what_it_does_not_apply_to_last(
    tmp_path: Path,
) -> None:
    rows = [row("a/style", 0.3), row("a/object", 0.1, regions="not_scored"), row("b", 0.2, 0.75)]
    run = read_runs([three(tmp_path / "a", rows=rows)])[0]
    items = list(run.items.values())
    assert [entry.name for entry in worst_first(items, run, "clip-text")] == ["a/object", "b", "a/style"]
    assert [entry.name for entry in worst_first(items, run, "error-inside")] == ["a/object", "b", "a/style"]
    assert (better("fvd"), better("motion"), better("clip-text")) == ("lower", "", "higher")
    assert better("error-flat") == ""  # of the source alone


def test_a_choice_has_its_front_and_the_rests_ends() -> None:
    items = [PageItem(name=f"{number}", group="", task="edit", prompt="") for number in range(11)]
    assert [entry.name for entry in choose(items, 6)] == ["0", "1", "2", "3", "7", "10"]
    assert [entry.name for entry in choose(items, 1)] == ["0"]
    assert choose(items, 20) == items


def test_a_run_without_scores_of_single_videos_is_shown_as_it_is_listed(tmp_path: Path) -> None:
    rows = [row(name) for name in ("a/style", "a/object", "b")]
    page = page_of(three(tmp_path / "a", rows=rows, scores={"fvd": 321.5}, intervals={"fvd": [300, 340]}))
    assert page.data["scores"] == []
    assert "321.5 [300, 340]" in page.words


def test_the_command_writes_the_page_and_says_what_is_wrong(tmp_path: Path) -> None:
    folder, output = three(tmp_path / "a"), tmp_path / "out" / "page.html"
    command = [sys.executable, "-m", "magdiff_eval.report"]
    done = subprocess.run([*command, str(folder), "--output", str(output)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"look at {output}: prompts: 3, methods: 1, 0.0 MB")
    assert Page(output).data["methods"] == ["MagDiff"]
    failed = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"report: there is no {tmp_path / 'none'}")
