"""A cluster of two nodes that share nothing: packages travel with the run, models come from S3 to each node's cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from in_process import curate_here
from object_store import object_store
from products import products
from ray.cluster_utils import Cluster

from magdiff_curation.clips.location import location
from magdiff_curation.clips.stores import put_file
from magdiff_curation.config import CurationSettings, load_settings
from magdiff_curation.pipeline import curate
from magdiff_curation.toyworld.dataset import DatasetSettings, write_dataset

NUM_CLIPS = 16
ZOO = Path(__file__).parents[2] / "zoo" / "toyworld_vision"


def settings_for(folder: Path, manifest: Path, output: str, models: str) -> CurationSettings:
    (folder / "settings.yaml").write_text(
        yaml.safe_dump(
            {
                "source": str(manifest),
                "output": output,
                "filters": {"min_short_side_px": 128},
                "answer": {"image_text": {"model": f"{models}/blip2"}},
                "mask": {"zero_shot": {"model": f"{models}/detector"}, "sam": {"weights": f"{models}/sam"}},
                "engine": {"ship_code": True},
            }
        )
    )
    return load_settings(folder / "settings.yaml", "toyworld")


@pytest.mark.slow
def test_nodes_fetch_models_from_s3_and_curate_the_same_bytes_as_with_models_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_dataset(tmp_path / "world", DatasetSettings(num_clips=NUM_CLIPS, seed=14, width=192, height=128))
    curate_here(settings_for(tmp_path, manifest, str(tmp_path / "local"), str(ZOO)))
    caches = [tmp_path / name for name in ("driver", "head", "worker")]
    monkeypatch.setenv("MAGDIFF_CACHE", str(caches[0]))
    with object_store() as url:
        for path in ZOO.rglob("*"):
            if path.is_file():
                put_file(location(f"{url}/models/{path.relative_to(ZOO).as_posix()}"), path)
        head, worker = ({"num_cpus": 1, "env_vars": {"MAGDIFF_CACHE": str(cache)}} for cache in caches[1:])
        cluster = Cluster(initialize_head=True, head_node_args=head | {"include_dashboard": False})
        try:
            cluster.add_node(**worker)
            settings = settings_for(tmp_path, manifest, f"{url}/curated", f"{url}/models")
            summary = curate(settings, address=cluster.address)
        finally:
            cluster.shutdown()
        assert summary["kept"] >= NUM_CLIPS // 2
        shards = products(settings.output)
    assert shards == products(tmp_path / "local")
    assert "clips-000000.tar" in shards
    for cache in caches:  # a worker fetches what it is about to use: so both nodes have worked
        assert {path.name for path in (cache / "models").glob("*--*/*")} == {"blip2", "detector", "sam"}
