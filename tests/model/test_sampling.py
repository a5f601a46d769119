from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from magdiff_model.models.apa import Prompt
from magdiff_model.models.unet import Condition
from magdiff_model.sampling import denoise, guidance_branches, windows


class Denoiser(nn.Module):
    """Predicts the first number of the text's tokens everywhere, plus the frame's own number in the window."""

    dtype = torch.float64

    def __init__(self, count_frames: bool = False) -> None:
        super().__init__()
        self.count_frames = count_frames

    def forward(self, sample: Tensor, _: Tensor, condition: Condition) -> Tensor:
        value = condition.text.tokens[0, 0, 0, 0]
        frames = torch.arange(sample.shape[2], dtype=sample.dtype)[:, None, None]
        return value + torch.zeros_like(sample) + (frames if self.count_frames else 0)


def says(value: float) -> Condition:
    return Condition(Prompt(torch.full((1, 1, 1, 1), value, dtype=torch.float64)))


class OneStep:
    """A scheduler whose step returns the prediction."""

    init_noise_sigma = 1.0

    def set_timesteps(self, num_steps: int, device: object) -> None:
        self.timesteps = torch.arange(num_steps)

    def scale_model_input(self, sample: Tensor, _: Tensor) -> Tensor:
        return sample

    def step(self, prediction: Tensor, *_: object, **__: object) -> tuple[Tensor]:
        return (prediction,)


def predicted(branches, frames: int = 8, **changes: object) -> Tensor:
    unet = Denoiser(**({"count_frames": True} if "window_frames" in changes else {}))
    return denoise(unet, OneStep(), torch.zeros(1, 4, frames, 2, 2, dtype=torch.float64), branches, 1, **changes)


def test_guidance_is_the_papers_formula_on_both_scales() -> None:
    text, blank, full = 2.0, 3.0, 7.0
    got = predicted(guidance_branches(says(full), says(text), says(blank), 7.5, 1.5))
    expected = full + 6.5 * (full - text) + 0.5 * (full - blank)
    torch.testing.assert_close(got, torch.full_like(got, expected))
    assert [branch.weight for branch in guidance_branches(says(full), None, None, 7.5, 1.5)] == [1]


@pytest.mark.parametrize(("frames", "expected"), [(8, 1), (9, 2), (12, 2), (13, 3), (16, 3), (24, 5)])
def test_windows_overlap_and_cover_every_frame(frames, expected) -> None:
    parts = windows(frames, 8)
    assert len(parts) == expected
    assert parts[0][0] == 0
    assert parts[-1][1] == frames
    assert all(stop - start == 8 for start, stop in parts)
    assert all(after[0] <= before[1] - 4 for before, after in pairwise(parts))


def test_where_windows_meet_their_predictions_are_averaged_by_distance_from_their_ends() -> None:
    got = predicted(guidance_branches(says(0.0), None, None, 1, 1), frames=12, window_frames=8)[0, 0, :, 0, 0]
    # Frames 4 to 7 are the first window's 4 to 7 with weights 4, 3, 2, 1 and the second's 0 to 3 with 1, 2, 3, 4.
    middle = [(4 * 4 + 1 * 0) / 5, (3 * 5 + 2 * 1) / 5, (2 * 6 + 3 * 2) / 5, (1 * 7 + 4 * 3) / 5]
    torch.testing.assert_close(got, torch.tensor([0, 1, 2, 3, *middle, 4, 5, 6, 7], dtype=torch.float64))


def test_the_loop_is_diffusers_own_for_ddim() -> None:
    scheduler = DDIMScheduler(prediction_type="v_prediction")
    start = torch.randn(1, 4, 8, 2, 2, dtype=torch.float64)
    got = denoise(Denoiser(), scheduler, start, guidance_branches(says(0.5), None, None, 1, 1), 4)
    expected = start
    scheduler.set_timesteps(4)
    for timestep in scheduler.timesteps:
        expected = scheduler.step(torch.full_like(expected, 0.5), timestep, expected).prev_sample
    torch.testing.assert_close(got, expected)
