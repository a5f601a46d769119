"""Damaged and hostile files go through what the normalize stage does: each gets its right reason, and harms nothing."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile import KINDS, write_hostile
from watch import listener, opened_files, watched_children

from magdiff_curation.clips.video import encode
from magdiff_curation.config import ClipSettings, LimitSettings
from magdiff_curation.limited_child import limited_child
from magdiff_curation.normalize import (
    canonical_rate,
    canonical_size,
    check_decoded_size,
    decode_source,
    probe_source,
)
from magdiff_curation.reasons import ClipRejected

LIMITS = LimitSettings()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    name: str
    reason: str
    seconds: float


def outcome(path: Path) -> Outcome:
    """Return what the normalize stage makes of a file."""
    begin, reason, clip = time.monotonic(), "kept", ClipSettings()
    try:
        info = probe_source(path, LIMITS)
        rate = canonical_rate(info, clip)
        if info.duration_seconds > LIMITS.max_seconds:
            reason = "too_long"
        else:
            check_decoded_size(math.ceil(info.duration_seconds * rate), *canonical_size(info, clip), LIMITS)
            encode(decode_source(path, info, clip, LIMITS), rate, clip.codec)
    except ClipRejected as rejection:
        reason = str(rejection.reason)
        assert rejection.detail
    except ValueError:
        reason = "source_unreadable"
    return Outcome(name=path.name, reason=reason, seconds=time.monotonic() - begin)


def test_the_watch_sees_a_file_that_is_opened(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with opened_files(tmp_path) as opened:
        (tmp_path / "x").read_bytes()
    assert opened == ["x"]


def test_the_watch_sees_what_a_child_takes_and_may_take(tmp_path: Path) -> None:
    program = "import time; taken = bytearray(200 * 2**20); time.sleep(0.3)"
    command = [sys.executable, "-I", "-c", program, str(tmp_path)]
    with watched_children(tmp_path) as children, limited_child(command, LimitSettings(max_memory_mib=512)) as it:
        assert it.end()[0] == 0
    (child,) = children.values()
    assert 200 < child.peak_mib < 300
    assert child.limit_mib == 512


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, set[str]], list[Outcome]]:
    folder = tmp_path_factory.mktemp("hostile")
    with listener() as (port, calls):
        right = write_hostile(folder, len(KINDS), seed=0, port=port)
        with opened_files(folder / "targets") as opened:
            outcomes = [outcome(folder / name) for name in right]
    assert (calls, opened) == ([], [])
    return right, outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_hostile_file_gets_its_right_reason(
    kind: str, one_of_each: tuple[dict[str, set[str]], list[Outcome]]
) -> None:
    right, outcomes = one_of_each
    (found,) = (outcome for outcome in outcomes if outcome.name.startswith(f"{kind}-"))
    assert found.reason in right[found.name]
    assert found.seconds < 20


def test_hostile_files_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    names = [list(write_hostile(tmp_path / folder, len(KINDS), seed=5)) for folder in ("a", "b")]
    assert names[0] == names[1]
    for name in names[0]:
        assert not (path := tmp_path / "a" / name).is_file() or (
            path.read_bytes().replace(b"/a/", b"/b/") == (tmp_path / "b" / name).read_bytes()
        )
