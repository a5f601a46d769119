"""The report, read back from the page that was written."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_store import object_store
from PIL import Image as PillowImage

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_curation.clips.index import ShardList, index_path, save_shard_list
from magdiff_curation.clips.location import location
from magdiff_curation.clips.record import Clip, ClipRecord
from magdiff_curation.clips.shards import pack_sample, write_shard
from magdiff_curation.clips.video import encode
from magdiff_curation.reasons import Reason
from magdiff_curation.report import pictures, write_report
from magdiff_curation.report.charts import bins
from magdiff_curation.report.cloud import lay_out
from magdiff_curation.report.costs import stage_costs
from magdiff_curation.report.examples import choose, score_lines
from magdiff_curation.report.funnel import funnel
from magdiff_curation.report.ledger_table import load_rows
from magdiff_curation.report.pictures import Pictures
from magdiff_curation.report.sentences import SENTENCES

EVIL = "</script><img src=x onerror=alert(1)> {{script}} <!-- <script>"


class Page(html.parser.HTMLParser):
    """What a browser would see: elements with their attributes, and the texts of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open = ""
        self.feed(text)

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
            self.words.append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def row(source: str, reason: str = "kept", stage: str = "commit", **values: Any) -> dict[str, Any]:
    status = "kept" if reason == "kept" else "failed" if reason == "worker_died" else "dropped"
    return {
        "source": source, "status": status, "reason": reason, "stage": stage, "detail": "", "key": source,
        "caption": "a dog runs", "label": "dog", "category": "animal", "num_frames": 50, "frame_rate": 25.0,
        "source_width": 1280, "source_height": 720, "settings_sha256": "ab", "scores": '{"area_ratio_mean":0.25}',
        "thresholds": '{"max_area_ratio":0.6,"min_area_ratio":0.05}', "models": '{"mask":"SAM@1"}',
        "seconds": '{"mask":2.0}', **values,
    }  # fmt: skip


def write(folder: Path, *rows: dict[str, Any]) -> Page:
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "ledger.parquet")
    return Page(write_report(folder).read_text(encoding="utf-8"))


def shard(folder: Path, key: str) -> None:
    frames = np.full((8, 96, 128, 3), 90, np.uint8)
    masks = np.zeros((8, 96, 128), bool)
    masks[:, 20:60, 30:80] = True
    record = ClipRecord(
        key=key, caption="", augmented_caption="", label="dog", category="animal", width=128, height=96, num_frames=8,
        frame_rate=25.0, scores={}, provenance={},
    )  # fmt: skip
    path = folder / "clips-000000.tar"
    write_shard(
        path, [(key, pack_sample(key, Clip(record=record, video=encode(frames, 25), masks=masks).to_members()))]
    )
    digest = sha256_of_file(index_path(path))
    save_shard_list(
        folder, ShardList(shards=(path.name,), index_sha256=(digest,), num_samples=(1,), settings_sha256="ab")
    )


def test_every_row_is_in_the_page(tmp_path: Path) -> None:
    page = write(tmp_path, row("a.mp4"), row("b.mp4", "area_too_small", "mask", label="cat", num_frames=None))
    data = page.data
    assert data["rows"] == 2
    assert data["text"]["source"] == ["a.mp4", "b.mp4"]
    reasons = data["coded"]["reason"]
    assert [reasons["names"][code] for code in reasons["codes"]] == ["kept", "area_too_small"]
    assert data["number"]["frames"] == [50, None]
    assert data["scores"] == {"area_ratio_mean": [0.25, 0.25]}


def test_markup_in_a_ledger_stays_text(tmp_path: Path) -> None:
    evil = dict.fromkeys(("caption", "label", "detail", "answer", "nouns", "category"), EVIL)
    page = write(
        tmp_path, row(EVIL, **evil), row(EVIL + "2", "label_missing", "label", **evil, models=json.dumps({EVIL: EVIL}))
    )
    assert len(page.scripts) == 2
    assert page.data["text"]["caption"] == [EVIL, EVIL]
    assert [tag for tag, _ in page.elements].count("img") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert EVIL in page.words


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    page = write(tmp_path, row("a.mp4"))
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_nothing_is_loaded(tmp_path: Path) -> None:
    page = write(tmp_path, row("a.mp4"))
    links = [str(a[name]) for _, a in page.elements for name in ("src", "href", "data", "action") if name in a]
    assert all(link.startswith(("#", "data:")) for link in links), links
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"@import|url\(|https?://", text)


