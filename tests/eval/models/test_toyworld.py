import numpy as np
import pytest
import torch
from eval.models.filling import fill

from magdiff_eval.models.toyworld import ToyworldExtractor, extractor_inputs


@pytest.fixture(scope="module")
def network() -> ToyworldExtractor:
    made = ToyworldExtractor()
    fill(made, 3)
    return made


def videos(num_frames: int, num_videos: int = 2) -> torch.Tensor:
    return extractor_inputs(np.random.default_rng(5).integers(0, 256, (num_videos, num_frames, 64, 64, 3), np.uint8))


def test_it_has_at_most_300_thousand_parameters() -> None:
    assert sum(parameter.numel() for parameter in ToyworldExtractor().parameters()) <= 300_000


@torch.inference_mode()
@pytest.mark.parametrize("num_frames", [8, 16])
def test_logits_are_of_pairs_of_action_and_class_and_features_do_not_depend_on_the_batch(
    network: ToyworldExtractor, num_frames: int
) -> None:
    both = videos(num_frames)
    features, named, logits = network.features(both), network.named(both), network(both)
    assert (features.shape, logits.shape) == ((2, 64), (2, 100))
    torch.testing.assert_close(network.features(both[1:]), features[1:], rtol=0, atol=1e-4)
    pair = named["action"].softmax(dim=1)[1, 3] * named["class_name"].softmax(dim=1)[1, 7]
    assert logits[1, 37].exp().item() == pytest.approx(pair.item(), rel=1e-4)
    assert logits.exp().sum(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)


@torch.inference_mode()
def test_order_in_time_matters(network: ToyworldExtractor) -> None:
    video = videos(8)
    assert (network.features(video) - network.features(video.flip(2))).abs().max() > 0.01


def test_inputs_are_pixels_from_minus_one_to_one_resized_to_64() -> None:
    video = np.zeros((1, 8, 128, 32, 3), np.uint8)
    video[:, :, :64] = 255
    shown = extractor_inputs(video)
    assert shown.shape == (1, 3, 8, 64, 64)
    assert shown[0, 2, 7, 5, 5].item() == 1
    assert shown[0, 2, 7, 60, 60].item() == -1
    same = np.random.default_rng(1).integers(0, 256, (2, 8, 64, 64, 3), np.uint8)
    assert extractor_inputs(same)[1, 2, 4, 10, 20].item() == pytest.approx(same[1, 4, 10, 20, 2] / 127.5 - 1)


def test_other_shapes_types_and_lengths_are_refused_with_what_to_do(network: ToyworldExtractor) -> None:
    with pytest.raises(ValueError, match=r"got float64 \(1, 8, 64, 64, 3\): need RGB videos, uint8"):
        extractor_inputs(np.zeros((1, 8, 64, 64, 3)))
    with pytest.raises(ValueError, match=r"got \(1, 3, 8, 32, 32\) and takes .* make it with extractor_inputs"):
        network.features(torch.zeros(1, 3, 8, 32, 32))
    with pytest.raises(ValueError, match="got 12 frames and takes 8 or 16: generate videos of one of these lengths"):
        network(torch.zeros(1, 3, 12, 64, 64))
