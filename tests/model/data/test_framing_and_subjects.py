import numpy as np
import pytest
import torch

from magdiff_model.data.framing import framed_frames, framed_masks, unit
from magdiff_model.data.subjects import SubjectSettings, clip_pixels, subject_inputs

SETTINGS = SubjectSettings(size_px=32, clip_size_px=24, clip_mean=(0.5, 0.4, 0.3), clip_std=(0.2, 0.2, 0.2))


def half_white() -> tuple[np.ndarray, np.ndarray]:
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[:, :, 48:] = 255
    masks = np.zeros((2, 64, 96), bool)
    masks[:, :, 48:] = True
    return frames, masks


def test_the_middle_square_is_taken_and_scaled_to_minus_one_to_one() -> None:
    frames, masks = half_white()
    pixels, inside = unit(framed_frames(frames, 32)), framed_masks(masks, 32)
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels[0, :, 5, 4].tolist() == [-1, -1, -1]
    assert pixels[0, :, 5, 28].tolist() == [1, 1, 1]
    assert inside[0, 5].tolist() == [False] * 16 + [True] * 16


def test_the_subject_stands_alone_on_zero_at_every_size_in_one_framing() -> None:
    inputs = subject_inputs(*half_white(), SETTINGS)
    assert [scale.shape[1] for scale in inputs.pyramid] == [48, 40, 32]
    for scale in map(unit, inputs.pyramid):
        side = scale.shape[-1]
        assert scale[..., : side // 2].abs().max() == 0
        assert scale[..., side // 2 + 1 :].min() == 1
    white = (1 - torch.tensor(SETTINGS.clip_mean)) / 0.2
    pixels = clip_pixels(inputs.clip_pictures, SETTINGS)
    torch.testing.assert_close(pixels[0, :, 3, 20], white)
    assert pixels[..., :12].abs().max() == 0


def test_no_mask_and_no_sda_both_show_the_whole_frame() -> None:
    frames, masks = half_white()
    whole = subject_inputs(frames, None, SETTINGS)
    assert whole.pyramid[-1][0, 3, 3].tolist() == [0, 0, 0, 255]
    from dataclasses import replace

    without_sda = subject_inputs(frames, masks, replace(SETTINGS, masked=False))
    assert torch.equal(whole.pyramid[0], without_sda.pyramid[0])
    assert torch.equal(whole.clip_pictures, without_sda.clip_pictures)


def test_masks_that_do_not_fit_and_empty_masks_are_refused() -> None:
    frames, masks = half_white()
    with pytest.raises(ValueError, match="do not fit frames"):
        subject_inputs(frames, masks[:1], SETTINGS)
    masks[1] = False
    with pytest.raises(ValueError, match=r"frames \[1\] have an empty mask"):
        subject_inputs(frames, masks, SETTINGS)