def test_the_same_folder_gives_the_same_page(tmp_path: Path) -> None:
    shard(tmp_path, "k")
    write(tmp_path, row("a.mp4", key="k"), row("b.mp4", "duplicate"))
    first = (tmp_path / "report.html").read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_the_funnel_adds_up_and_puts_duplicates_at_packing(tmp_path: Path) -> None:
    write(
        tmp_path, row("a"), row("b", "static_clip", "normalize"), row("c", "duplicate", "mask"),
        row("d", "worker_died", ""), row("e", "too_long", "shots"),
    )  # fmt: skip
    stages = {stage.name: stage for stage in funnel(load_rows(tmp_path))}
    assert list(stages) == ["shots", "normalize", "answer", "label", "mask", "pack", "elsewhere"]
    assert [stage.entering for stage in stages.values()] == [5, 4, 3, 3, 3, 3, 2]
    assert stages["pack"].losses == (("dropped", "duplicate", 1),)
    assert stages["elsewhere"].leaving == 1


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


def test_a_reason_in_the_funnel_is_a_button_for_the_table(tmp_path: Path) -> None:
    page = write(tmp_path, row("a"), row("b", "static_clip", "normalize"))
    buttons = [a["data-reason"] for tag, a in page.elements if tag == "button" and "data-reason" in a]
    assert buttons == ["static_clip", "kept"]


def test_kept_clips_show_their_mask_and_sources_their_first_frame(tmp_path: Path) -> None:
    shard(tmp_path, "k")
    source = tmp_path / "source.mp4"
    source.write_bytes(encode(np.full((10, 96, 128, 3), 90, np.uint8), 10))
    rows = [
        row("a", key="k", path=""), row("b", "static_clip", "normalize", path=str(source), start_seconds=0.5),
        row("c", "source_missing", "normalize", path="gone.mp4"), row("d", "too_short", "normalize", path=""),
    ]  # fmt: skip
    page = write(tmp_path, *rows)
    shown = [a["alt"] for tag, a in page.elements if tag == "img" and str(a["src"]).startswith("data:image/jpeg")]
    assert shown == ["first frame of a, dog marked", "first frame of b"]
    words = " ".join(page.words)
    assert "no picture: gone.mp4 is not a file" in words
    assert "no picture: the ledger does not say where the file is" in words


def test_sources_on_an_object_store_show_their_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("red.mp4", "long.mp4", "text.mp4", "gone.mp4")
    with object_store() as bucket:
        folder = location(bucket)
        for name, num_frames in zip(names, (10, 60), strict=False):
            (folder / name).write_bytes(encode(np.full((num_frames, 96, 128, 3), (200, 30, 30), np.uint8), 10))
        (folder / "text.mp4").write_bytes(b"no video")
        monkeypatch.setattr(pictures, "_FETCHED_MEGABYTES", (folder / "red.mp4").stat().st_size / 10**6)
        page = write(tmp_path, *(row(name, "static_clip", "normalize", path=f"{bucket}/{name}") for name in names))
    images = [a for tag, a in page.elements if tag == "img" and str(a["src"]).startswith("data:image/jpeg;base64,")]
    assert [image["alt"] for image in images] == ["first frame of red.mp4"]
    content = base64.b64decode(str(images[0]["src"]).partition(",")[2])
    colour = np.asarray(PillowImage.open(io.BytesIO(content))).mean((0, 1))
    np.testing.assert_allclose(colour, (200, 30, 30), atol=8)
    words = " ".join(page.words)
    assert "no picture: the source on S3 has 0 MB; at most" in words
    assert "no picture: Invalid data found" in words
    assert f"no picture: {bucket}/gone.mp4 is not there" in words


def test_a_store_that_lets_nobody_in_costs_the_picture_and_not_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    page = write(tmp_path, row("a", "static_clip", "normalize", path="s3://bucket/a.mp4"))
    (word,) = (word for word in page.words if word.startswith("no picture"))
    assert "Unable to locate credentials" in word


