"""Several shards of few clips, on disk and on a web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from model.data.support import Web, serve, write_set

from magdiff_curation.clips.record import Clip
from magdiff_curation.clips.shards import ShardReader


@pytest.fixture(scope="session")
def clips(shards: Path) -> list[Clip]:
    return list(ShardReader(shards / "clips-000000.tar"))


@pytest.fixture(scope="session")
def three_shards(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("three"), [clips[:2], clips[2:4], clips[4:]])


@pytest.fixture
def web(three_shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("magdiff_model.data.cache.FIRST_PAUSE_SECONDS", 0.001)
    with serve(Web(three_shards)) as served:
        yield served
