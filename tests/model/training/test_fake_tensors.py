"""What is alive is counted once, and operators keep what a GPU keeps: against counts by hand."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from magdiff_model.training.fake_tensors import AsOnCuda, Live


def test_what_is_alive_is_counted_once() -> None:
    with FakeTensorMode():
        given = torch.empty(1000)  # not made by a counted operator
        with Live() as live:
            made = given + 1
            view = made.view(10, 100)
            given.add_(view.view(-1))
            assert live.peak == 4000
            del made
            more = view + 1
            assert live.peak == 8000
            del view, more
            kept = given.double()
            assert live.peak == 8000
            del kept
            assert live.now == 0


def test_operators_keep_what_a_gpu_keeps() -> None:
    with FakeTensorMode(), AsOnCuda():
        query = torch.empty(2, 4, 256, 64, requires_grad=True)
        with torch.autocast("cpu", torch.float16):
            assert functional.group_norm(query.half(), 2).dtype == torch.float32
            assert functional.layer_norm(query.half(), (64,)).dtype == torch.float32
            attended = functional.scaled_dot_product_attention(query, query, query)
        assert (attended.dtype, attended.shape) == (torch.float16, query.shape)
        with Live() as live:
            functional.scaled_dot_product_attention(
                query, query, query, attn_mask=torch.empty(256, 256)
            ).sum().backward()
        # The output, one number a query, and gradients of three: no 256 x 256 scores.
        assert live.peak < 2 * 4 * 256 * 4 * (64 * 5 + 8)
        with Live() as live:
            kept = functional.dropout(query, 0.1)
            assert live.now == query.numel() * (4 + 1)
            assert kept.shape == query.shape
