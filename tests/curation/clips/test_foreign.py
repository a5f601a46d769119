import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset
from object_store import object_store
from webdataset.tariterators import base_plus_ext

from magdiff_curation.clips.atomic import sha256_hex, sha256_of_file, write_atomic
from magdiff_curation.clips.foreign import ForeignSummary, index_and_describe, index_shards, index_tar, sample_name
from magdiff_curation.clips.index import ShardError, index_path, load_index, load_shard_list
from magdiff_curation.clips.location import location
from magdiff_curation.clips.shards import ShardReader, pack_sample, write_shard

LONG = "folder/" * 30 + "a_long_name_" * 12
SAMPLES = {f"{number:04d}": {"mp4": bytes([number]) * 700 * number, "txt": b"a cat"} for number in range(5)}


def with_webdataset(path: Path) -> None:
    with webdataset.TarWriter(str(path)) as writer:
        for key, members in SAMPLES.items():
            writer.write({"__key__": key, **members})


def with_gnu_tar(path: Path) -> None:
    files = path.parent / "files"
    for key, members in SAMPLES.items():
        for extension, content in members.items():
            write_atomic(files / f"{key}.{extension}", content)
    subprocess.run(["tar", "--format=gnu", "--sort=name", "-cf", path, "-C", files, "."], check=True)


def with_python(path: Path, format_: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=format_) as archive:
        for key, members in SAMPLES.items():
            for extension, content in members.items():
                add(archive, f"{LONG}{key}.{extension}", content)


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.type = len(content), kind
    archive.addfile(header, io.BytesIO(content))


