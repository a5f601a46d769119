"""Each baseline makes videos from its toy checkpoint; what it is shown, and what not, is seen in the videos."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval.baselines.conftest import request_of, source
from eval.baselines.tiny import FAST

from magdiff_eval.baselines import BASELINES, Maker, Request, load_baseline
from magdiff_eval.baselines.load import thinned

SHAPES = {
    "animatediff-ip-adapter": (2, 16, 16, 3),
    "i2vgen-xl": (2, 16, 32, 3),
    "stable-video-diffusion": (2, 16, 32, 3),
    "instruct-pix2pix": (2, 64, 64, 3),
    "modelscope-t2v": (2, 16, 16, 3),
}
Making = Callable[[str], Maker]
every = pytest.mark.parametrize("name", SHAPES)


def test_the_registry_holds_the_five_baselines() -> None:
    assert set(BASELINES) == set(SHAPES) == set(FAST)


@every
def test_a_video_has_the_wanted_frames_in_the_size_of_the_baseline(maker: Making, name: str) -> None:
    video = maker(name).make(request_of(name))
    assert (video.shape, video.dtype) == (SHAPES[name], np.uint8)
    assert video.std() > 5
    assert not np.array_equal(video[0], video[1])


@every
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(maker: Making, name: str) -> None:
    torch.manual_seed(98)
    first = maker(name).make(request_of(name))
    torch.manual_seed(99)  # what else draws noise in the process does not matter
    assert np.array_equal(maker(name).make(request_of(name)), first)
    assert not np.array_equal(maker(name).make(request_of(name, seed=1)), first)


@every
def test_noise_that_others_draw_is_left_as_it_was(maker: Making, name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    maker(name).make(request_of(name))
    assert torch.equal(torch.rand(3), expected)


@every
def test_the_image_changes_the_video_unless_the_baseline_knows_text_alone(maker: Making, name: str) -> None:
    same = np.array_equal(maker(name).make(request_of(name)), maker(name).make(request_of(name, image=1)))
    assert same == (name == "modelscope-t2v")


@every
def test_the_prompt_changes_the_video_unless_the_baseline_knows_images_alone(maker: Making, name: str) -> None:
    same = np.array_equal(maker(name).make(request_of(name)), maker(name).make(request_of(name, prompt="a dog runs")))
    assert same == (name == "stable-video-diffusion")


@pytest.mark.parametrize("name", ["i2vgen-xl", "instruct-pix2pix"])
def test_masks_change_nothing(maker: Making, name: str) -> None:
    request = request_of(name)
    masked = Request(
        prompt=request.prompt,
        frames=request.frames,
        masks=np.zeros(request.frames.shape[:3], bool),
        num_frames=request.num_frames,
        seed=request.seed,
    )
    assert np.array_equal(maker(name).make(masked), maker(name).make(request))


def test_every_frame_is_edited_by_itself_with_the_same_noise(maker: Making) -> None:
    made = maker("instruct-pix2pix")
    frame = source(3, 1)
    request = Request(prompt="make it blue", frames=frame.repeat(2, axis=0), masks=None, num_frames=2, seed=4)
    video = made.make(request)
    assert np.array_equal(video[0], video[1])
    alone = made.make(Request(prompt="make it blue", frames=frame, masks=None, num_frames=1, seed=4))
    assert np.array_equal(alone[0], video[0])


def test_frames_are_thinned_evenly_over_the_whole_video(maker: Making) -> None:
    assert thinned(16, 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert thinned(25, 8).tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert thinned(14, 14).tolist() == list(range(14))
    request = request_of("modelscope-t2v")
    whole = maker("modelscope-t2v").make(
        Request(prompt=request.prompt, frames=request.frames, masks=None, num_frames=4, seed=0)
    )
    assert np.array_equal(maker("modelscope-t2v").make(request), whole[[0, 2]])


@pytest.mark.parametrize(
    ("name", "shown", "wanted", "told"),
    [
        ("i2vgen-xl", 1, 5, "makes 4 frames and 5 are wanted: ask for fewer, or load it with num_frames=5"),
        ("i2vgen-xl", 2, 2, "only generates: give it 1 source frame, not 2"),
        ("instruct-pix2pix", 1, 2, "edits every frame: give 2 source frames, not 1"),
    ],
)
def test_what_a_baseline_cannot_do_is_refused(maker: Making, name: str, shown: int, wanted: int, told: str) -> None:
    request = Request(prompt="a", frames=source(0, shown), masks=None, num_frames=wanted, seed=0)
    with pytest.raises(ValueError, match=told):
        maker(name).make(request)


@every
def test_bf16_is_stamped_and_leaves_solver_and_noise_in_fp32(
    weights: Path, maker: Making, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = load_baseline(name, weights, device="cpu", precision="bf16", **FAST[name])
    assert (maker(name).stamp["precision"], coarse.stamp["precision"]) == ("fp32", "bf16")
    solver = type(coarse._pipeline.scheduler)  # type: ignore[attr-defined]
    step, seen = solver.step, []

    def watched(self: Any, output: Any, timestep: Any, sample: Any, *rest: Any, **named: Any) -> Any:
        seen.append(sample.dtype)
        return step(self, output, timestep, sample, *rest, **named)

    # The pipelines read the step's signature to see what it takes.
    watched.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]
    monkeypatch.setattr(solver, "step", watched)
    video = coarse.make(request_of(name))
    assert set(seen) == {torch.float32}
    exact = maker(name).make(request_of(name))
    assert not np.array_equal(video, exact)
    assert np.abs(video.astype(int) - exact.astype(int)).mean() < 12
