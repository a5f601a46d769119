"""A world, what becomes of it where nothing goes wrong, and a cluster of two nodes with an object store to write to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.sixty_clips import CURATE, SHOWN, options, write_world
from object_store import Trap, object_store
from products import products


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def reference(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, str(CURATE), *options(manifest, output)], check=True, timeout=300)
    return products(output, SHOWN)


@pytest.fixture
def traps() -> list[Trap]:
    return []


@pytest.fixture
def bucket_url(traps: list[Trap]) -> Iterator[str]:
    with object_store(watch=lambda write: [trap(write) for trap in traps]) as url:
        yield url


@pytest.fixture
def two_nodes(bucket_url: str) -> Iterator[Any]:
    """A cluster; its nodes' environment names the object store, so that has to be there first."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()