def make(path: Path, *names: str, kind: bytes = tarfile.REGTYPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            add(archive, name, b"" if kind != tarfile.REGTYPE else b"content", kind)
    return path


@pytest.mark.parametrize(
    ("write", "prefix"),
    [
        (with_webdataset, ""),
        (with_gnu_tar, "./"),
        (with_python, LONG),
        (lambda path: with_python(path, tarfile.GNU_FORMAT), LONG),
    ],
    ids=["webdataset", "gnu tar", "pax long names", "gnu long names"],
)
def test_every_writers_samples_come_back(write: Callable[[Path], None], prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "data-0.tar"
    write(path)
    before = sha256_of_file(path)
    listing, summary = index_and_describe(tmp_path)
    assert load_shard_list(tmp_path) == listing
    assert listing.settings_sha256 == ""
    assert listing.num_samples == (5,)
    assert sha256_of_file(path) == before == load_index(path).sha256
    reader = ShardReader(path)
    keys = reader.keys()
    assert keys == [prefix + key for key in SAMPLES]
    assert [reader.members(key) for key in keys] == list(SAMPLES.values())
    theirs = [sample["__key__"] for sample in webdataset.WebDataset(str(path), shardshuffle=False)]
    assert keys == theirs
    assert str(summary) == (
        "5 samples in 1 shards: 5 mp4, 5 txt; 0 without mp4, 5 without json, 5 without masks, 0 without caption"
    )


def test_the_stretches_fill_the_tar_up_to_its_end(tmp_path: Path) -> None:
    path = make(tmp_path / "x.tar", "README", "a.mp4", "folder/b.mp4", "LICENSE", "folder/b.json")
    (entry_a, entry_b) = index_tar(path, summary := ForeignSummary()).samples
    content = path.read_bytes()
    assert (entry_a.offset, entry_a.length, entry_b.offset) == (0, 2048, 2048)
    assert content[entry_b.offset :].startswith(b"folder/b.mp4")
    assert entry_b.length == 3 * 1024
    assert sha256_hex(content[2048 : 5 * 1024]) == entry_b.sha256
    assert not any(content[5 * 1024 :])
    assert summary.num_ignored == 2


def test_a_tar_cut_anywhere_is_refused_or_complete(tmp_path: Path) -> None:
    draw = random.Random(0)
    for write in (with_webdataset, with_python):
        path = tmp_path / "x.tar"
        write(path)
        content = path.read_bytes()
        end = sum(entry.length for entry in index_tar(path, ForeignSummary()).samples)
        cuts = [0, 1, 511, 512, 1024, end - 512, end - 1, end, end + 512, end + 1023, end + 1024, len(content) - 1]
        cuts += [draw.randrange(len(content)) for _ in range(100)] + [
            draw.randrange(len(content) // 512) * 512 for _ in range(50)
        ]
        complete = 0
        for length in cuts:
            path.write_bytes(content[:length])
            if length < end + 1024:
                with pytest.raises(ShardError, match=r"x\.tar is cut: it ends after"):
                    index_tar(path, ForeignSummary())
            else:
                assert [entry.key for entry in index_tar(path, ForeignSummary()).samples][-1].endswith("0004")
                complete += 1
        assert 2 <= complete < len(cuts)


def test_flipped_bytes_are_refused_or_change_only_content_and_names(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with_python(path)
    content, draw = path.read_bytes(), random.Random(1)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            index = index_tar(path, ForeignSummary())
        except ShardError as error:
            assert "x.tar" in str(error)
        else:
            assert index.sha256 == sha256_hex(bytes(damaged))
            assert not any(damaged[sum(entry.length for entry in index.samples) :])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.mp4", "a.json", "b.mp4", "a.txt"], "the key 'a' comes again after others"),
        (["a.mp4", "b.mp4", "a.mp4", "b.mp4"], "the key 'a' comes again after others"),
        (["a.mp4", "a.MP4"], "the member 'a.MP4' of the key 'a' is there twice"),
        (["README", "folder/.hidden.mp4", "__meta__.json__"], "holds no samples"),
        ([], "holds no samples"),
        (["a.mp4", "caf\udce9.mp4"], "is not UTF-8"),
    ],
)
def test_tars_whose_samples_do_not_stand_apart_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    make(tmp_path / "x.tar", *names)
    with pytest.raises(ShardError, match=message) as caught:
        index_shards(tmp_path)
    assert "x.tar" in str(caught.value)
    assert not index_path(tmp_path / "x.tar").exists()
    assert not (tmp_path / "shards.json").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    make(tmp_path / "x.tar", "a.mp4", kind=kind)
    with pytest.raises(ShardError, match=r"x\.tar: 'a\.mp4' is a link, a device or otherwise no plain file"):
        index_shards(tmp_path)


def test_sparse_files_and_headers_that_lie_of_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for headers, message in (
        ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, "no plain file"),
        ({"size": "-512"}, "a member of '-512' bytes"),
        ({"size": "9" * 15}, "is cut"),
    ):
        header = tarfile.TarInfo("a.mp4")
        header.pax_headers = headers
        path.write_bytes(header.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
        with pytest.raises(ShardError, match=message):
            index_tar(path, ForeignSummary())
    header = bytearray(tarfile.TarInfo("a.mp4").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # -256 in base 256: tarfile would go back to this header for ever
    header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(ShardError, match=r"no plain file \(type '0', -256 bytes\)"):
        index_tar(path, ForeignSummary())


@pytest.mark.parametrize("content", [b"", b"x" * 512, b"x" * 5000, bytes(512)])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ShardError, match=r"x\.tar is (cut|damaged or no tar)"):
        index_shards(tmp_path)


def test_two_tars_in_one_and_compressed_ones_are_refused(tmp_path: Path) -> None:
    one = make(tmp_path / "x.tar", "a.mp4").read_bytes()
    (tmp_path / "x.tar").write_bytes(one + one)
    with pytest.raises(ShardError, match="something other than zeros follows the end"):
        index_shards(tmp_path)
    with tarfile.open(tmp_path / "x.tar", "w:gz") as archive:
        add(archive, "a.mp4", random.Random(0).randbytes(5000))
    with pytest.raises(ShardError, match="damaged or no tar"):
        index_shards(tmp_path)


def test_folders_without_tars_and_folders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"holds no \.tar files"):
        index_shards(tmp_path)
    with pytest.raises(ShardError, match="cannot be read"):
        index_tar(tmp_path, ForeignSummary())


def test_curations_own_output_is_refused_and_foreign_shards_can_be_indexed_again(tmp_path: Path) -> None:
    make(tmp_path / "x.tar", "a.mp4")
    first = index_shards(tmp_path)
    make(tmp_path / "y.tar", "a.mp4")
    assert index_shards(tmp_path).shards == (*first.shards, "y.tar")
    value = json.loads((tmp_path / "shards.json").read_bytes())
    (tmp_path / "shards.json").write_text(json.dumps({**value, "settings_sha256": "ab12"}))
    with pytest.raises(ShardError, match="is curation's own output"):
        index_shards(tmp_path)
    (tmp_path / "shards.json").unlink()
    (tmp_path / "work" / "runs").mkdir(parents=True)
    with pytest.raises(ShardError, match="an unfinished run"):
        index_shards(tmp_path)


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.masks.json", "x/y/a.mp4", "x.y/a.mp4", "x.y/a.b.c", "a", "x.y/a", ".hidden", "A.MP4", "./a.x"]
)
def test_keys_are_webdatasets(name: str) -> None:
    key, extension = base_plus_ext(name)
    assert sample_name(name) == (None if key is None else (key, extension.lower()))


def test_members_are_checked_and_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.tar"
    with_webdataset(path)
    index_shards(tmp_path)
    reader = ShardReader(path)
    with pytest.raises(ValueError, match="unexpected member"):
        reader.read("0001")
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match="is not what was indexed"):
        ShardReader(path).members("0000")
    monkeypatch.setattr("magdiff_curation.clips.shards.MOST_SAMPLE_BYTES", 1000)
    with pytest.raises(ShardError, match="the sample '0004' has 6656 bytes, over 1000"):
        reader.members("0004")


def test_indexing_our_own_tar_gives_our_own_index(tmp_path: Path) -> None:
    members = {"mp4": b"v" * 999, "json": b"{}", "masks.json": b"[]", "subject.png": b""}
    index = write_shard(tmp_path / "x.tar", ((key, pack_sample(key, members)) for key in ("a", "b")))
    summary = ForeignSummary()
    assert index_tar(tmp_path / "x.tar", summary) == index
    assert summary.lacking == {"mp4": 0, "json": 0, "masks": 0, "caption": 2}


def test_shards_on_an_object_store_are_indexed_there(tmp_path: Path) -> None:
    with_webdataset(tmp_path / "x.tar")
    with object_store() as bucket:
        folder = location(bucket) / "theirs"
        write_atomic(folder / "x.tar", (tmp_path / "x.tar").read_bytes())
        assert index_shards(folder) == load_shard_list(folder) == index_shards(tmp_path)
        assert ShardReader(folder / "x.tar").members("0003") == SAMPLES["0003"]
