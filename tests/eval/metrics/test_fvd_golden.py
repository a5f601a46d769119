"""The distances that public implementations print for these videos and weights.

Each was computed once by the public code itself, with I3D filled as here; only what is said stood in for something.

- tf: google-research's preprocessing (0090728) on TensorFlow 2.21's tf.compat.v1.image.resize_bilinear, piergiaj's I3D
  (05783d1), tensorflow/gan's frechet_classifier_distance_from_activations (bc369b7).
- styleganv: universome/stylegan-v's own compute_fvd (3fecd69); its torchscript, which was not at hand, was stood in for
  by piergiaj's I3D behind torch's bilinear resize, so its resize is not shown to be ours.
- magdiff: wilson1yan/VideoGPT's preprocessing, I3D (its batch norms' epsilon is 1e-5) and distance (733d2b1); ours
  differs by antialiasing, which changes nothing where videos are smaller than 224 px.
"""

import numpy as np
import pytest
import torch
from eval.models.filling import fill

from magdiff_eval.metrics.frechet import frechet_distance_from_features
from magdiff_eval.metrics.fvd import PROTOCOLS, prepare_clips
from magdiff_eval.models.i3d import InceptionI3d

PRINTED = {"tf": 5664.251953125, "styleganv": 5625.302428081103, "magdiff": 5390.10009765625}
BATCH_NORM_EPS = {"tf": 1e-3, "styleganv": 1e-3, "magdiff": 1e-5}
HEIGHT, WIDTH = 48, 54


def made_up(seed: int, low: int, high: int, step: int) -> np.ndarray:
    """Two videos uint8 [2, 16, 48, 54, 3]: coarse random pictures that roll sideways under noise, whole numbers."""
    random = np.random.RandomState(seed)
    videos = np.empty((2, 16, HEIGHT, WIDTH, 3), np.uint8)
    for video in videos:
        coarse = random.randint(low, high, (6, 8, 3))
        picture = coarse[np.arange(HEIGHT) * 6 // HEIGHT][:, np.arange(WIDTH) * 8 // WIDTH]
        for number, frame in enumerate(video):
            rolled = np.roll(picture, number * step * WIDTH // 64, axis=1)
            frame[:] = rolled + random.randint(0, 32, (HEIGHT, WIDTH, 3))
    return videos


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_fvd_is_what_the_public_implementation_prints(name: str) -> None:
    network, protocol = InceptionI3d(bn_eps=BATCH_NORM_EPS[name]), PROTOCOLS[name]
    fill(network, 7)
    with torch.no_grad():
        features = [
            network(prepare_clips(videos, protocol)).numpy()
            for videos in (made_up(1, 0, 224, 2), made_up(2, 64, 160, -1))
        ]
    found = frechet_distance_from_features(*features, ddof=protocol.ddof)
    assert found == pytest.approx(PRINTED[name], rel=1e-4)
