import numpy as np
import pytest

from magdiff_model.data.order import epoch_order, rank_numbers, sample_at


def test_where_one_window_holds_all_clips_the_order_is_one_permutation_as_it_always_was() -> None:
    truth = np.random.default_rng([5, 3]).permutation(17)
    for window in (17, 2000):
        assert epoch_order([4, 0, 10, 3], 5, 3, window).tolist() == truth.tolist()


def test_an_order_has_every_clip_once_and_windows_of_few_shards() -> None:
    trials = np.random.default_rng(0)
    for trial in range(50):
        sizes = trials.integers(0, 30, trials.integers(1, 20)).tolist()
        window = int(trials.integers(1, 80))
        order = epoch_order(sizes, 1, trial, window)
        assert sorted(order.tolist()) == list(range(sum(sizes)))
        shard_of = np.repeat(np.arange(len(sizes)), sizes)
        first = {shard: at for at, shard in reversed(list(enumerate(shard_of[order])))}
        last = {shard: at for at, shard in enumerate(shard_of[order])}
        assert all(last[shard] - first[shard] < sizes[shard] + 2 * window for shard in first)
        assert epoch_order(sizes, 1, trial, window) is order


def test_shards_and_clips_come_in_another_order_every_epoch_and_for_every_seed() -> None:
    orders = [epoch_order([10] * 10, seed, epoch, 5).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert len({tuple(number // 10 for number in order) for order in orders}) == 4


def test_a_kept_order_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order([5], 0, 0, 2)[0] = 1


def test_pieces_are_contiguous_even_and_served_in_turns() -> None:
    for num, groups in ((10, 1), (10, 3), (11, 4), (3, 5), (24, 8)):
        order = np.random.default_rng(num).permutation(num)
        pieces = np.array_split(order, groups)  # longer ones first, as they should be
        for position in range(num):
            piece, entry = position % groups, position // groups
            assert sample_at(order, groups, position) == pieces[piece][entry]


def test_ranks_and_micro_batches_share_a_step_without_overlap() -> None:
    trials = np.random.default_rng(1)
    for _ in range(100):
        num_ranks, accumulate, size, groups = trials.integers(1, 5, 4).tolist()
        batch, step, num = num_ranks * accumulate * size, int(trials.integers(100)), int(trials.integers(1, 200))
        parts = [rank_numbers(step, batch, num, groups, rank, num_ranks, accumulate) for rank in range(num_ranks)]
        assert {len(numbers) for part in parts for numbers in part} == {size}
        flat = [number for part in parts for numbers in part for number in numbers]
        assert sorted(flat) == list(range(step * batch, (step + 1) * batch))
        assert flat == sorted(flat, key=lambda number: (number % num % groups, number))


@pytest.mark.parametrize(("batch", "nearest"), [(10, "8 or 16"), (3, "to 8|batch_size 8"), (0, "batch_size 8")])
def test_a_batch_that_cannot_be_cut_evenly_is_refused_with_those_that_can(batch: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"a batch of {batch} .* 2 micro-batches on each of 4 ranks.*({nearest})"):
        rank_numbers(0, batch, 100, 1, 0, 4, 2)


@pytest.mark.parametrize(("num_nodes", "groups"), [(2, 2), (2, 4), (4, 4)])
def test_a_node_reads_its_own_pieces_shards_and_few_others(num_nodes: int, groups: int) -> None:
    sizes, batch, ranks_per_node = [50] * 40, 16, 2
    num, num_ranks = sum(sizes), num_nodes * ranks_per_node
    shard_of = np.repeat(np.arange(40), sizes)

    def shards_of(ranks: range, epoch: int, groups: int) -> set[int]:
        order = epoch_order(sizes, 3, epoch, 100)
        parts = [
            rank_numbers(step, batch, num, groups, rank, num_ranks, 1)
            for step in range(2 * num // batch)
            for rank in ranks
        ]
        numbers = [number for (part,) in parts for number in part if number // num == epoch]
        return {int(shard_of[sample_at(order, groups, number % num)]) for number in numbers}

    for epoch in (0, 1):
        nodes = [range(node * ranks_per_node, (node + 1) * ranks_per_node) for node in range(num_nodes)]
        touched = [shards_of(ranks, epoch, groups) for ranks in nodes]
        # Its share, and those that a piece, a window of the order or the batch in which the epoch ends has with others.
        most = 40 // num_nodes + 4 * groups // num_nodes
        assert all(40 // num_nodes <= len(shards) <= most for shards in touched), [len(shards) for shards in touched]
        assert set.union(*touched) == set(range(40))
    assert shards_of(range(1), 0, 1) == set(range(40)), "without pieces each rank reads all shards"
