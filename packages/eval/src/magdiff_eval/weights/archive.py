"""Tensors of a TorchScript archive, read without running it.

`torch.jit.load` runs what an archive brings: its code is compiled, and a class in it can ask for code to be run while
it is loaded. Here the pickle that lists the tensors is only looked at, opcode by opcode (`pickletools.genops`), and
becomes plain Python values: a name stays a name, nothing is imported or called. Tensors are then cut out of the
storages that the archive keeps beside it. Weights that were frozen into the code as constants have lost their names,
and are refused.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
)
"""What readers raise at a damaged file: which of these it is depends on the byte that is wrong."""
_MAX_OBJECTS, _MAX_DEPTH = 20_000, 40
"""An archive can refer to one object again and again; no network comes near these."""
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MARK = object()


@dataclass(frozen=True)
class _Global:
    """The name of something that is never imported."""

    name: str


@dataclass
class _Call:
    """What would have been made: of what, from what, with which state."""

    of: Any
    arguments: Any
    state: Any = field(default=None)


@dataclass(frozen=True)
class _Stored:
    """A reference to a storage: ("storage", type, key, device, numel)."""

    reference: Any


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive: a zip with code in it.

    Raises:
        Exception: one of `DAMAGE`, where it is a damaged zip.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """Return every named tensor of an archive, as `torch.jit.load(path).state_dict()` would name it.

    Raises:
        ValueError: it is damaged, of a layout that is not known, or has no tensors with names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError("it has no data.pkl: saved by a PyTorch before 1.4")
            prefix = pickles[0].removesuffix("data.pkl")
            named = _named_tensors(_inert(archive.read(pickles[0])))
            tensors = {name: _tensor(call, archive, prefix) for name, call in named.items()}
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ValueError(f"{path} cannot be read as a TorchScript archive ({reason}): get it again") from error
    if not tensors:
        raise ValueError(f"{path} has no tensors with names: its weights were frozen into its code as constants")
    return tensors


def _inert(content: bytes) -> Any:
    """Return what a pickle describes, with `_Global`, `_Call` and `_Stored` in the place of what it would make."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def to_mark() -> list[Any]:
        place = len(stack) - 1 - stack[::-1].index(_MARK)
        above = stack[place + 1 :]
        del stack[place:]
        return above

    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                stack.append(_MARK)
            case "GLOBAL":
                stack.append(_Global(argument))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINSTRING":
                stack.append(argument)
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[opcode.name])
            case "TUPLE":
                stack.append(tuple(to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND" | "APPENDS":
                added = to_mark() if opcode.name == "APPENDS" else [stack.pop()]
                stack[-1].extend(added)
            case "SETITEM" | "SETITEMS":
                pairs = to_mark() if opcode.name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
                stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_Call(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case "BINPERSID":
                stack.append(_Stored(stack.pop()))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case _:
                raise ValueError(f"its data.pkl has the opcode {opcode.name}, which no TorchScript archive needs")
    raise ValueError("its data.pkl does not end")


def _named_tensors(root: Any) -> dict[str, _Call]:
    """Return every tensor below an object, under the names of the attributes that lead to it."""
    found: dict[str, _Call] = {}
    waiting, num_seen = [(root, "", 0)], 0
    while waiting:
        value, name, depth = waiting.pop()
        num_seen += 1
        if depth > _MAX_DEPTH or num_seen > _MAX_OBJECTS:
            raise ValueError(f"it has more than {_MAX_OBJECTS} objects or {_MAX_DEPTH} levels")
        if not isinstance(value, _Call):
            continue
        if isinstance(value.of, _Global) and value.of.name == "torch._utils _rebuild_tensor_v2":
            found[name] = value
        elif isinstance(value.state, dict):
            below = [(each, f"{name}.{key}" if name else str(key), depth + 1) for key, each in value.state.items()]
            waiting += reversed(below)
    return found


def _tensor(call: _Call, archive: zipfile.ZipFile, prefix: str) -> Tensor:
    """Return the tensor that a call of torch._utils._rebuild_tensor_v2 describes."""
    stored, offset, size, stride = call.arguments[:4]
    _, kind, key, _, numel = stored.reference
    dtype = _STORAGES.get(kind.name.removeprefix("torch "))
    if dtype is None:
        raise ValueError(f"it has a storage of type {kind.name}")
    content = archive.read(f"{prefix}data/{key}")
    if len(content) != numel * dtype.itemsize:
        raise ValueError(f"storage {key} has {len(content)} bytes, not {numel * dtype.itemsize}")
    values = torch.frombuffer(bytearray(content), dtype=dtype) if numel else torch.empty(0, dtype=dtype)
    return values.as_strided(size, stride, offset).clone()
