import copy
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from object_store import object_store

from magdiff_curation.clips.atomic import (
    atomic_file,
    create_exclusive,
    list_files,
    read_many,
    read_range,
    remove_temporaries,
    replace_if_unchanged,
    sha256_of_file,
    write_atomic,
)
from magdiff_curation.clips.index import ShardError, ShardList, index_path, load_shard_list, save_shard_list
from magdiff_curation.clips.location import is_remote, location
from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader, pack_sample, write_shard
from magdiff_curation.clips.stores import get_file
from magdiff_curation.clips.tars import BLOCK


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder on a file system, and one on an object store: everything below holds on both."""
    if request.param == "local":
        return tmp_path / "place"
    return location(request.getfixturevalue("bucket")) / tmp_path.name


def requests(path: Path) -> Any:
    """Record the requests to a path's store: (operation, parameters)."""
    store: Any = path
    return mock.patch.object(store.fs.s3, "_make_api_call", wraps=store.fs.s3._make_api_call)


def test_local_paths_stay_plain_paths() -> None:
    for text in ("data/x", "/data/x", "s3", "a:b", Path("x")):
        assert location(text) == Path(text)
        assert isinstance(location(text), Path)


@pytest.mark.parametrize("text", ["s3://bucket/x/y.mp4", Path("s3://bucket/x/y.mp4"), "s3:/bucket/x/y.mp4"])
def test_urls_survive_pathlib_pickle_and_copies(text: str | Path) -> None:
    path = location(text)
    assert is_remote(path)
    for again in (path, location(path), pickle.loads(pickle.dumps(path)), copy.deepcopy(path)):
        assert str(again) == "s3://bucket/x/y.mp4"
        assert str(again.parent / "z") == "s3://bucket/x/z"
        assert again.storage_options["use_listings_cache"] is False  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["gs://bucket/x", "https://host/x", "s3://", "s3://bucket/a::file:///etc/passwd"])
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give a local path or s3://"):
        location(text)


def test_missing_packages_are_named() -> None:
    message = r"pip install 'magdiff-curation\[s3\]'"
    with mock.patch("importlib.util.find_spec", return_value=None), pytest.raises(ValueError, match=message):
        location("s3://bucket/x")


def test_what_is_written_is_read(place: Path) -> None:
    write_atomic(place / "a" / "b.json", b"old")
    write_atomic(place / "a" / "b.json", b"new")
    with atomic_file(place / "c.tar") as file:
        file.write(b"x" * 3000)
        assert not (place / "c.tar").exists()
    assert read_many([place / "c.tar", place / "a" / "b.json", place / "c.tar"])[1] == b"new"
    assert read_range(place / "c.tar", 2998, 2) == b"xx"
    assert sha256_of_file(place / "c.tar") == hashlib.sha256(b"x" * 3000).hexdigest()


def test_a_write_that_fails_leaves_the_old_content(place: Path) -> None:
    write_atomic(place / "x", b"old")
    with pytest.raises(RuntimeError), atomic_file(place / "x") as file:
        file.write(b"half of the n")
        raise RuntimeError("killed")
    assert read_many([place / "x"]) == [b"old"]
    assert list(list_files(place)) == ["x"]
    assert remove_temporaries(place) == 0


def test_many_parts_appear_together(bucket: str) -> None:
    path = location(bucket) / "large.bin"
    with mock.patch("s3fs.core.calculate_chunksize", return_value=5 * 2**20), atomic_file(path) as file:
        for letter in b"abc":
            file.write(bytes([letter]) * 5 * 2**20)
        assert not path.exists()
    assert path.stat().st_size == 15 * 2**20
    assert read_range(path, 5 * 2**20 - 1, 2) == b"ab"


