"""Golden values: TGAN2's own C3DVersion1UCF101 in Chainer 7.8.1 with the same filling, mean and video.

The two agreed to 1.2e-3 in every logit, of up to 553, and to 1e-3 in every input, of up to 173.
"""

import numpy as np
import pytest
import torch
from eval.models.filling import fill
from PIL import Image

from magdiff_eval.models.c3d import C3D, tgan2_inputs


def test_logits_are_those_of_tgan2_from_the_video_on() -> None:
    network = C3D()
    fill(network, 9)
    random = np.random.RandomState(10)
    mean = random.uniform(80, 120, (3, 16, 128, 171)).astype(np.float32)
    video = random.randint(0, 256, (1, 16, 40, 60, 3)).astype(np.uint8)
    with torch.inference_mode():
        logits = network(tgan2_inputs(video, mean))
    assert logits.shape == (1, 101)
    golden = (112.00018, 161.50877, 294.98724, -240.9601, 9.76756)
    assert logits[0, [0, 1, 25, 50, 100]].tolist() == pytest.approx(golden, abs=5e-3)
    assert int(logits.argmax()) == 22


def test_c3d_has_the_parameters_and_names_of_tgan2s_file() -> None:
    with torch.device("meta"):
        network = C3D()
    assert sum(parameter.numel() for parameter in network.parameters()) == 78_409_573
    layers = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8")
    assert set(network.state_dict()) == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}


def test_inputs_are_bgr_pixels_resized_corner_to_corner_less_the_means_crop() -> None:
    mean = np.zeros((3, 16, 128, 171), np.float32)
    mean[:, :, 8, 8] = np.array([[1], [2], [3]])
    mean[:, 2, 119, 119] = 5
    video = np.random.default_rng(0).integers(0, 256, (2, 16, 30, 70, 3), np.uint8)
    shown = tgan2_inputs(video, mean)
    assert shown.shape == (2, 3, 16, 112, 112)
    corners = video[1, 2, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float)  # RGB of four corners
    found = shown[1, :, 2, [0, 0, -1, -1], [0, -1, 0, -1]].T.numpy()
    np.testing.assert_allclose(found, corners[:, ::-1] - [[1, 2, 3], [0, 0, 0], [0, 0, 0], [5, 5, 5]], atol=1e-3)
    ramp = np.tile(np.linspace(0, 250, 51).astype(np.uint8)[None, None, None, :, None], (1, 16, 9, 1, 3))
    row = tgan2_inputs(ramp, np.zeros_like(mean))[0, 1, 7, 50]
    np.testing.assert_allclose(row.numpy(), np.linspace(0, 250, 112), atol=1e-3)


def test_frames_of_c3ds_own_size_stay_as_they_are() -> None:
    picture = np.asarray(Image.radial_gradient("L").resize((112, 112)))
    video = np.broadcast_to(picture[None, None, :, :, None], (1, 16, 112, 112, 3)).copy()
    shown = tgan2_inputs(video, np.full((3, 16, 128, 171), 100, np.float32))
    assert torch.equal(shown, torch.from_numpy(video).permute(0, 4, 1, 2, 3).float() - 100)


def test_other_lengths_types_and_means_are_refused() -> None:
    mean = np.zeros((3, 16, 128, 171), np.float32)
    with pytest.raises(ValueError, match=r"got uint8 \(1, 8, 20, 20, 3\): C3D takes uint8 \[B, 16, H, W, 3\]"):
        tgan2_inputs(np.zeros((1, 8, 20, 20, 3), np.uint8), mean)
    with pytest.raises(ValueError, match="got float64"):
        tgan2_inputs(np.zeros((1, 16, 20, 20, 3)), mean)
    with pytest.raises(ValueError, match=r"the mean has shape \(3, 16, 112, 112\): need \[3, 16, 128, 171\]"):
        tgan2_inputs(np.zeros((1, 16, 20, 20, 3), np.uint8), mean[..., :112, :112])
    with torch.device("meta"):
        network = C3D()
    with pytest.raises(ValueError, match=r"C3D got \(1, 3, 8, 112, 112\) and takes"):
        network(torch.zeros(1, 3, 8, 112, 112))
