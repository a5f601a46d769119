import itertools
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from model.data.support import Web, equal, samples_of
from object_store import object_store

from magdiff_curation.clips.index import ShardError
from magdiff_curation.clips.location import location
from magdiff_curation.clips.stores import put_file
from magdiff_model.data.batch import Batch, collate
from magdiff_model.data.loader import batches
from magdiff_model.data.order import epoch_order, sample_at


class LightSamples:
    """Sample n is its key alone, as ClipSamples orders 60 clips in shards of ten."""

    def __init__(self, node_groups: int = 1) -> None:
        self.node_groups = node_groups

    def __len__(self) -> int:
        return 60

    def key_of(self, number: int) -> str:
        epoch, position = divmod(number, 60)
        return str(sample_at(epoch_order([10] * 6, 3, epoch, 20), self.node_groups, position))

    def __getitem__(self, number: int) -> Batch:
        nothing = torch.zeros(1)
        return Batch([self.key_of(number)], [str(number)], nothing, nothing, (), nothing, nothing, nothing)


class Deadly(LightSamples):
    def __getitem__(self, number: int) -> Batch:
        if number == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(number)


class Faulty(LightSamples):
    def __getitem__(self, number: int) -> Batch:
        if number == 9:
            raise ShardError("x.tar is damaged: clip nine")
        return super().__getitem__(number)


def numbers(samples: LightSamples, first: int, last: int, workers: int, num_ranks: int) -> list[list[int]]:
    """Return the sample numbers of each step, over all ranks."""
    ranks = [batches(samples, 4, first, last, workers, rank, num_ranks, 2) for rank in range(num_ranks)]
    parts = [list(rank) for rank in ranks]
    assert all(
        key == samples.key_of(int(n)) for part in parts for b in part for key, n in zip(b.keys, b.captions, strict=True)
    )
    taken = [[int(n) for b in part for n in b.captions] for part in parts]
    share = 4 // num_ranks
    return [
        sorted(n for part in taken for n in part[step * share : (step + 1) * share]) for step in range(last - first)
    ]


@pytest.fixture
def light_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork workers instead of spawning them: they need no torch of their own, and start a hundred times as fast."""
    monkeypatch.setattr("magdiff_model.data.loader._context", lambda workers: "fork" if workers else None)


WORKERS = [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))]
TRUTH = [list(range(4 * step, 4 * step + 4)) for step in range(30)]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("workers", WORKERS)
def test_from_any_of_30_steps_each_clip_of_an_epoch_comes_once_in_one_same_order(
    workers: int, num_ranks: int, groups: int, light_workers: None
) -> None:
    samples = LightSamples(groups)
    assert all(sorted(map(samples.key_of, range(e, e + 60))) == sorted(map(str, range(60))) for e in (0, 60))
    for first in range(30):
        assert numbers(samples, first, 30, workers, num_ranks) == TRUTH[first:]


def test_runs_go_on_on_other_numbers_of_ranks_and_workers(light_workers: None) -> None:
    for first, (before, after) in enumerate(itertools.permutations([(0, 1), (1, 2), (2, 1), (2, 2)], 2), start=7):
        samples = LightSamples(2)
        parts = numbers(samples, 0, first, *before) + numbers(samples, first, first + 3, *after)
        assert parts == TRUTH[: first + 3]


def test_batches_are_the_same_from_any_first_step_and_for_any_number_of_workers_and_ranks(shards: Path) -> None:
    data = samples_of(shards, multi_slot=0.5, prompt_drop=0.5, frame_masks=True)
    whole = list(batches(data, 4, 0, 6, 0))
    resumed = list(batches(data, 4, 3, 6, 0))
    assert all(equal(a, b) for a, b in zip(whole[3:], resumed, strict=True))
    assert not equal(whole[0], whole[3])
    spread = list(batches(data, 4, 0, 2, 1))
    assert all(equal(a, b) for a, b in zip(whole[:2], spread, strict=True))
    ranks = [batches(data, 4, 0, 6, 0, rank, 2, 2) for rank in range(2)]
    for batch in whole:
        parts = [next(rank) for rank in ranks for _ in range(2)]
        assert equal(batch, collate(parts))


def test_batches_from_s3_and_the_web_are_those_from_disk(
    three_shards: Path, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = list(batches(samples_of(three_shards), 3, 0, 4, 0))
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path / "web"))
    web.cuts = [5000, 0, 9000]
    assert all(map(equal, truth, batches(samples_of(web.url), 3, 0, 4, 0)))
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path / "s3"))
    with object_store() as bucket:
        for file in three_shards.iterdir():
            put_file(location(f"{bucket}/set/{file.name}"), file)
        room = sum(file.stat().st_size for file in three_shards.glob("*.tar")) - 1
        data = samples_of(f"{bucket}/set", cache_gigabytes=room / 1e9)
        assert all(map(equal, truth, batches(data, 3, 0, 4, 0)))
    assert len(list((tmp_path / "s3" / "shards").glob("*.tar"))) == 2


@pytest.mark.slow
def test_two_workers_share_what_they_fetch(
    three_shards: Path, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGDIFF_CACHE", str(tmp_path))
    web.cuts = [5000, 7000]
    truth = list(batches(samples_of(three_shards), 3, 0, 4, 0))
    assert all(map(equal, truth, list(batches(samples_of(web.url), 3, 0, 4, 2))))
    assert len([name for name, _ in web.asked if name.endswith(".tar")]) == 3 + 2


def test_a_damaged_sample_comes_in_its_turn_with_its_own_message(light_workers: None) -> None:
    for workers in (0, 1):
        stream = batches(Faulty(), 4, 0, 30, workers)
        assert [next(stream).captions for _ in range(2)] == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
        with pytest.raises(ShardError) as caught:
            next(stream)
        assert str(caught.value) == "x.tar is damaged: clip nine"
        assert "in __getitem__" in "".join(caught.value.__notes__), "where it came from is told, too"


def test_a_worker_that_dies_is_reported(light_workers: None) -> None:
    with pytest.raises(ChildProcessError, match=r"a process that reads clips died \(DataLoader worker .*fewer workers"):
        list(batches(Deadly(), 4, 0, 30, 1))


def test_a_batch_that_cannot_be_cut_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="make batch_size 4 or 8"):
        batches(LightSamples(), 6, 0, 30, 2, 0, 2, 2)


def test_steps_to_come_are_not_held(light_workers: None) -> None:
    stream = batches(LightSamples(), 4, 10**9, 10**12, 0)
    assert [batch.captions[0] for batch in itertools.islice(stream, 2)] == ["4000000000", "4000000004"]


def test_a_loader_draws_nothing_from_the_processs_own_generator(light_workers: None) -> None:
    torch.manual_seed(1)
    list(batches(LightSamples(), 4, 0, 2, 1))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))


def test_a_folder_without_a_list_of_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no shards\.json"):
        samples_of(tmp_path)


def test_the_loader_needs_no_ray() -> None:
    import subprocess

    code = (
        "import sys, magdiff_model.train, magdiff_model.edit; print({'ray', 'cv2', 'spacy', 's3fs'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
