import io
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from eval.weights.bombs import Bomb
from safetensors.torch import save_file
from torch import nn

from magdiff_eval.weights.files import fill, read_arrays, read_tensors


def test_every_format_gives_back_what_was_written(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(2, 3), "b": torch.arange(4)}
    torch.save(tensors, tmp_path / "a.pt")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "b.pt")
    torch.save(tensors, tmp_path / "c.pt", _use_new_zipfile_serialization=False)  # as PyTorch before 1.6 did
    save_file(tensors, tmp_path / "d.safetensors")
    np.savez(tmp_path / "e.npz", **{name: value.numpy() for name, value in tensors.items()})
    formats = {"a.pt": "state dict", "b.pt": "state dict", "c.pt": "state dict"}
    for name, kind in (formats | {"d.safetensors": "safetensors", "e.npz": "chainer npz"}).items():
        found, told = read_tensors(tmp_path / name)
        assert told == kind
        assert set(found) == set(tensors)
        assert all(torch.equal(found[key], value) for key, value in tensors.items())


def test_pickles_with_code_are_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = {"weight": Bomb(marker)}
    torch.save(content, tmp_path / "zip.pt")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content))
    for name in ("zip.pt", "old.pt", "plain.pt"):
        with pytest.raises(ValueError, match=rf"{name} is no state dict, or is damaged, or asks for more than tensors"):
            read_tensors(tmp_path / name)
    np.savez(tmp_path / "objects.npz", mean=np.array([Bomb(marker)], dtype=object))
    with pytest.raises(ValueError, match=r"objects\.npz cannot be read \(ValueError: Object arrays cannot be loaded"):
        read_arrays(tmp_path / "objects.npz")
    assert not marker.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("name", ["a.pt", "a.npz", "a.safetensors"])
def test_truncated_and_empty_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.pt":
        torch.save({"weight": torch.zeros(5000)}, path)
    elif name == "a.npz":
        np.savez(path, weight=np.zeros(5000))
    else:
        save_file({"weight": torch.zeros(5000)}, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} .*get it again"):
            read_tensors(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["zip.pt", "old.pt", "script.pt", "plain.npz", "compressed.npz", "a.safetensors"])
def test_whatever_byte_is_wrong_a_file_is_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    path, tensors, chance = tmp_path / name, {"weight": torch.arange(12.0).reshape(4, 3)}, random.Random(0)
    if name == "script.pt":
        torch.jit.save(torch.jit.script(nn.Linear(3, 4)), path)
    elif name.endswith(".pt"):
        torch.save(tensors, path, _use_new_zipfile_serialization=name == "zip.pt")
    elif name == "a.safetensors":
        save_file(tensors, path)
    else:
        save = np.savez_compressed if name == "compressed.npz" else np.savez  # Chainer compresses
        save(path, weight=tensors["weight"].numpy())
    whole, refused = path.read_bytes(), 0
    for trial in range(150):
        content = bytearray(whole[: chance.randrange(len(whole))] if trial % 3 == 0 else whole)
        for _ in range(0 if trial % 3 == 0 else chance.choice([1, 20])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            read_tensors(path)
        except ValueError as error:
            assert name in str(error)
            assert "get it again" in str(error) or "no tensors with names" in str(error)
            refused += 1
    assert refused >= 50  # a third is cut short


def test_damaged_headers_and_what_is_no_array_of_numbers_are_refused(tmp_path: Path) -> None:
    """In files of some size the header is read before the checksum tells that it is wrong."""
    written, path = io.BytesIO(), tmp_path / "a.npz"
    np.save(written, np.zeros((4, 3), np.float32))
    whole = written.getvalue()
    for old, new, told in (
        (b"(4, 3)", b"(4, 3 ", r"a\.npz cannot be read \(TokenError"),
        (b"\x93NUMPY", b"\x93NUMPX", r"a\.npz: weight is no array, but 176 bytes"),
        (b"<f4", b"<U1", r"a\.npz cannot be read \(TypeError: can't convert np\.ndarray of type numpy\.str_"),
    ):
        assert whole.count(old) == 1
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weight.npy", whole.replace(old, new))
        with pytest.raises(ValueError, match=told):
            read_tensors(path)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    for content, kind in (([torch.zeros(2)], "list"), ({0: torch.zeros(2)}, "dict")):
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(ValueError, match=rf"a\.pt holds a {kind}, not a state dict of named tensors"):
            read_tensors(tmp_path / "a.pt")


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False))


def test_filling_copies_as_float32_and_tells_what_it_left_out() -> None:
    tensors = {
        "0.weight": torch.arange(6.0).reshape(3, 2).half(),
        "0.bias": torch.ones(3),
        "1.weight": torch.ones(1, 3),
    }
    network = small()
    known = set(tensors)
    notes = fill(network, tensors | {"pre": torch.zeros(1)}, Path("a.pt"), lambda name: name if name in known else None)
    assert notes == ("1 tensors that are no part of the network were left out",)
    assert network(torch.tensor([[1.0, 2.0]])).tolist() == [[(0 + 2 + 1) + (2 + 6 + 1) + (4 + 10 + 1)]]
    assert network[0].weight.dtype == torch.float32


def test_missing_misshapen_and_infinite_tensors_are_refused_by_name() -> None:
    tensors = {"0.weight": torch.zeros(3, 2), "0.bias": torch.ones(3), "1.weight": torch.ones(1, 3)}
    keep = {name: name for name in tensors}.get
    less = {name: value for name, value in tensors.items() if name != "0.bias"}
    with pytest.raises(
        ValueError, match=r"a\.pt does not have 1 of the 3 tensors of Sequential, the first 0\.bias; 0 of"
    ):
        fill(small(), less, Path("a.pt"), keep)
    with pytest.raises(ValueError, match=r"1\.weight has shape \[1, 4\], and 1\.weight is \[1, 3\]: this is another"):
        fill(small(), tensors | {"1.weight": torch.ones(1, 4)}, Path("a.pt"), keep)
    with pytest.raises(ValueError, match=r"0\.bias has values that are not finite"):
        fill(small(), tensors | {"0.bias": torch.full((3,), torch.nan)}, Path("a.pt"), keep)
    with pytest.raises(ValueError, match=r"not known, such as x0\.weight, x0\.bias, x1\.weight"):
        fill(small(), {f"x{name}": value for name, value in tensors.items()}, Path("a.pt"), keep)
