"""Files of weights: which of a folder's are read, and what they hold.

Weights are safetensors where there are any; else PyTorch's files, read with `weights_only`, so that no file can run
code. Both are memory-mapped: a tensor is read when it is copied.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from magdiff_model.convert.source import read_json

DIFFUSERS_STEM = "diffusion_pytorch_model"
"""How diffusers names the file of a UNet or a VAE; transformers' is "model"."""


def weight_files(folder: Path, variant: str | None = None, stem: str = DIFFUSERS_STEM) -> list[Path]:
    """Return the files that hold a part's weights: safetensors before PyTorch's, one before several.

    Raises:
        ValueError: there are none.
    """
    dot = f".{variant}" if variant else ""
    names = {"safetensors": stem, "bin": "pytorch_model" if stem == "model" else stem}
    for suffix, name in names.items():
        if (single := folder / f"{name}{dot}.{suffix}").is_file():
            return [single]
        if (index := folder / f"{name}.{suffix}.index{dot}.json").is_file():
            return _files_in(index)
    others = sorted(path.name for path in folder.glob("*") if path.suffix in (".safetensors", ".bin"))
    wanted = " and no ".join(f"{name}{dot}.{suffix}" for suffix, name in names.items())
    raise ValueError(f"{folder} has no {wanted}; {_advice(set(names.values()), others, variant)}")


def _files_in(index: Path) -> list[Path]:
    """Return the files that an index of weights lists."""
    listed = read_json(index).get("weight_map")
    files = list(listed.values()) if isinstance(listed, dict) else []
    if not files or not all(isinstance(file, str) for file in files):
        raise ValueError(f"{index} lists no files under weight_map; get the checkpoint again")
    paths = [index.parent / file for file in sorted(set(files))]
    if away := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"{index} lists {', '.join(away)}, not there; get the checkpoint again")
    return paths


def _advice(stems: set[str], others: list[str], variant: str | None) -> str:
    """Return what to do about a folder that has other weights files than those looked for."""
    whole = [re.sub(r"-\d+-of-\d+", "", name).split(".") for name in others]
    named = [parts for parts in whole if parts[0] in stems]
    has = f"it has {', '.join(others) or 'no weights'}"
    if variant and any(len(parts) == 2 for parts in named):
        return f"{has}: leave out --variant, which goes for every part"
    if variants := sorted({parts[1] for parts in named if len(parts) == 3}):
        return f"{has}: choose by --variant, such as --variant {variants[0]}"
    if any("-of-" in name for name in others):
        return f"{has}, but not the index that lists them; get the checkpoint again"
    return f"{has}; get the checkpoint again"


def read_tensors(files: list[Path]) -> dict[str, Tensor]:
    """Return the tensors of weights files by name.

    Raises:
        ValueError: a file is broken, or holds other things than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for file in files:
        content = read_file(file)
        other = [name for name, value in content.items() if not isinstance(value, Tensor)]
        if other:
            raise ValueError(f"{file} holds other things than tensors: {', '.join(other[:5])}")
        tensors.update(content)
    return tensors


def read_file(file: Path) -> dict[str, Any]:
    """Return what one .safetensors, .bin, .pth or .pt file holds.

    Raises:
        ValueError: it cannot be read, or not without running its code.
    """
    try:
        _check_start(file)
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        content = _load_torch(file)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds Python objects beside its weights, and reading those can run code ({_reason(error)}); "
            "save its tensors alone, in a place that may run its code: torch.save({'state_dict': "
            "torch.load(file, weights_only=False)['state_dict']}, new_file)"
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(f"cannot read {file} ({_line(error)}); get it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no table of weights by name, but a {type(content).__name__}")
    return content


def _check_start(file: Path) -> None:
    """Raise OSError where the first bytes show that a file holds no weights: a page of a website, or git-lfs's note."""
    with file.open("rb") as opened:
        start = opened.read(32)
    if start.startswith(b"version https://git-lfs"):
        raise OSError("git-lfs's note in place of the file; git lfs pull in its folder gets it")
    if file.suffix != ".safetensors" and not start.startswith((b"PK", b"\x80")):  # a zip file, or a pickle
        raise OSError(f"no file of PyTorch's: it begins with {start!r}")


def _load_torch(file: Path) -> Any:
    mapped = zipfile.is_zipfile(file)  # not so before PyTorch 1.6
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def _reason(error: pickle.UnpicklingError) -> str:
    """Return what was found, without PyTorch's advice to read it all the same."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f"it names {found[1]}" if found else "it is none that PyTorch's safe reader knows"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
