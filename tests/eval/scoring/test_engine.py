import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from eval.scoring.tiny import TinyClips, TinyFrames, moving, write_gif, write_mp4, write_pictures
from hostile import NUM_FRAMES, base_mp4, patched

from magdiff_eval.metrics.frechet import RunningStatistics
from magdiff_eval.scoring.engine import EngineSettings, open_store, score_part
from magdiff_eval.scoring.extractors import extract_all, extractor_key
from magdiff_eval.scoring.faults import Expectations
from magdiff_eval.scoring.features import merge
from magdiff_eval.scoring.folder import ScoredFolder, score_folder
from magdiff_eval.scoring.videos import list_videos, read

QUIET = {"report": lambda line: None}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of every kind, some of them at fault."""
    folder = tmp_path_factory.mktemp("mixed")
    for number in range(6):
        write_mp4(folder / f"good{number}.mp4", moving(number))
    write_pictures(folder / "bear" / "style", moving(10))
    write_pictures(folder / "bear" / "one", moving(11, 1))
    write_gif(folder / "moving.gif", moving(12))
    write_mp4(folder / "fast.mp4", moving(13), frame_rate=24)
    write_mp4(folder / "large.mp4", moving(14, height=96, width=128))
    write_mp4(folder / "short.mp4", moving(15, 5))
    (folder / "cut.mp4").write_bytes(patched(base_mp4(0, faststart=True), b"stts", 8, NUM_FRAMES + 5))
    (folder / "text.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def kept(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of features of all those videos; to be read only."""
    folder = tmp_path_factory.mktemp("kept")
    settings = EngineSettings(workers=3, group=5)
    score_folder(mixed, [TinyClips(), TinyFrames()], folder, settings=settings, **QUIET)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good videos and one that is short."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(5):
        write_mp4(folder / f"{number}.mp4", moving(number, 16 if number else 5))
    return folder


def reasons(scored: ScoredFolder) -> dict[str, str]:
    return {video.name: video.fault.reason.value for video in scored.videos if video.fault}


def test_every_fault_is_a_row_and_all_else_is_scored(mixed: Path, kept: Path) -> None:
    expected = Expectations(frame_rate=8, equal_sizes=True)
    scored = score_folder(mixed, [TinyClips(), TinyFrames()], kept, expected=expected, **QUIET)
    assert reasons(scored) == {
        "bear/one": "one_frame",
        "cut": "frames_missing",
        "fast": "frame_rate_differs",
        "large": "size_differs",
        "text": "unreadable",
    }
    assert [video.name for video in scored.videos] == sorted(video.name for video in scored.videos)
    assert scored.faults() == dict.fromkeys(
        ["frame_rate_differs", "frames_missing", "one_frame", "size_differs", "tiny: length_not_taken", "unreadable"], 1
    )
    counted = [video.name for video in scored.counted("tiny")]
    assert counted == ["bear/style", *(f"good{n}" for n in range(6)), "moving"]
    assert scored.features("tiny").shape == (8, 24)
    assert [video.name for video in scored.counted("tiny-frames")] == [*counted, "short"]
    row = {row["name"]: row for row in (video.row() for video in scored.videos)}["short"]
    assert row["fault"] is None
    assert row["faults"] == {
        "tiny": {
            "reason": "length_not_taken",
            "detail": "a video has 5 frames, tiny takes 8 or more: generate longer videos",
        }
    }
    assert row["video"] == {"num_frames": 5, "width": 64, "height": 48, "frame_rate": 8.0, "kind": "mp4"}
    assert row["content"] == hashlib.sha256((mixed / "short.mp4").read_bytes()).hexdigest()
    json.dumps(row)


def test_features_are_what_the_network_gives_of_the_decoded_frames(mixed: Path, kept: Path) -> None:
    net = TinyClips()
    scored = score_folder(mixed, [net, TinyFrames()], kept, **QUIET)
    by_name = {video.name: rows for video, rows in zip(scored.counted("tiny"), scored.each("tiny"), strict=True)}
    by_frame = {
        video.name: rows for video, rows in zip(scored.counted("tiny-frames"), scored.each("tiny-frames"), strict=True)
    }
    for video in [video for video in list_videos(mixed) if video.name in ("bear/style", "good3", "moving")]:
        frames, _ = read(video)
        np.testing.assert_array_equal(by_name[video.name], extract_all(net, [net.prepare(frames[:8])])[0])
        means = frames[::2].reshape(8, -1, 3).mean(axis=1)
        np.testing.assert_allclose(by_frame[video.name][:, :3], means, rtol=1e-12)