def test_listing_is_never_stale_and_asks_once(bucket: str) -> None:
    folder = location(bucket) / "listed"
    assert list_files(folder) == {}
    for name in ("b/c", "a", "d"):
        write_atomic(folder / name, b"12")
    write_atomic(location(bucket) / "listed-not" / "x", b"")
    assert {name: size for name, (size, _) in list_files(folder).items()} == {"a": 2, "b/c": 2, "d": 2}
    code = "import s3fs; s3fs.S3FileSystem().pipe_file('bucket/listed/e', b'123')"
    subprocess.run([sys.executable, "-c", code], check=True)  # another process
    with requests(folder) as asked:
        found = list_files(folder)
    assert found["e"][0] == 3
    assert found["e"][1] > 10**18
    assert [call.args[0] for call in asked.call_args_list] == ["ListObjectsV2"]
    assert (folder / "e").is_file()


def test_a_local_listing_has_sizes_and_times_and_leaves_temporaries_out(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b", b"12")
    (tmp_path / ".x.1.ab.tmp").write_bytes(b"")
    status = (tmp_path / "a" / "b").stat()
    assert list_files(tmp_path) == {"a/b": (2, status.st_mtime_ns)}
    assert list_files(tmp_path / "nothing") == {}


def test_what_is_missing_is_named(place: Path) -> None:
    write_atomic(place / "here", b"")
    with pytest.raises(FileNotFoundError) as caught:
        read_many([place / "here", place / "gone"])
    assert caught.value.filename == str(place / "gone")


def test_of_many_creators_exactly_one_wins(place: Path) -> None:
    for turn in range(10):
        path = place / f"{turn:06d}.json"
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda number, path=path: create_exclusive(path, b"%d" % number), range(8)))
        assert won.count(True) == 1
        assert read_many([path]) == [b"%d" % won.index(True)]


def test_of_creators_in_several_processes_exactly_one_wins(place: Path) -> None:
    code = (
        "import sys; from magdiff_curation.clips.atomic import create_exclusive; "
        "from magdiff_curation.clips.location import location\n"
        "folder = location(sys.argv[1]); create_exclusive(folder / 'warm' / sys.argv[2], b''); print('', flush=True)\n"
        "sys.stdin.read(1)\n"
        "print(*[turn for turn in range(40) if create_exclusive(folder / str(turn), sys.argv[2].encode())])"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "abcd"
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "\n"
    for child in children:
        assert child.stdin
        child.stdin.write("x")
        child.stdin.flush()
    won = [child.communicate()[0].split() for child in children]
    assert sorted(int(turn) for turns in won for turn in turns) == list(range(40))
    for name, turns in zip("abcd", won, strict=True):
        assert set(read_many([place / turn for turn in turns])) <= {name.encode()}


def test_a_swap_happens_only_over_what_was_seen(place: Path) -> None:
    path = place / "shards.json"
    assert not replace_if_unchanged(path, b"one", b"zero")
    assert replace_if_unchanged(path, b"one", None)
    assert not replace_if_unchanged(path, b"two", None)
    assert not replace_if_unchanged(path, b"two", b"zero")
    assert replace_if_unchanged(path, b"two", b"one")
    assert read_many([path]) == [b"two"]


def test_of_many_swaps_over_the_same_content_one_happens(bucket: str) -> None:
    path = location(bucket) / "swap"
    write_atomic(path, b"start")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: replace_if_unchanged(path, b"%d" % number, b"start"), range(8)))
    assert won.count(True) == 1
    assert read_many([path]) == [b"%d" % won.index(True)]


def test_a_swap_is_refused_where_the_content_changes_after_it_was_looked_at(bucket: str) -> None:
    path = location(bucket) / "raced"
    write_atomic(path, b"start")

    def look(paths: list[Path]) -> list[bytes]:
        write_atomic(path, b"other")
        return [b"start"]

    with mock.patch("magdiff_curation.clips.stores.get_many", side_effect=look):
        assert not replace_if_unchanged(path, b"mine", b"start")
    assert read_many([path]) == [b"other"]