def test_pictures_stop_at_their_limit_and_the_page_says_so(tmp_path: Path) -> None:
    write(tmp_path, row("a", "static_clip", "normalize"), row("b", "static_clip", "normalize"))
    text = write_report(tmp_path, Pictures(output=tmp_path, max_pictures=1)).read_text()
    assert "Pictures: the limit of 1 pictures was reached." in text
    text = write_report(tmp_path, Pictures(output=tmp_path, max_seconds=0)).read_text()
    assert "Pictures: the 0 seconds for pictures were used up." in text


def test_examples_are_six_a_reason_and_kept_come_first(tmp_path: Path) -> None:
    write(tmp_path, *(row(f"n{i}", "static_clip", "normalize") for i in range(9)), row("a"))
    chosen = choose(load_rows(tmp_path))
    assert list(chosen) == ["kept", "static_clip"]
    assert [len(indices) for indices in chosen.values()] == [1, 6]


def test_scores_stand_beside_their_thresholds(tmp_path: Path) -> None:
    write(tmp_path, row("a"))
    assert score_lines(load_rows(tmp_path)[0]) == [("area ratio mean", "0.25 (0.05\u20130.6)")]


def test_cloud_words_do_not_overlap_and_grow_with_their_count() -> None:
    words = lay_out({f"word{'s' * (i % 7)}{i}": 400 // (i + 1) + 1 for i in range(80)})
    assert len(words) == 80
    for i, left in enumerate(words):
        for right in words[i + 1 :]:
            apart = left.left + left.width <= right.left or right.left + right.width <= left.left
            assert apart or left.top + left.height <= right.top or right.top + right.height <= left.top
    sizes = [word.font_px for word in words]
    assert sizes == sorted(sizes, reverse=True)
    assert words[0].left < 0 < words[0].left + words[0].width


def test_only_kept_labels_are_in_the_cloud(tmp_path: Path) -> None:
    page = write(tmp_path, row("a"), row("b", "area_too_small", "mask", label="cat"))
    labels = {a["data-label"] for tag, a in page.elements if tag == "text" and "data-label" in a}
    assert labels == {"dog"}


def test_bins_hold_every_value_once() -> None:
    assert bins([5, 6, 6, 9], whole=True) == [(5, 6, 1), (6, 7, 2), (7, 8, 0), (8, 9, 0), (9, 10, 1)]
    assert bins([2.0, 2.0]) == [(pytest.approx(2.0), pytest.approx(2.2), 2)]
    assert sum(count for *_, count in bins([0.1 * i for i in range(1000)])) == 1000


def test_costs_are_counted_by_stage(tmp_path: Path) -> None:
    seconds = [
        row(str(i), seconds=json.dumps({"mask": float(i), "normalize": 1.0}), cpu_seconds='{"mask":2}')
        for i in range(11)
    ]
    page = write(tmp_path, *seconds)
    normalize, mask = stage_costs(load_rows(tmp_path))
    assert (normalize.name, normalize.total, normalize.cpu) == ("normalize", 11.0, None)
    assert (mask.clips, mask.median, mask.p90, mask.total, mask.cpu, mask.gpu) == (11, 5.0, 9.0, 55.0, 22, None)
    assert "a kept clip" in page.words


def test_runs_and_settings_are_shown_where_they_are_there(tmp_path: Path) -> None:
    runs = tmp_path / "work" / "runs"
    runs.mkdir(parents=True)
    (runs / "000001.json").write_text('{"number": 1, "host": "node-7"}')
    (runs / "000001.result.json").write_text('{"wall_seconds": 12.25}')
    (runs / "000002.json").write_text("cut of")
    (tmp_path / "work" / "settings.json").write_text('{"engine": {"price_per_cpu_hour": 3.6}, "note": "<b>"}')
    page = write(tmp_path, row("a", cpu_seconds='{"mask":2000}'))
    assert {"node-7", "12.2", "All settings", "money", "2"} <= set(page.words)
    assert any('"note": "<b>"' in word for word in page.words)


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ledger\.parquet is not there"):
        write_report(tmp_path)


def test_a_ledger_of_no_rows_gives_a_page(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([], schema=pa.schema([("source", pa.string())])), tmp_path / "ledger.parquet")
    assert Page(write_report(tmp_path).read_text()).data["rows"] == 0