def test_the_score_is_the_same_to_the_bit_for_any_workers_groups_and_parts(
    mixed: Path, kept: Path, tmp_path: Path
) -> None:
    nets = [TinyClips(), TinyFrames()]
    whole = score_folder(mixed, nets, kept, **QUIET)
    videos = list_videos(mixed)
    for number in range(3):
        store, settings = open_store(tmp_path / "c", nets), EngineSettings(workers=1, group=number + 1)
        score_part(videos[number::3], nets, store, part=f"{number:05d}", settings=settings, **QUIET)
    in_parts = ScoredFolder(videos, nets, merge(open_store(tmp_path / "c", nets)))
    assert [video.row() for video in in_parts.videos] == [video.row() for video in whole.videos]
    for name in ("tiny", "tiny-frames"):
        np.testing.assert_array_equal(whole.features(name), in_parts.features(name))
        whole.save_statistics(name, tmp_path / "whole.npz")
        in_parts.save_statistics(name, tmp_path / "parts.npz")
        assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "parts.npz").read_bytes()


def test_an_items_features_do_not_depend_on_what_shares_its_batch() -> None:
    net = TinyClips()
    items = [net.prepare(moving(seed)) for seed in range(9)]
    together = np.concatenate(extract_all(net, items))
    backwards = np.concatenate(extract_all(net, items[::-1]))[::-1]
    alone = np.concatenate([extract_all(net, [item])[0] for item in items])
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together, axis=0)) == 9


def test_items_of_several_shapes_come_back_to_their_videos() -> None:
    class Sums:
        name, batch_size = "sums", 3

        def extract(self, batch: torch.Tensor) -> torch.Tensor:
            return batch.flatten(1).sum(dim=1, keepdim=True)

    videos = [torch.full((n, size), float(n)) for n, size in ((2, 5), (1, 4), (4, 5), (1, 5))]
    found = extract_all(Sums(), videos)  # type: ignore[arg-type]
    assert [rows.ravel().tolist() for rows in found] == [[10, 10], [4], [20, 20, 20, 20], [5]]


