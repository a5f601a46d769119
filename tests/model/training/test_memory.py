"""What training is estimated to take, against what a process takes, and against counts by hand."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from magdiff_model.alignments import choose_trainable
from magdiff_model.training.memory import MemoryEstimate, estimate
from magdiff_model.training.settings import OptimizerSettings, TrainSettings

BENCH = Path(__file__).parents[3] / "bench/memory.py"
SMALL = TrainSettings(shards=(), precision="fp32", batch_size=4)


@pytest.fixture(scope="module")
def bench() -> dict:
    return runpy.run_path(str(BENCH))


@pytest.fixture(scope="module")
def pipeline(bench):
    return bench["build"]({}, SMALL)


@pytest.fixture(scope="module")
def plain(pipeline) -> MemoryEstimate:
    return estimate(pipeline, SMALL, "cpu")


def with_settings(**chosen) -> TrainSettings:
    return dataclasses.replace(SMALL, **chosen)


def test_the_estimate_is_within_15_percent_of_what_a_process_takes(bench) -> None:
    command = [sys.executable, str(BENCH), "--case", "zoo, 2 clips"]
    environment = {**os.environ, **bench["RETURN_MEMORY"]}
    found = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found["measured"] > 100e6
    assert found["estimated"] / found["measured"] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("trainable", ["transformers", "all"])
def test_parameters_gradients_and_moments_are_exact(bench, trainable) -> None:
    pipeline = bench["build"]({}, SMALL)
    found = estimate(pipeline, with_settings(optimizer=OptimizerSettings(trainable=trainable, ema_decay=0.9)), "cpu")
    trained = 4 * sum(value.numel() for value in choose_trainable(pipeline.unet, trainable).everything())
    assert found.parameters == 4 * sum(value.numel() for value in pipeline.unet.parameters())
    assert found.gradients == found.moving_average == trained
    assert found.moments == 2 * trained
    frozen = (pipeline.vae, pipeline.text_encoder, pipeline.image_encoder)
    assert found.encoders == 4 * sum(value.numel() for part in frozen for value in part.parameters())


def test_a_peak_holds_what_stays_and_what_comes_and_goes(pipeline, plain) -> None:
    found = plain
    staying = found.parameters + found.encoders + found.moments + found.inputs
    assert found.peak == found.phases["training"]
    # Alone, gradients grow while activations are let go: together they are less than the sum of both.
    assert staying + found.activations <= found.peak <= staying + found.activations + found.gradients
    # The roots of the largest parameter's second moments, twice.
    largest = 4 * max(value.numel() for value in pipeline.unet.parameters() if value.requires_grad)
    assert found.phases["updating"] <= staying + found.gradients + 2 * largest


def test_ranks_and_earlier_micro_batches_have_their_gradients_before_the_backward_pass(pipeline, plain) -> None:
    others = (
        estimate(pipeline, with_settings(batch_size=8), "cpu", 2),
        estimate(pipeline, with_settings(batch_size=8, accumulate=2), "cpu"),
    )
    for found in others:
        assert found.gradients == plain.gradients
        assert found.phases["training"] > plain.phases["training"]
        rest = found.parameters + found.encoders + found.moments + found.inputs
        assert found.phases["training"] == rest + found.gradients + found.activations


def test_checkpointing_and_smaller_micro_batches_take_less(pipeline, plain) -> None:
    checkpointed = estimate(pipeline, with_settings(gradient_checkpointing=True), "cpu")
    halved = estimate(pipeline, with_settings(accumulate=2), "cpu")
    assert checkpointed.activations < 0.5 * plain.activations
    assert halved.activations < 0.55 * plain.activations
    assert max(checkpointed.peak, halved.peak) < 0.6 * plain.peak


def test_sharding_leaves_each_rank_a_part(pipeline) -> None:
    settings = with_settings(batch_size=16)
    whole, sharded = (
        estimate(pipeline, dataclasses.replace(settings, sharding=kind), "cpu", 4) for kind in ("none", "full")
    )
    for name in ("parameters", "gradients", "moments"):
        # First dimensions that four do not divide are padded.
        assert getattr(whole, name) / 4 <= getattr(sharded, name) < 1.01 * getattr(whole, name) / 4
    assert whole.gathered == 0 < sharded.gathered < whole.parameters + whole.gradients
    assert whole.activations == sharded.activations


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_half_precision_halves_some_of_the_activations(pipeline, plain, device) -> None:
    half = estimate(pipeline, with_settings(precision="bf16"), device)
    assert half.parameters == plain.parameters
    # On a GPU normalisations stay in fp32.
    assert 0.5 * plain.activations < half.activations < {"cpu": 0.75, "cuda": 0.95}[device] * plain.activations


def test_half_encoders_are_half_as_large_on_a_gpu(pipeline, plain) -> None:
    settings = with_settings(precision="bf16", half_encoders=True)
    assert estimate(pipeline, settings, "cuda").encoders == plain.encoders / 2
    assert estimate(pipeline, settings, "cpu").encoders == plain.encoders


def test_nothing_is_left_behind_in_the_pipeline(bench) -> None:
    pipeline = bench["build"]({}, SMALL)
    before = {name: (id(value), value.requires_grad) for name, value in pipeline.unet.named_parameters()}
    estimate(pipeline, with_settings(gradient_checkpointing=True), "cuda")
    assert {name: (id(value), value.requires_grad) for name, value in pipeline.unet.named_parameters()} == before
    assert all(value.grad is None for value in pipeline.unet.parameters())
    assert not pipeline.unet.is_gradient_checkpointing
    assert functional.group_norm(torch.ones(1, 2, 3), 1).isfinite().all()


def test_a_description_says_whether_it_fits() -> None:
    sizes = dict.fromkeys((field.name for field in dataclasses.fields(MemoryEstimate)), 0)
    found = MemoryEstimate(**{**sizes, "parameters": 10**10, "phases": {"training": 2 * 10**10}})
    fits, not_so = found.describe("cuda", 24 * 10**9), found.describe("cuda", 22 * 10**9)
    assert "parameters                10.00 GB" in fits
    assert "moments" not in fits
    assert fits.endswith("22.5 GB with gaps and libraries fit in 24.0 GB")
    assert "do not fit in 22.0 GB" in not_so
    assert "--gradient-checkpointing" in not_so


@pytest.mark.slow
def test_the_papers_size_fits_its_cards_with_checkpointing_only(bench) -> None:
    began = time.monotonic()
    paper = TrainSettings(shards=(), precision="fp16", half_encoders=True)
    pipeline = bench["full_size"]()
    plain = estimate(pipeline, paper, "cuda", 8)
    checkpointed = estimate(pipeline, dataclasses.replace(paper, gradient_checkpointing=True), "cuda", 8)
    assert time.monotonic() - began < 120
    assert plain.parameters == checkpointed.parameters == pytest.approx(4.84e9, rel=0.01)
    assert "do not fit" in plain.describe("cuda", 32 * 2**30)
    assert "do not fit" not in checkpointed.describe("cuda", 32 * 2**30)
