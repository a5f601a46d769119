"""What a changed setting does not touch is not computed again, and runs fence one another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from in_process import curate_here, packed_clips
from products import products

from magdiff_curation import worker
from magdiff_curation.commit import Workspace
from magdiff_curation.config import CurationSettings, FilterSettings, LabelSettings
from magdiff_curation.runs import Superseded, begin, past_runs
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES, AnswerStage, LabelStage, MaskStage, NormalizeStage
from magdiff_curation.state import ClipState
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset
from magdiff_curation.worker import StageWorker

MODELS = (NormalizeStage, AnswerStage, LabelStage, MaskStage)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> CurationSettings:
    folder = tmp_path_factory.mktemp("first")
    manifest = write_dataset(folder / "world", DatasetSettings(num_clips=4, seed=21, width=160, height=128))
    settings = CurationSettings(source=manifest, output=folder / "out", filters=FilterSettings(min_short_side_px=128))
    curate_here(settings)
    return settings


def again(first: CurationSettings, settings: CurationSettings) -> tuple[dict[str, dict], set[str]]:
    """Return the ledger of a run with other settings on the same work folder, and the stages that computed."""
    computed: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        for stage in MODELS:
            compute = stage.compute

            def counted(self: object, state: object, compute: object = compute) -> object:
                computed.add(type(self).__name__)
                return compute(self, state)  # type: ignore[operator]

            patch.setattr(stage, "compute", counted)
        return curate_here(replace(settings, work=first.output / "work")), computed


def test_a_changed_area_threshold_computes_nothing_again(first: CurationSettings, tmp_path: Path) -> None:
    rules = replace(first.filters, min_area_ratio=0.15)
    rows, computed = again(first, replace(first, output=tmp_path, filters=rules))
    assert computed == set()
    before = packed_clips(first.output)
    assert {row["status"] for row in rows.values()} == {"kept", "dropped"}
    for name, clip in packed_clips(tmp_path).items():
        assert clip.video == before[name].video
        assert (clip.masks == before[name].masks).all()
    assert {row["reason"] for row in rows.values()} == {"kept", "area_too_small"}


def test_a_changed_list_of_words_asks_no_answerer_and_tracks_nothing_where_the_label_stays(
    first: CurationSettings, tmp_path: Path
) -> None:
    words = tmp_path / "words.yaml"
    words.write_text("animal: [cat, dog, fish, bird]\nobject: [mug, ball, car, kite, mushroom, robot, house, star]\n")
    label = LabelSettings(subject_words=words)
    rows, computed = again(first, replace(first, output=tmp_path / "out", label=label))
    labels = {name: clip.record.label for name, clip in packed_clips(first.output).items()}
    assert all(rows[name]["label"] == text for name, text in labels.items()), "this test is about labels that stay"
    assert computed == {"LabelStage"}


def test_without_any_memory_the_same_settings_give_the_same_bytes(first: CurationSettings, tmp_path: Path) -> None:
    curate_here(replace(first, output=tmp_path))
    assert products(tmp_path) == products(first.output)


def test_the_later_run_owns_the_output(tmp_path: Path) -> None:
    early = begin(tmp_path / "work" / "runs", "s")
    early.check()
    later = begin(tmp_path / "work" / "runs", "s")
    assert (early.number, later.number) == (1, 2)
    later.check()
    with pytest.raises(Superseded, match=r"run 2 \(host .* has taken over .*; this was run 1"):
        early.check()
    later.note("result", {"kept": 3})
    assert [run.get("result") for run in past_runs(tmp_path / "work" / "runs")] == [None, {"kept": 3}]


def test_a_clip_that_a_left_over_worker_commits_first_is_taken_as_that_one_left_it(
    first: CurationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(first, output=tmp_path, limit=1)
    workspace, texts = Workspace(tmp_path), [state.to_json() for state in list_inputs(settings)]
    run = begin(workspace.runs, "")
    orphan, ours = (StageWorker(tuple(STAGES), settings, run) for _ in range(2))
    commit = worker.commit

    def too_late(workspace: Workspace, state: ClipState) -> None:
        monkeypatch.setattr(worker, "commit", commit)
        orphan.work(texts)
        commit(workspace, state)

    monkeypatch.setattr(worker, "commit", too_late)
    (done,) = [ClipState.from_json(text) for text in ours.work(texts)]
    assert done.status == "kept"
    assert workspace.sample(done.row_id).is_file()
    workspace.outcome(done.row_id).unlink()
    workspace.sample(done.row_id).unlink()
    monkeypatch.setattr(worker, "commit", lambda *_: (_ for _ in ()).throw(FileNotFoundError("a real loss")))
    with pytest.raises(FileNotFoundError, match="a real loss"):
        ours.work(texts)


def test_two_who_begin_at_once_get_different_numbers(tmp_path: Path) -> None:
    with mock.patch("magdiff_curation.runs.list_files", return_value={}):  # neither has seen the other
        assert [begin(tmp_path, "s").number for _ in range(3)] == [1, 2, 3]
