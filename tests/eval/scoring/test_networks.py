from dataclasses import replace

import numpy as np
import pytest
import torch
from eval.scoring.tiny import moving

from magdiff_eval.metrics.fvd import MAGDIFF, PROTOCOLS, prepare_clips
from magdiff_eval.models.c3d import C3D, tgan2_inputs
from magdiff_eval.models.i3d import InceptionI3d
from magdiff_eval.models.toyworld import ToyworldExtractor, extractor_inputs
from magdiff_eval.scoring.extractors import Extractor, extract_all
from magdiff_eval.scoring.networks import fvd_extractor, is_extractor, toyworld_extractor

WEIGHTS = {"sha256": "random"}


def shown(extractor: Extractor, seed: int, num_frames: int) -> torch.Tensor:
    frames = moving(seed, num_frames)
    return extractor.prepare(frames[extractor.frames_needed(num_frames)])


@pytest.mark.parametrize(("mode", "num_frames"), [("exact", 16), ("windows", 21), ("repeat", 10), ("resample", 33)])
@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_i3d_is_shown_what_its_protocol_prepares_of_the_whole_video(name: str, mode: str, num_frames: int) -> None:
    protocol = replace(PROTOCOLS[name], clip_mode=mode)  # type: ignore[arg-type]
    extractor = fvd_extractor(torch.nn.Identity(), WEIGHTS, protocol)
    found = shown(extractor, 0, num_frames)
    assert torch.equal(found, prepare_clips(moving(0, num_frames)[None], protocol))
    assert len(found) == (2 if mode == "windows" else 1)


def test_lengths_that_a_network_does_not_take_are_refused_in_words() -> None:
    nothing = torch.nn.Identity()
    mean = np.zeros((3, 16, 128, 171), np.float32)
    with pytest.raises(ValueError, match="a video has 8 frames and protocol magdiff shows 16"):
        fvd_extractor(nothing, WEIGHTS, MAGDIFF).frames_needed(8)
    with pytest.raises(ValueError, match="a video has 17 frames and protocol tgan2 shows 16"):
        is_extractor(nothing, WEIGHTS, mean).frames_needed(17)
    with pytest.raises(ValueError, match="a video has 16 frames and toyworld's extractor takes 8"):
        toyworld_extractor(ToyworldExtractor(), WEIGHTS, num_frames=8).frames_needed(16)


def test_c3d_is_shown_what_tgan2_prepares() -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 16, 128, 171)).astype(np.float32)
    found = shown(is_extractor(torch.nn.Identity(), WEIGHTS, mean), 0, 16)
    assert torch.equal(found, tgan2_inputs(moving(0, 16)[None], mean))


def test_toyworlds_network_gives_its_features_and_its_logits_whatever_shares_the_batch() -> None:
    torch.manual_seed(0)
    network = ToyworldExtractor()
    for logits, width in ((False, 64), (True, 100)):
        extractor = toyworld_extractor(network, WEIGHTS, num_frames=8, logits=logits, batch_size=4)
        items = [shown(extractor, seed, 8) for seed in range(5)]
        together = np.concatenate(extract_all(extractor, items))
        backwards = np.concatenate(extract_all(extractor, items[::-1]))[::-1]
        np.testing.assert_array_equal(together, backwards)
        assert together.shape == (5, width)
        with torch.no_grad():
            run = network if logits else network.features
            alone = run(extractor_inputs(moving(3, 8)[None]))
        np.testing.assert_allclose(together[3], alone[0].numpy(), rtol=1e-4, atol=1e-5)


def test_the_stamp_tells_weights_and_what_is_shown_and_leaves_out_what_features_do_not_depend_on() -> None:
    nothing = torch.nn.Identity()
    stamp = fvd_extractor(nothing, WEIGHTS, MAGDIFF).stamp
    assert stamp["weights"] == WEIGHTS
    assert stamp["protocol"]["resize"] == "crop"
    assert stamp == fvd_extractor(nothing, WEIGHTS, replace(MAGDIFF, ddof=0)).stamp
    assert stamp != fvd_extractor(nothing, WEIGHTS, replace(MAGDIFF, clip_mode="windows")).stamp
    assert stamp != fvd_extractor(nothing, {"sha256": "other"}, MAGDIFF).stamp
    network = ToyworldExtractor()
    assert toyworld_extractor(network, WEIGHTS, num_frames=8).stamp != toyworld_extractor(network, WEIGHTS).stamp


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["i3d", "c3d"])
def test_the_large_networks_features_do_not_depend_on_what_shares_the_batch(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "i3d":
        extractor = fvd_extractor(InceptionI3d(), WEIGHTS, MAGDIFF, batch_size=2)
    else:
        extractor = is_extractor(C3D(), WEIGHTS, np.full((3, 16, 128, 171), 100.0, np.float32), batch_size=2)
    items = [shown(extractor, seed, 16) for seed in range(3)]
    together = np.concatenate(extract_all(extractor, items))
    others = np.concatenate(extract_all(extractor, items[::-1]))[::-1]
    np.testing.assert_array_equal(together, others)
    assert np.abs(together[0] - together[1]).max() > 0
