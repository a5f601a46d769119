"""Tensors without memory: a module's, operators that keep on them what a device would, and a count of what is alive.

Shapes and types are those of a real step, so full size takes seconds and less than 1 GB. For a GPU, tensors are still
fake ones on the CPU, since autograd runs for no GPU that is not there, and operators that keep other things on a GPU
are replaced (`AsOnCuda`). torch's own `MemTracker` counts as `Live` does, but is private and hooks itself into modules.

Not counted: what kernels take and give back by themselves (workspaces, repacked weights) and gaps between tensors.
"""

from __future__ import annotations

import copy
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class Live(TorchDispatchMode):
    """Adds up the storages that operators have made and that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._alive: dict[int, weakref.ref[Any]] = {}
        self.now = self._aside = self.peak = self.peak_beside = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [value for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)]
        if given and not any(isinstance(value, FakeTensor) for value in given):
            with unset_fake_temporarily():  # which slots are filled is known, and asked for
                return func(*args, **(kwargs or {}))
        made = func(*args, **(kwargs or {}))
        old = {id(value.untyped_storage()) for value in given}
        for value in tree_iter(made):
            if isinstance(value, Tensor) and id(value.untyped_storage()) not in old:
                self._count(value.untyped_storage())
        return made

    def set_aside(self, parameter: Tensor) -> None:
        """Leave a parameter's gradient, which is complete now, out of `peak_beside`."""
        self._aside += size_of(parameter.grad)

    def _count(self, storage: Any) -> None:
        place, size = id(storage), storage.nbytes()
        if place in self._alive:
            return

        def forget(_: object) -> None:
            del self._alive[place]
            self.now -= size

        self._alive[place] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)
        self.peak_beside = max(self.peak_beside, self.now - self._aside)


class AsOnCuda(TorchFunctionMode):
    """Has operators make and keep what they do on a GPU.

    Attention there is a fused kernel: the memory-efficient one, which every GPU has; the flash kernel keeps the same
    but for padding. Under autocast, normalisations take and give fp32. Dropout keeps a mask of bytes.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return _efficient_attention(*args, **kwargs)
        if func in (functional.layer_norm, functional.group_norm) and torch.is_autocast_enabled("cpu"):
            return func(args[0].float(), *args[1:], **kwargs)
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


def operators(device_type: str) -> AbstractContextManager[Any]:
    """Return the context in which operators keep what they do on a device, "cuda" or "cpu"."""
    return AsOnCuda() if device_type == "cuda" else nullcontext()


def forward_and_again(device_type: str) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the forward pass of what is checkpointed, and of its second one."""
    return nullcontext(), operators(device_type)  # the forward pass has them already


def without_memory(mode: FakeTensorMode, module: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Return a copy whose parameters and buffers have no memory, in another type if one is given."""
    copies: dict[int, Any] = {}
    with mode:
        for tensor in (*module.parameters(), *module.buffers()):
            fake = torch.empty_like(tensor, device="cpu", dtype=dtype if tensor.is_floating_point() else None)
            is_parameter = isinstance(tensor, nn.Parameter)
            copies[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
    return copy.deepcopy(module, copies)


def size_of(tree: object) -> int:
    """Return the bytes of all tensors in a tree of lists, tuples and dicts."""
    return sum(value.nbytes for value in tree_iter(tree) if isinstance(value, Tensor))


def _efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: object,
) -> Tensor:
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (query, key, value))
    bias = None
    if attn_mask is not None:
        bias = torch.empty_like(attn_mask, dtype=query.dtype).expand(*query.shape[:-1], key.shape[-2])
    backward = any(tensor.requires_grad for tensor in (query, key, value))
    attention = torch.ops.aten._scaled_dot_product_efficient_attention
    attended: Tensor = attention(query, key, value, bias, backward, dropout_p, is_causal, scale=scale)[0]
    return attended


def _dropout(features: Tensor, p: float = 0.5, training: bool = True, **_: object) -> Tensor:
    dropped: Tensor = torch.native_dropout(features, p, training)[0] if training and p else features
    return dropped
