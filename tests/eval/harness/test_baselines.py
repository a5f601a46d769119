from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval.baselines.tiny import FAST, write_all
from eval.harness.small import small

from magdiff_eval.run import run
from magdiff_model.media import read_image


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("weights"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAST))
def test_a_baseline_runs_through_the_harness_and_its_folder_scores_as_it_does(
    name: str, weights: Path, benchmarks: Any, tmp_path: Path
) -> None:
    options = dict(FAST[name])
    steps = options.pop("steps")
    benchmark = "davis" if name == "instruct-pix2pix" else "msrvtt"
    given: dict[str, Any] = {} if benchmark == "davis" else {"num_frames": 4}
    metrics = ("clip", "motion") if benchmark == "davis" else ("clip", "dino", "motion")
    made = run(
        small(
            benchmark,
            benchmarks,
            tmp_path / "made",
            baseline=name,
            weights=weights,
            steps=steps,
            guidance_scale=None,
            metrics=metrics,
            baseline_settings=tuple(f"{key}={value}" for key, value in options.items()),
            **given,
        )
    )
    assert made["made"]["null_masks"] == made["made"]["items"] > 0  # it takes whole frames
    assert made["protocol"]["maker"]["steps"] == steps
    frames = sorted((tmp_path / "made" / "frames").rglob("00000.png"))
    assert len({read_image(path).tobytes() for path in frames}) > 1
    folder = run(
        small(
            benchmark,
            benchmarks,
            tmp_path / "folder",
            videos=tmp_path / "made" / "frames",
            method=made["method"],
            metrics=metrics,
            **given,
        )
    )
    assert folder["method"] == made["method"]
    assert folder["scores"] == made["scores"]
    assert np.isfinite(list(made["scores"].values())).all()