def test_a_second_run_reads_nothing_and_another_extractor_shows_only_itself(few: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = score_folder(few, [TinyClips(log=log)], tmp_path / "f", **QUIET)
    shown = log.read_text().splitlines()
    assert len(set(shown)) == len(shown) == len(first.counted("tiny")) == 4
    store = open_store(tmp_path / "f", [TinyClips(log=log)])
    with store.writing():  # which a run that adds nothing does not need
        other_store = open_store(tmp_path / "f", [TinyClips(log=log)])
        assert score_part(list_videos(few), [TinyClips(log=log)], other_store, **QUIET) == 0
    both = [TinyClips(log=log), TinyFrames()]
    assert score_part(list_videos(few), both, open_store(tmp_path / "f", both), **QUIET) == 5
    assert log.read_text().splitlines() == shown
    other = score_folder(few, [TinyClips(seed=1)], tmp_path / "f", **QUIET)
    assert np.abs(other.features("tiny") - first.features("tiny")).max() > 0.01


def test_a_store_cut_off_anywhere_is_made_whole_again_to_the_bit(tmp_path: Path) -> None:
    for number in range(4):
        write_pictures(tmp_path / "v" / f"{number}", moving(number, 8))
    nets = [TinyClips(), TinyFrames()]
    whole = score_folder(tmp_path / "v", nets, tmp_path / "whole", **QUIET)
    rng = np.random.default_rng(0)
    for attempt in range(25):
        cut = tmp_path / f"cut{attempt}"
        shutil.copytree(tmp_path / "whole", cut)
        for path in (cut / "main").glob("*.*"):
            os.truncate(path, rng.integers(path.stat().st_size + 1))
        for found in (score_folder(tmp_path / "v", nets, cut, **QUIET) for _ in range(2)):
            assert [video.row() for video in found.videos] == [video.row() for video in whole.videos]
            for name in ("tiny", "tiny-frames"):
                np.testing.assert_array_equal(found.features(name), whole.features(name))
        assert score_part(list_videos(tmp_path / "v"), nets, open_store(cut, nets), **QUIET) == 0


def test_a_file_that_changed_is_scored_anew_and_one_that_moved_is_not(tmp_path: Path) -> None:
    videos, log = tmp_path / "v", tmp_path / "log"
    write_mp4(videos / "a.mp4", moving(0))
    write_mp4(videos / "b.mp4", moving(1))
    before = score_folder(videos, [TinyClips(log=log)], tmp_path / "f", **QUIET).features("tiny")
    write_mp4(videos / "b.mp4", moving(2))
    (videos / "a.mp4").rename(videos / "c.mp4")
    (videos / "d.mp4").write_bytes((videos / "c.mp4").read_bytes())
    after = score_folder(videos, [TinyClips(log=log)], tmp_path / "f", **QUIET).features("tiny")
    assert len(log.read_text().splitlines()) == 3
    np.testing.assert_array_equal(after[1], before[0])
    np.testing.assert_array_equal(after[2], before[0])
    assert np.abs(after[0] - before[1]).max() > 0.01


def test_a_picture_put_in_anothers_place_is_noticed(tmp_path: Path) -> None:
    write_pictures(tmp_path / "v" / "a", moving(0))
    before = score_folder(tmp_path / "v", [TinyFrames()], tmp_path / "f", **QUIET).features("tiny-frames")
    first, last = tmp_path / "v" / "a" / "00000.png", tmp_path / "v" / "a" / "00008.png"
    content = first.read_bytes()
    first.write_bytes(last.read_bytes())
    last.write_bytes(content)
    after = score_folder(tmp_path / "v", [TinyFrames()], tmp_path / "f", **QUIET).features("tiny-frames")
    np.testing.assert_array_equal(after[[0, 4]], before[[4, 0]])
    assert np.abs(after - before).max() > 0.01


def test_features_that_are_not_finite_are_a_fault_that_is_kept(tmp_path: Path) -> None:
    class Broken(TinyClips):
        def extract(self, batch: torch.Tensor) -> torch.Tensor:
            rows = super().extract(batch)
            return torch.where(batch.mean(dim=(1, 2, 3, 4))[:, None] < -0.2, torch.nan, rows)

    write_mp4(tmp_path / "v" / "dark.mp4", moving(0) // 8)
    write_mp4(tmp_path / "v" / "bright.mp4", 200 + moving(0) // 8)
    for _ in range(2):
        scored = score_folder(tmp_path / "v", [Broken()], tmp_path / "f", **QUIET)
        assert scored.faults() == {"tiny: not_finite": 1}
        assert scored.videos[1].faults["tiny"].detail.startswith("24 of 24 features of tiny are not finite")
        assert scored.features("tiny").shape == (1, 24)


def test_where_no_video_counts_the_first_reason_is_told(tmp_path: Path) -> None:
    write_mp4(tmp_path / "v" / "a.mp4", moving(0, 5))
    scored = score_folder(tmp_path / "v", [TinyClips()], tmp_path / "f", **QUIET)
    for call in (lambda: scored.features("tiny"), lambda: scored.save_statistics("tiny", tmp_path / "s.npz")):
        with pytest.raises(ValueError, match=r"none of 1 videos counts; a: a video has 5 frames.*length_not_taken"):
            call()


def test_videos_that_are_not_scored_are_named(mixed: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path, [TinyClips()])
    with pytest.raises(ValueError, match=r"14 videos are not scored.*the first is bear/one"):
        ScoredFolder(list_videos(mixed), [TinyClips()], store)


def test_statistics_of_a_set_say_what_they_are_of(mixed: Path, kept: Path, tmp_path: Path) -> None:
    scored = score_folder(mixed, [TinyClips()], kept, **QUIET)
    scored.save_statistics("tiny", tmp_path / "real.npz", {"set": "mixed"})
    found, stamp = RunningStatistics.from_npz(tmp_path / "real.npz", {"extractor": TinyClips().stamp, "set": "mixed"})
    rows = scored.features("tiny")
    np.testing.assert_allclose(found.covariance(), np.cov(rows.T), rtol=1e-10, atol=1e-14)
    assert (found.count, stamp["videos"], set(stamp["reader"])) == (10, 10, {"ffmpeg", "pillow", "size", "rate"})


def test_progress_tells_rate_and_time_left_and_ends_with_all(few: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = EngineSettings(group=4, report_seconds=0)
    score_folder(few, [TinyClips()], tmp_path, settings=settings, report=lines.append)
    assert lines[0] == "5/5 videos looked at; new ones are hashed"
    assert lines[1].startswith("4/5 videos, ")
    assert lines[-2].startswith("5/5 videos, ")
    assert lines[-2].endswith(" a second, 0 s left")
    assert lines[-1] == "5 of 5 videos read now"


def test_extractors_are_told_apart_by_what_they_are_stamped_with() -> None:
    reader = {"ffmpeg": "1"}
    assert extractor_key(TinyClips(0), reader) != extractor_key(TinyClips(1), reader)
    assert extractor_key(TinyClips(0), reader) != extractor_key(TinyClips(0), {"ffmpeg": "2"})
    named = TinyClips()
    named.name = "../up"
    with pytest.raises(ValueError, match=r"named '../up'"):
        extractor_key(named, reader)


def test_two_extractors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give each a name of its own"):
        open_store(tmp_path, [TinyClips(0), TinyClips(1)])


def test_an_extractor_that_loses_items_is_told(few: Path, tmp_path: Path) -> None:
    class Losing(TinyClips):
        def extract(self, batch: torch.Tensor) -> torch.Tensor:
            return super().extract(batch)[1:]

    with pytest.raises(ValueError, match=r"gave torch.float32 \(3, 24\) for 4 items"):
        score_folder(few, [Losing()], tmp_path, **QUIET)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        EngineSettings(workers=0)


def test_scoring_leaves_no_process_behind(few: Path, tmp_path: Path) -> None:
    score_folder(few, [TinyClips()], tmp_path, **QUIET)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    assert children.strip() == ""
