"""Toyworld, written in the official layouts, reads without a fault."""

from pathlib import Path

import pytest

from magdiff_curation.toyworld import benchmarks
from magdiff_curation.toyworld.benchmarks import write_davis, write_dreambooth, write_msrvtt, write_ucf101
from magdiff_eval.layouts.davis import list_davis
from magdiff_eval.layouts.dreambooth import list_dreambooth
from magdiff_eval.layouts.item import check
from magdiff_eval.layouts.msrvtt import list_msrvtt
from magdiff_eval.layouts.ucf101 import list_ucf101


def test_davis(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=1)
    listing = list_davis(tmp_path)
    check(listing)
    (name,) = {item.name.split("/")[0] for item in listing.items}
    assert [item.label for item in listing.items] == [name.split("-")[0]] * 4
    assert listing.items[0].prompt.endswith("watercolor painting")
    assert listing.items[0].masks == tmp_path / "Annotations" / "480p" / name


def test_ucf101(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "ACTIONS", dict(list(benchmarks.ACTIONS.items())[:2]))  # all take ten seconds
    write_ucf101(tmp_path, videos_per_class=1)
    listing = list_ucf101(tmp_path, num_videos=20)
    check(listing)
    assert listing.items[0].prompt == "toy right"
    assert listing.items[0].source == tmp_path / "UCF-101" / "ToyRight" / "v_ToyRight_g01_c01.avi"


def test_msrvtt(tmp_path: Path) -> None:
    write_msrvtt(tmp_path, num_videos=2)
    listing = list_msrvtt(tmp_path)
    check(listing)
    assert [item.name for item in listing.items] == ["video7010", "video7011"]
    assert {item.group for item in listing.items} == {"music"}


def test_dreambooth(tmp_path: Path) -> None:
    write_dreambooth(tmp_path, num_subjects=2, images_per_subject=2)
    listing = list_dreambooth(tmp_path)
    check(listing)
    assert len(listing.items) == 20
    assert listing.items[0].prompt == "a fish in a meadow"
    assert len(listing.items[0].references) == 2