def test_names_that_look_like_patterns_or_queries_are_only_names(bucket: str, tmp_path: Path) -> None:
    folder = location(bucket) / "odd"
    names = ["a*b", "[x]", "q?r#s", "100%20", "ä ö"]
    for name in names:
        write_atomic(folder / name, name.encode())
    assert sorted(list_files(folder)) == sorted(names)
    assert read_many([folder / name for name in names]) == [name.encode() for name in names]
    for name in names:
        get_file(f"{folder}/{name}", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == name.encode()


def test_errors_of_the_store_are_os_errors_that_name_the_object(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="s3://nothing-here/x"):
        write_atomic(location("s3://nothing-here/x"), b"")
    with pytest.raises(FileNotFoundError, match="s3://nothing-here/x"):
        list_files(location("s3://nothing-here/x"))
    with pytest.raises(FileNotFoundError, match="s3://bucket/gone"):
        get_file(f"{bucket}/gone", tmp_path / "x")
    code = (
        "from magdiff_curation.clips.atomic import list_files; from magdiff_curation.clips.location import location\n"
        "try: list_files(location('s3://bucket/folder'))\n"
        "except OSError as error: print(error)"
    )
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment).stdout
    assert output.strip() == "[Errno 5] Unable to locate credentials: 's3://bucket/folder'"


def samples(num: int, size: int = 3000) -> Iterator[tuple[str, bytes]]:
    return ((f"{number:032x}", pack_sample(f"{number:032x}", {"mp4": b"v" * size})) for number in range(num))


def test_a_set_of_shards_is_the_same_on_both(bucket: str, tmp_path: Path) -> None:
    digests = []
    for folder in (tmp_path, location(bucket) / "set"):
        index = write_shard(folder / "clips-000000.tar", samples(4))
        assert sha256_of_file(folder / "clips-000000.tar") == index.sha256
        digest = sha256_of_file(index_path(folder / "clips-000000.tar"))
        listing = ShardList(shards=("clips-000000.tar",), index_sha256=(digest,), num_samples=(4,), settings_sha256="0")
        save_shard_list(folder, listing)
        assert load_shard_list(folder) == listing
        digests.append([index.sha256, digest])
        index_path(folder / "clips-000000.tar").unlink()
        with pytest.raises(ShardError, match=r"clips-000000\.index\.json is missing"):
            load_shard_list(folder)
    assert digests[0] == digests[1]


def test_a_reader_fetches_only_the_sample_it_is_asked_for(bucket: str) -> None:
    path = location(bucket) / "ranges" / "clips-000000.tar"
    write_shard(path, samples(50, 100_000))
    with requests(path) as asked:
        reader = ShardReader(path)
        assert [call.args[0] for call in asked.call_args_list] == ["GetObject", "HeadObject", "GetObject"]
        asked.reset_mock()
        packed = dict(samples(50, 100_000))[reader.keys()[30]]
        with mock.patch.object(Clip, "from_members", side_effect=lambda members: members):
            assert reader.read(reader.keys()[30])["mp4"] == b"v" * 100_000  # type: ignore[index]
    (request,) = asked.call_args_list
    assert request.args[1]["Range"] == f"bytes={30 * len(packed)}-{31 * len(packed) - 1}"
    assert reader.members(reader.keys()[3]) == {"mp4": b"v" * 100_000}


def test_a_changed_or_missing_object_is_refused_by_name(bucket: str) -> None:
    path = location(bucket) / "damaged" / "clips-000000.tar"
    write_shard(path, samples(2))
    content = bytearray(path.read_bytes())
    content[BLOCK + 5] ^= 1
    write_atomic(path, bytes(content))
    with pytest.raises(ShardError, match=f"{path} is damaged: clip 0+ "):
        ShardReader(path).read("0" * 32)
    write_atomic(path, bytes(content[:-1]))
    with pytest.raises(ShardError, match="cut or overwritten"):
        ShardReader(path)
    path.unlink()
    with pytest.raises(ShardError, match="its index is there"):
        ShardReader(path)


def test_importing_clips_imports_nothing_for_stores() -> None:
    code = (
        "import sys, json, magdiff_curation.clips.shards\n"
        "from magdiff_curation.clips.location import location\n"
        "location('data/x')\n"
        "print(json.dumps(sorted({'fsspec', 'upath', 's3fs', 'botocore'} & set(sys.modules))))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == []
