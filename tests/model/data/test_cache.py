import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.clips.index import ShardError, ShardIndex, load_index
from magdiff_curation.clips.location import location
from magdiff_model.data.cache import ShardCache


@pytest.fixture
def remote(web) -> list[tuple[Path, ShardIndex]]:
    paths = [location(f"{web.url}/clips-{number:06d}.tar", web=True) for number in range(3)]
    shards = [(path, load_index(path)) for path in paths]
    web.asked.clear()
    return shards


def cache_of(folder: Path, *shards: tuple[Path, ShardIndex], spare: int = 100) -> ShardCache:
    return ShardCache(folder=folder, limit_bytes=sum(index.size for _, index in shards) + spare)


def read(cache: ShardCache, shard: tuple[Path, ShardIndex]) -> bytes:
    with cache.open(*shard) as file:
        return file.read()


def truth(web, shard: tuple[Path, ShardIndex]) -> bytes:
    return (web.folder / shard[0].name).read_bytes()


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".tar"}


def test_a_shard_is_fetched_once(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, *remote)
    assert read(cache, remote[0]) == read(cache, remote[0]) == truth(web, remote[0])
    assert web.asked == [("clips-000000.tar", 0)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: read(cache, remote[1]), range(8))) == {truth(web, remote[1])}
    assert len(web.asked) == 2


def test_what_was_used_longest_ago_makes_room(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, *remote, spare=-1)
    for number in (0, 1, 0):
        read(cache, remote[number])
    still_open = cache.open(*remote[1])
    read(cache, remote[0])
    read(cache, remote[2])
    assert kept(tmp_path) == {f"{remote[number][1].sha256}.tar" for number in (0, 2)}
    assert still_open.read() == truth(web, remote[1])
    still_open.close()
    assert read(cache, remote[1]) == truth(web, remote[1])


def test_threads_that_want_more_than_fits_get_whole_shards_within_the_limit(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, remote[0], spare=max(index.size for _, index in remote) - remote[0][1].size)
    over, done = [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            names = [path.name for path in tmp_path.iterdir()]
            used = sum(
                index.size
                for _, index in remote
                if any(name.startswith(index.sha256) and "lock" not in name for name in names)
            )
            if used > cache.limit_bytes:
                over.append(names)

    watcher = threading.Thread(target=watch)
    watcher.start()
    turns = np.random.default_rng(0).integers(0, 3, 60).tolist()
    with ThreadPoolExecutor(6) as pool:
        contents = list(pool.map(lambda turn: read(cache, remote[turn]), turns))
    done.set()
    watcher.join()
    assert contents == [truth(web, remote[turn]) for turn in turns]
    assert not over


def test_a_connection_that_breaks_is_taken_up_where_it_broke(web, remote, tmp_path: Path) -> None:
    web.cuts = [1000, 0, 7000]
    assert read(cache_of(tmp_path, *remote), remote[0]) == truth(web, remote[0])
    starts = [start for _, start in web.asked]
    assert starts == [0, 1000, 1000, 8000]


def test_without_ranges_it_starts_over(web, remote, tmp_path: Path) -> None:
    web.ranges, web.cuts = False, [1000, 2000]
    assert read(cache_of(tmp_path, *remote), remote[0]) == truth(web, remote[0])
    assert [start for _, start in web.asked] == [0, 1000, 2000]


def test_what_a_killed_process_left_is_gone_on_from_and_what_is_wrong_of_it_thrown_away(
    web, remote, tmp_path: Path
) -> None:
    content = truth(web, remote[0])
    part = tmp_path / f"{remote[0][1].sha256}.{remote[0][1].size}.part"
    for left, starts in ((content[:5000], [5000]), (b"x" * 5000, [5000, 0]), (content + b"x", [0])):
        part.write_bytes(left)
        assert read(cache_of(tmp_path, *remote), remote[0]) == content
        assert [start for _, start in web.asked] == starts
        (tmp_path / f"{remote[0][1].sha256}.tar").unlink()
        web.asked.clear()


def test_what_never_comes_whole_is_refused_by_name_and_not_kept(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, *remote)
    web.cuts = [100] * 5
    with pytest.raises(
        ShardError, match=r"http://127.*clips-000000\.tar cannot be fetched, after 5 tries: .*broke off after 500"
    ):
        cache.open(*remote[0])
    path, index = remote[1]
    with pytest.raises(ShardError, match="other bytes came than its index says"):
        cache.open(path, replace(index, sha256="0" * 64))
    with pytest.raises(ShardError, match="other bytes came than its index says"):
        cache.open(path, replace(index, size=index.size - 1))
    assert kept(tmp_path) == set()
    with pytest.raises(ShardError, match=r"gone\.tar is missing; its index is there"):
        cache.open(location(f"{web.url}/gone.tar", web=True), index)
    assert [name for name, _ in web.asked].count("gone.tar") == 1


def test_a_cache_that_is_too_small_or_an_index_that_names_a_path_is_refused(remote, tmp_path: Path) -> None:
    path, index = remote[0]
    with pytest.raises(
        ShardError, match=r"clips-000000\.tar has .* GB and the cache at most .*: raise data\.cache_gig"
    ):
        ShardCache(folder=tmp_path, limit_bytes=1000).open(path, index)
    with pytest.raises(ShardError, match="is no sha256"):
        cache_of(tmp_path, *remote).open(path, replace(index, sha256="../../x"))


def test_a_local_copy_that_was_cut_is_fetched_again(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, remote[0], spare=0)
    read(cache, remote[0])
    os.truncate(tmp_path / f"{remote[0][1].sha256}.tar", 99)
    assert read(cache, remote[0]) == truth(web, remote[0])


def test_room_that_a_killed_process_took_is_given_back(web, remote, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, remote[0], remote[1])
    (tmp_path / f"{'1' * 64}.{cache.limit_bytes}.part").write_bytes(b"")
    assert read(cache, remote[0]) == truth(web, remote[0])
    assert not list(tmp_path.glob("1*.part"))
