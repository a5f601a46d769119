"""What people ask before and after a run: is everything there, how far is it, what do these shards hold."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import webdataset
from in_process import curate_here

from magdiff_curation.clips.index import load_shard_list
from magdiff_curation.config import CurationSettings, FilterSettings
from magdiff_curation.plan import plan, status, validate
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

CURATE = Path(__file__).parents[2] / "pipelines" / "curate.py"


@pytest.fixture
def settings(tmp_path: Path) -> CurationSettings:
    manifest = write_dataset(tmp_path / "world", DatasetSettings(num_clips=4, seed=41, width=160, height=128))
    rules = FilterSettings(min_short_side_px=128)
    return CurationSettings(source=manifest, output=tmp_path / "out", filters=rules)


def test_validate_says_what_is_there_and_what_is_missing(
    settings: CurationSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(settings)
    assert capsys.readouterr().out.count("ok  ") == 4
    (settings.source.parent / "videos" / "00002.mp4").unlink()
    assert validate(settings)
    assert "4 inputs" in (said := capsys.readouterr().out)
    assert "1 are not files, e.g. videos/00002.mp4" in said
    assert not validate(replace(settings, source=settings.source.with_name("none.jsonl")))
    assert "PROBLEM  source" in capsys.readouterr().out


def test_status_counts_what_is_committed_and_packed(settings: CurationSettings) -> None:
    with pytest.raises(ValueError, match="has seen no run yet"):
        status(settings.output)
    curate_here(replace(settings, limit=3))
    assert status(settings.output) == {"outcomes": 3, "packed": 3}


def test_a_plan_measures_a_sample_whose_results_stay(settings: CurationSettings) -> None:
    figures = plan(settings, "local", 2)
    assert figures["kept_share"] == 1
    seconds = sum(figures[f"seconds.{name}"] for name in ("normalize", "answer", "label", "mask"))
    assert figures["cpu_seconds"] == pytest.approx(seconds)
    assert figures["cpu_hours"] == pytest.approx(2 * seconds / 3600)
    assert figures["bytes_per_kept_clip"] > 1000
    assert status(settings.output) == {"outcomes": 2, "packed": 0}


def test_the_index_command_says_what_other_peoples_shards_hold(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "0", "mp4": b"v", "txt": b"a dog"})
    command = [sys.executable, str(CURATE), "index", "--shards", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "1 shards are indexed" in said.stdout
    assert load_shard_list(tmp_path).num_samples == (1,)
