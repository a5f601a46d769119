import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magdiff_eval.scoring.faults import ANY_VIDEO, Expectations, Facts, Fault, Reason
from magdiff_eval.scoring.features import FeatureStore, merge
from magdiff_eval.scoring.lines import append_lines, read_lines, sole_writer

READER = {"ffmpeg": "1"}
FACTS = Facts(num_frames=8, width=4, height=4, frame_rate=8.0, kind="mp4")


def opened(folder: Path, *keys: str) -> FeatureStore:
    return FeatureStore(folder, keys or ("net-1",), READER)


def rows(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def filled(folder: Path, count: int, part: str = "main") -> FeatureStore:
    store = opened(folder)
    with store.writing(part) as writer:
        for number in range(count):
            writer.add_features("net-1", {f"video {number}": rows(number, 1, 6)})
            writer.add_videos({f"video {number}": FACTS})
    return store


def test_features_of_any_shape_and_faults_are_found_again_to_the_bit(tmp_path: Path) -> None:
    store = opened(tmp_path, "net-1", "frames-1")
    doubles = np.random.default_rng(9).standard_normal((5, 2, 3))
    fault = Fault(Reason.NOT_FINITE, "3 of 6 features are not finite")
    with store.writing() as writer:
        writer.add_features("net-1", {"a": rows(0, 1, 6), "b": fault})
        writer.add_features("frames-1", {"a": doubles, "b": rows(1, 2, 4)})
        writer.add_videos({"a": FACTS, "b": FACTS, "c": Fault(Reason.UNREADABLE, "no moov")})
        writer.add_contents({("/v/a.mp4", 10, 20): "a"})
    for found in (store, opened(tmp_path, "net-1", "frames-1")):
        np.testing.assert_array_equal(next(found.read("net-1", ["a"])), rows(0, 1, 6))
        first, second = found.read("frames-1", ["b", "a"])
        np.testing.assert_array_equal(first, rows(1, 2, 4))
        np.testing.assert_array_equal(second, doubles)
        assert second.dtype == np.float64
        assert found.features["net-1"]["b"] == fault
        assert found.videos == {"a": FACTS, "b": FACTS, "c": Fault(Reason.UNREADABLE, "no moov")}
        assert found.contents == {("/v/a.mp4", 10, 20): "a"}
        assert found.num_lost == 0


def test_a_video_is_done_when_every_extractor_has_a_row_or_it_can_have_none(tmp_path: Path) -> None:
    store = opened(tmp_path, "net-1", "frames-1")
    with store.writing() as writer:
        writer.add_features("net-1", {"half": rows(0, 1, 6), "whole": rows(1, 1, 6), "unseen": rows(2, 1, 6)})
        writer.add_features("frames-1", {"whole": Fault(Reason.LENGTH_NOT_TAKEN, "8 frames"), "unseen": rows(3, 1, 6)})
        writer.add_videos({"half": FACTS, "whole": FACTS})
        writer.add_videos({"broken": Fault(Reason.UNREADABLE, ""), "slow": Fault(Reason.LIMIT_EXCEEDED, "300 s")})
    done = {name: store.is_done(name, ANY_VIDEO) for name in ("half", "whole", "unseen", "broken", "slow", "new")}
    assert done == {"half": False, "whole": True, "unseen": False, "broken": True, "slow": False, "new": False}
    assert store.is_done("half", Expectations(min_frames=9))  # it is not wanted


def test_what_another_reader_found_does_not_count(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert FeatureStore(tmp_path, ["net-1"], {"ffmpeg": "2"}).videos == {}


@pytest.mark.parametrize("lost", [1, 5, 24, 30])
def test_a_torn_last_row_is_dropped_and_what_is_written_next_is_whole(tmp_path: Path, lost: int) -> None:
    filled(tmp_path, 3)
    index, numbers = tmp_path / "main" / "net-1.jsonl", tmp_path / "main" / "net-1.bin"
    index.write_bytes(index.read_bytes()[:-lost])
    numbers.write_bytes(numbers.read_bytes()[:-lost])
    store = opened(tmp_path)
    assert sorted(store.features["net-1"]) == (["video 0", "video 1"] if lost <= 24 else ["video 0"])
    with store.writing() as writer:
        writer.add_features("net-1", {"video 2": rows(2, 1, 6), "video 9": rows(9, 1, 6)})
    again = opened(tmp_path)
    for number in (0, 2, 9):
        np.testing.assert_array_equal(next(again.read("net-1", [f"video {number}"])), rows(number, 1, 6))


def test_a_row_that_a_bad_disk_changed_is_lost_alone(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    numbers, index = tmp_path / "main" / "net-1.bin", tmp_path / "main" / "net-1.jsonl"
    content = bytearray(numbers.read_bytes())
    content[30] ^= 1
    numbers.write_bytes(content)
    index.write_bytes(index.read_bytes().replace(b'"video 2"', b'"video 3"'))
    store = opened(tmp_path)
    assert list(store.features["net-1"]) == ["video 0"]
    assert store.num_lost == 2
    assert not store.is_done("video 1", ANY_VIDEO)


def test_two_processes_do_not_write_one_part_at_once(tmp_path: Path) -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\n" + (
        "from magdiff_eval.scoring.lines import sole_writer\n"
        f"with sole_writer(Path({str(tmp_path / 'main')!r})):\n    print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=r"another process writes into .*main"), opened(tmp_path).writing():
            pass
        with opened(tmp_path).writing("00001"):
            pass
        other.kill()
    with opened(tmp_path).writing():
        pass


def test_a_part_needs_a_plain_name(tmp_path: Path) -> None:
    for name in ("", "../up", ".hidden", "a/b"):
        with pytest.raises(ValueError, match="give a plain name such as 00007"), opened(tmp_path).writing(name):
            pass


def test_merged_parts_hold_what_they_held_and_each_row_once(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    filled(tmp_path, 5, "00001")
    store = FeatureStore(tmp_path, ["other-2"], READER)
    with store.writing("00002") as writer:
        writer.add_features("other-2", {"video 0": rows(7, 2, 2)})
        writer.add_contents({("/v/a.mp4", 1, 2): "video 0"})
    merged = merge(store)
    assert merged.parts() == ["main"]
    found = opened(tmp_path, "net-1", "other-2")
    assert [line["content"] for line in read_lines(tmp_path / "main" / "net-1.jsonl")] == [
        f"video {n}" for n in range(5)
    ]
    for number, features in enumerate(found.read("net-1", [f"video {n}" for n in range(5)])):
        np.testing.assert_array_equal(features, rows(number, 1, 6))
    np.testing.assert_array_equal(next(found.read("other-2", ["video 0"])), rows(7, 2, 2))
    assert len(list(read_lines(tmp_path / "main" / "videos.jsonl"))) == 5
    assert found.contents == {("/v/a.mp4", 1, 2): "video 0"}


def test_a_merge_that_was_killed_before_its_part_was_gone_adds_nothing_twice(tmp_path: Path) -> None:
    filled(tmp_path, 4, "00001")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "00001").iterdir()}
    merge(opened(tmp_path))
    whole = {path.name: path.read_bytes() for path in (tmp_path / "main").iterdir()}
    (tmp_path / "00001").mkdir()
    for name, content in kept.items():
        (tmp_path / "00001" / name).write_bytes(content)
    merge(opened(tmp_path))
    assert {path.name: path.read_bytes() for path in (tmp_path / "main").iterdir()} == whole


def test_what_could_be_read_in_one_part_stays_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.writing("00001") as writer:
        writer.add_videos({"a": FACTS})
    with store.writing("00002") as writer:
        writer.add_videos({"a": Fault(Reason.LIMIT_EXCEEDED, "opening it took more than 300 s")})
    assert opened(tmp_path).videos == {"a": FACTS}


def test_an_unfinished_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":"' + b"x" * 200_000)
    assert list(read_lines(path)) == [{"a": 1}]
    append_lines(path, [{"c": 3}])
    assert path.read_bytes() == b'{"a":1}\n{"c":3}\n'
    path.write_bytes(b"x" * 200_000)
    append_lines(path, [{"c": 3}])
    assert path.read_bytes() == b'{"c":3}\n'


def test_the_lock_goes_with_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_writer(tmp_path / "a"):
            assert [path.name for path in (tmp_path / "a").iterdir()] == [".lock"]
