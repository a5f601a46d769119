"""The committed extractor is what its card says, sees what was done to clips, and is not the oracle."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests_support import ZOO

from magdiff_curation.clips.atomic import sha256_of_file
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.metrics.inception import inception_score
from magdiff_eval.models.toyworld import HEADS, ToyworldExtractor, extractor_inputs
from magdiff_eval.weights import load_toyworld, stamp_of

FOLDER = ZOO.with_name("toyworld_extractor")
SEEDS = (20_000_009, 20_000_010)
NUM_CLIPS = 100

Videos = NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> Iterator[ToyworldExtractor]:
    with torch.inference_mode():
        yield load_toyworld(FOLDER)


@pytest.fixture(scope="module")
def clips() -> list[Videos]:
    return [
        np.stack([render(sample_scene(seed, i), height=64, width=64, num_frames=8)[0] for i in range(NUM_CLIPS)])
        for seed in SEEDS
    ]


def features(network: ToyworldExtractor, videos: Videos) -> NDArray[np.float32]:
    return network.features(extractor_inputs(videos)).numpy()


def test_card_registry_and_stamp_tell_of_the_same_small_file(network: ToyworldExtractor) -> None:
    path = FOLDER / "extractor.safetensors"
    assert path.stat().st_size <= 1.5e6
    card, stamp = json.loads((FOLDER / "card.json").read_bytes()), stamp_of(network)
    assert card["sha256"] == stamp.sha256 == sha256_of_file(path)
    assert (stamp.checked, stamp.format) == ("sha256", "safetensors")
    assert stamp.notes == (card["what"],) == ("toyworld's own extractor: not comparable with published numbers",)
    assert card["parameters"] == sum(parameter.numel() for parameter in network.parameters()) <= 300_000
    used = {1_000_003, 2_000_003, 2_000_004, 2_000_005, 2_000_006, 20_000_003, 30_000_001}  # others' worlds
    seeds = {card["seeds"]["training"], card["seeds"]["accuracy"], *card["seeds"]["distances"]}
    assert len(seeds) == 4
    assert not seeds & (used | set(SEEDS))


@pytest.mark.parametrize("num_frames", [8, 16])
def test_it_names_what_held_out_clips_show(network: ToyworldExtractor, num_frames: int) -> None:
    scenes = [sample_scene(SEEDS[0], index) for index in range(80)]
    videos = np.stack([render(scene, height=64, width=64, num_frames=num_frames)[0] for scene in scenes])
    named = network.named(extractor_inputs(videos))
    truths = {
        "action": [scene.action for scene in scenes],
        "class_name": [scene.subject.class_name for scene in scenes],
        "background": [scene.background for scene in scenes],
    }
    for head, truth in truths.items():
        found = [HEADS[head][index] for index in named[head].argmax(dim=1).tolist()]
        assert np.mean([a == b for a, b in zip(found, truth, strict=True)]) >= 0.94, head


def test_distances_grow_with_noise_coarseness_and_stillness(network: ToyworldExtractor, clips: list[Videos]) -> None:
    real, others = clips
    rng = np.random.default_rng(1)

    def noisy(deviation: float) -> Videos:
        return (others + deviation * rng.standard_normal(others.shape)).clip(0, 255).astype(np.uint8)

    def coarse(factor: int) -> Videos:
        small = others.reshape(NUM_CLIPS, 8, 64 // factor, factor, 64 // factor, factor, 3).mean(axis=(3, 5))
        return small.astype(np.uint8).repeat(factor, axis=2).repeat(factor, axis=3)

    def still(num_moving: int) -> Videos:
        return others[:, np.minimum(np.arange(8), num_moving - 1)]

    truth = features(network, real)

    def distance(videos: Videos) -> float:
        return frechet_distance_from_features(truth, features(network, videos))

    same = distance(others)
    for mild, strong in ((noisy(5), noisy(20)), (coarse(2), coarse(4)), (still(6), still(2))):
        assert 1.02 * same < distance(mild) < 0.98 * distance(strong)


def test_the_score_is_high_for_true_clips_and_lower_for_ones_that_show_one_action(
    network: ToyworldExtractor, clips: list[Videos]
) -> None:
    logits = network(extractor_inputs(clips[0])).numpy()
    still = network(extractor_inputs(np.repeat(clips[0][:, :1], 8, axis=1))).numpy()
    whole, less = inception_score(logits)[0], inception_score(still)[0]
    assert whole > 40  # of at most 100, by 100 clips
    assert less < 0.6 * whole
