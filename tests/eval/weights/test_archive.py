"""Archives are written by torch.jit itself, and its own state_dict says what must be found in them."""

import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from eval.weights.bombs import Bomb
from torch import Tensor, nn

from magdiff_eval.weights.archive import is_torchscript, torchscript_tensors


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 1, bias=False)
        self.bn = nn.BatchNorm3d(4)
        self.sizes, self.factor, self.name = [1, 2, 300, 70_000], 2.5, "x"
        self.register_buffer("small", torch.randn(3).bfloat16())

    def forward(self, hidden: Tensor) -> Tensor:
        return self.bn(self.conv(hidden)) * self.factor + float(self.sizes[0])


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
        self.same = self.inner.conv
        self.register_buffer("part", torch.arange(12.0).reshape(3, 4).t()[1:])
        self.register_buffer("none", torch.empty(0, 3))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.inner(hidden) + self.part.sum()


def scripted(path: Path, *, frozen: bool = False) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(Outer().eval())
        torch.jit.save(torch.jit.freeze(module) if frozen else module, path)
    return module


def zipped(path: Path, records: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def test_tensors_are_those_of_state_dict_under_its_names(tmp_path: Path) -> None:
    wanted = scripted(tmp_path / "a.pt").state_dict()
    assert is_torchscript(tmp_path / "a.pt")
    found = torchscript_tensors(tmp_path / "a.pt")
    assert set(found) == set(wanted)
    assert {"inner.conv.weight", "same.weight", "layers.2.bias", "inner.bn.num_batches_tracked"} <= set(found)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_a_state_dict_is_no_archive(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.pt")
    assert not is_torchscript(tmp_path / "a.pt")


def test_weights_frozen_into_the_code_are_refused(tmp_path: Path) -> None:
    scripted(tmp_path / "a.pt", frozen=True)
    with pytest.raises(ValueError, match=r"a\.pt has no tensors with names: its weights were frozen into its code"):
        torchscript_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_an_archives_pickle_is_looked_at_and_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    bomb = pickle.dumps({"weight": Bomb(marker)}, protocol=protocol)
    path = zipped(tmp_path / "a.pt", {"a/data.pkl": bomb, "a/constants.pkl": bomb, "a/code/a.py": b""})
    assert is_torchscript(path)
    with pytest.raises(ValueError, match=r"a\.pt"):
        torchscript_tensors(path)
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()  # the pickle would have run


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    scripted(path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    storage = max((name for name in records if "/data/" in name), key=lambda name: len(records[name]))
    for name, content in ((storage, records[storage][:-4]), ("a/data.pkl", records["a/data.pkl"][:-1])):
        with pytest.raises(ValueError, match=r"a\.pt cannot be read as a TorchScript archive"):
            torchscript_tensors(zipped(path, records | {name: content}))
    del records[storage]
    with pytest.raises(ValueError, match=r"KeyError.*get it again"):
        torchscript_tensors(zipped(path, records))


def test_a_tensor_larger_than_its_storage_is_refused_even_where_the_storage_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    scripted(path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    told = records["a/data.pkl"]
    assert told.count(b"(K\x00K\x03t") == 1  # the size of the buffer "none"
    records["a/data.pkl"] = told.replace(b"(K\x00K\x03t", b"(K\x05K\x03t")
    with pytest.raises(ValueError, match=r"a\.pt cannot be read .*out of bounds for storage of size 0"):
        torchscript_tensors(zipped(path, records))


def test_objects_within_objects_without_end_are_refused(tmp_path: Path) -> None:
    """Twenty objects, each of which has the next one twice: a million to walk through."""
    content = b"\x80\x02"
    for level in range(20):
        content += b"c__torch__\nA\n)\x81}(X\x01\x00\x00\x00a" + (b"N" if level == 0 else b"h" + bytes([level - 1]))
        content += b"X\x01\x00\x00\x00b" + (b"N" if level == 0 else b"h" + bytes([level - 1]))
        content += b"ubq" + bytes([level])
    path = zipped(tmp_path / "a.pt", {"a/data.pkl": content + b".", "a/constants.pkl": b""})
    with pytest.raises(ValueError, match="more than 20000 objects"):
        torchscript_tensors(path)
