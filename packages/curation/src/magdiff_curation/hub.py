"""Checkpoints in the Hugging Face hub's layout: one way to load them, name them, and say what is wrong with them.

A model is a hub id or a folder. Only safetensors are read, so that no file can run code, and a checkpoint that leaves
any weight at its random start is refused: transformers only warns of that. A name holds what identifies the weights,
the commit for a hub id and a digest for a folder; the digest reads every byte, about a second per gigabyte.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from safetensors import SafetensorError

from magdiff_curation.digests import DIGEST_DIGITS
from magdiff_curation.models import EVERY_NODE, content_name

DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_ASK_SECONDS = 10.0

_Model = TypeVar("_Model")


def pick_device(device: str) -> torch.device:
    """Return the device of that name; "auto" is the GPU where there is one.

    Raises:
        ValueError: no such device on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; give cpu, cuda or auto") from error
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch finds no GPU here; give cpu or auto")
    return picked


def pick_dtype(dtype: str) -> torch.dtype:
    """Return torch's dtype of that name.

    Raises:
        ValueError: not one of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; give one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def model_name(model: str, revision: str | None) -> str:
    """Return the model's name for provenance: "id@commit", or "folder@digest" for a local folder or weights file.

    Call it once the model is loaded: the commit is that of the files in the hub's cache. The digest covers
    every file.
    """
    if local := content_name(model):
        return local
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    if isinstance(cached, str):
        return f"{model}@{Path(cached).parent.name[:DIGEST_DIGITS]}"
    return f"{model}@{revision or 'main'}"


def check_there(model: str, revision: str | None) -> None:
    """Look, without loading it, whether a model is a folder here, in the hub's cache, or on the hub.

    transformers itself finds out too, but only after minutes of retries where there is no network.

    Raises:
        ValueError: it is nowhere.
    """
    if Path(model).is_dir():
        return
    if model.count("/") != 1 or model.startswith((".", "/")):
        raise ValueError(f"there is no folder {model!r} on node {socket.gethostname()}: {EVERY_NODE}")
    if isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
        return
    try:
        HfApi().model_info(model, revision=revision, timeout=_ASK_SECONDS)
    except Exception as error:  # the hub's client lets through its HTTP library's errors, and changes that library
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"model {model!r} is not in the hub's cache here, and the hub does not give it ({reason}); "
            f"where there is a network: hf download {model}; or give a folder in the hub's layout"
        ) from error


@contextmanager
def loading(model: str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong while `model` is loaded inside the block into a ValueError that ends in `remedy`."""
    try:
        yield
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:400]
        raise ValueError(f"model {model!r} cannot be loaded ({reason}); {remedy}") from error


def load_pretrained(
    model_class: type[_Model], model: str, *, revision: str | None, dtype: str, device: str, **options: Any
) -> _Model:
    """Return a transformers model, frozen and in evaluation mode, on its device; call it inside `loading`.

    `options` go to `from_pretrained`; with a `device_map` among them, the model is where that says.

    Raises:
        ValueError: an unknown dtype or device, or weights are missing from the checkpoint or do not fit.
        OSError: no such checkpoint, or it has no safetensors.
    """
    picked = pick_device(device)
    from_pretrained: Any = model_class.from_pretrained  # type: ignore[attr-defined]
    loaded, report = from_pretrained(
        model,
        revision=revision,
        dtype=pick_dtype(dtype),
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or of another shape, the first {missing[0]}")
    placed: _Model = loaded if "device_map" in options else loaded.to(picked)
    return placed.eval().requires_grad_(False)  # type: ignore[attr-defined,no-any-return]
