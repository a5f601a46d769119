"""Weights files are written on the spot, from networks with random weights, and must come back as they were."""

import hashlib
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eval.models.filling import fill
from eval.weights.bombs import Bomb

from magdiff_eval.models.c3d import C3D
from magdiff_eval.models.i3d import InceptionI3d
from magdiff_eval.weights import hub_folder, load_c3d, load_i3d, stamp_of
from magdiff_eval.weights.registry import METRICS, Choice

I3D_FILES = ("i3d_pretrained_400.pt", "i3d_torchscript.pt", "i3d_rgb_imagenet.pt")


@pytest.fixture(scope="module")
def network() -> InceptionI3d:
    made = InceptionI3d()
    fill(made, 21)
    return made


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    return torch.rand(1, 3, 9, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def logits(network: InceptionI3d, video: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(video)


@pytest.fixture(scope="module")
def traced(network: InceptionI3d, video: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("traced") / "a.pt"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, video, check_trace=False), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def c3d() -> C3D:
    """A network whose largest layers are zeros, but for some values: random ones take seconds."""
    made = C3D()
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.zero_()
            value.flatten()[: 1000 + len(name)] = torch.arange(float(value.numel()))[: 1000 + len(name)] / 7
    return made


def written(network: torch.nn.Module, path: Path, *, counts: bool = True) -> Path:
    state = network.state_dict()
    torch.save({name: value for name, value in state.items() if counts or "num_batches" not in name}, path)
    return path


def published(monkeypatch: pytest.MonkeyPatch, metric: str, folder: Path) -> None:
    """Make the registry say that the files of this folder are the published ones."""

    def known(choice: Choice) -> Choice:
        files = [
            replace(file, num_bytes=(folder / file.name).stat().st_size, sha256=sha256(folder / file.name))
            if (folder / file.name).is_file()
            else file
            for file in choice.files
        ]
        return replace(choice, files=tuple(files))

    monkeypatch.setitem(METRICS, metric, tuple(known(choice) for choice in METRICS[metric]))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_state_dict_gives_the_same_logits_and_a_stamp(
    network: InceptionI3d,
    video: torch.Tensor,
    logits: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = written(network, tmp_path / I3D_FILES[0], counts=False)  # as a conversion from TensorFlow writes it
    published(monkeypatch, "fvd", tmp_path)
    loaded = load_i3d(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(video), logits)
    assert not loaded.training
    assert asdict(stamp_of(loaded)) == {
        "file": "i3d_pretrained_400.pt",
        "sha256": sha256(path),
        "format": "state dict",
        "checked": "sha256",
        "notes": ("batch norms' epsilon: 0.001",),
        "beside": (),
    }


def test_a_torchscript_archive_gives_the_same_logits_without_being_run(
    video: torch.Tensor,
    logits: torch.Tensor,
    traced: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / I3D_FILES[1]).write_bytes(traced)
    published(monkeypatch, "fvd", tmp_path)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr(torch.jit, "load", forbidden)
    loaded = load_i3d(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(video), logits)
    assert (stamp_of(loaded).file, stamp_of(loaded).format) == ("i3d_torchscript.pt", "torchscript")


def test_names_of_tensorflow_without_gains_are_understood(network: InceptionI3d, tmp_path: Path) -> None:
    """TensorFlow's norms have no gain: left out, it is one."""
    units = {"b0": "Branch_0/Conv3d_0a_1x1", "b1a": "Branch_1/Conv3d_0a_1x1", "b1b": "Branch_1/Conv3d_0b_3x3"}
    units |= {"b2a": "Branch_2/Conv3d_0a_1x1", "b2b": "Branch_2/Conv3d_0b_3x3", "b3b": "Branch_3/Conv3d_0b_1x1"}
    leaves = {"conv3d.weight": "conv_3d/w", "conv3d.bias": "conv_3d/b", "bn.bias": "batch_norm/beta"}
    leaves |= {"bn.running_mean": "batch_norm/moving_mean", "bn.running_var": "batch_norm/moving_variance"}
    state = {}
    for name, value in network.state_dict().items():
        *place, part, leaf = name.split(".")
        if f"{part}.{leaf}" in leaves:
            path = ["Logits/Conv3d_0c_1x1"] if place == ["logits"] else [units.get(step, step) for step in place]
            state["/".join(["RGB/inception_i3d", *path, leaves[f"{part}.{leaf}"]])] = value
    torch.save(state, tmp_path / I3D_FILES[0])
    loaded = load_i3d(tmp_path, unchecked=True, bn_eps=1e-5)
    for name, value in loaded.state_dict().items():
        if name.endswith("bn.weight"):
            assert torch.equal(value, torch.ones_like(value))
        elif "num_batches" not in name:
            assert torch.equal(value, network.state_dict()[name]), name
    assert loaded.get_submodule("Mixed_3b.b0.bn").eps == 1e-5
    notes = stamp_of(loaded).notes
    assert notes == ("batch norms' epsilon: 1e-05", "its batch norms have no weights: ones")


def test_another_file_than_the_published_is_refused_with_both_values_or_taken_and_stamped(
    network: InceptionI3d, traced: bytes, tmp_path: Path
) -> None:
    path = written(network, tmp_path / I3D_FILES[0])
    told = rf"wrong sha256: {sha256(path)}, not 55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343"
    with pytest.raises(ValueError, match=rf"weights for fvd: .*i3d_pretrained_400\.pt: {told}.*unchecked=True"):
        load_i3d(tmp_path)
    assert stamp_of(load_i3d(tmp_path, unchecked=True)).checked == f"taken as it is: {told}"
    path.rename(tmp_path / "elsewhere.pt")
    (tmp_path / I3D_FILES[1]).write_bytes(traced)
    told = rf"wrong size: {len(traced):,} bytes, not 51,235,320"
    with pytest.raises(ValueError, match=told):
        load_i3d(tmp_path)
    stamp = stamp_of(load_i3d(tmp_path, unchecked=True))
    assert (stamp.checked, stamp.sha256) == (f"taken as it is: {told}", hashlib.sha256(traced).hexdigest())


def test_a_damaged_file_is_not_passed_over_for_the_next(
    network: InceptionI3d, traced: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / I3D_FILES[1]).write_bytes(traced)
    published(monkeypatch, "fvd", tmp_path)
    written(network, tmp_path / I3D_FILES[0])
    with pytest.raises(ValueError, match=r"i3d_pretrained_400\.pt: wrong sha256"):
        load_i3d(tmp_path)
    assert stamp_of(load_i3d(tmp_path, file="i3d_torchscript.pt")).file == "i3d_torchscript.pt"


def test_other_weights_are_refused_unless_asked_for_and_stamped(
    network: InceptionI3d, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(network, tmp_path / I3D_FILES[2])
    published(monkeypatch, "fvd", tmp_path)
    with pytest.raises(ValueError, match=r"i3d_rgb_imagenet\.pt is here, but not taken unless asked for"):
        load_i3d(tmp_path)
    with pytest.raises(ValueError, match=r"i3d_rgb_imagenet\.pt is not taken unless asked for"):
        load_i3d(tmp_path, file="i3d_rgb_imagenet.pt")
    stamp = stamp_of(load_i3d(tmp_path, other_weights=True))
    assert stamp.notes[1] == "other weights than published FVDs are made with: not comparable with them"


def test_missing_weights_are_named_with_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"i3d_pretrained_400\.pt: missing; to get it: .*github\.com/wilson1yan/VideoGPT"
    ):
        load_i3d(tmp_path)
    with pytest.raises(ValueError, match=r"mean2\.npz: missing; to get it: TGAN2: https://github\.com/pfnet-research"):
        load_c3d(tmp_path)
    with pytest.raises(ValueError, match=rf"hf download facebook/dino-vits16 --local-dir {tmp_path}/dino-vits16"):
        hub_folder("dino", tmp_path)
    with pytest.raises(ValueError, match=r"fvd has no file 'a\.pt': give one of i3d_pretrained_400\.pt"):
        load_i3d(tmp_path, file="a.pt")


def test_files_with_code_truncated_ones_and_other_networks_are_refused(tmp_path: Path) -> None:
    path, marker = tmp_path / I3D_FILES[0], tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(ValueError, match="asks for more than tensors"):
        load_i3d(tmp_path, unchecked=True)
    assert not marker.exists()
    written(InceptionI3d(num_classes=600), path)
    with pytest.raises(ValueError, match=r"logits\.conv3d\.weight has shape \[600, 1024, 1, 1, 1\], and .*\[400, 1024"):
        load_i3d(tmp_path, unchecked=True)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match="it may have broken off, get it again"):
        load_i3d(tmp_path, unchecked=True)
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(
        ValueError, match=r"does not have 287 of the 287 tensors of InceptionI3d.*such as conv1\.weight"
    ):
        load_i3d(tmp_path, unchecked=True)


def test_chainers_npz_gives_c3d_and_its_mean(c3d: C3D, tmp_path: Path) -> None:
    arrays = {
        name.replace(".weight", "/W").replace(".bias", "/b"): value.numpy() for name, value in c3d.state_dict().items()
    }
    np.savez(tmp_path / "conv3d_deepnetA_ucf.npz", **arrays)
    mean = np.random.default_rng(0).uniform(80, 120, (3, 16, 128, 171))
    np.savez(tmp_path / "mean2.npz", mean=mean)
    loaded, found = load_c3d(tmp_path)
    assert all(torch.equal(value, c3d.state_dict()[name]) for name, value in loaded.state_dict().items())
    np.testing.assert_array_equal(found, mean.astype(np.float32))
    stamp = stamp_of(loaded)
    assert (stamp.file, stamp.format) == ("conv3d_deepnetA_ucf.npz", "chainer npz")
    assert stamp.checked == "nothing: no published sha256 is known"
    assert stamp.sha256 == sha256(tmp_path / "conv3d_deepnetA_ucf.npz")
    assert (stamp.beside[0].file, stamp.beside[0].sha256) == ("mean2.npz", sha256(tmp_path / "mean2.npz"))
    np.savez(tmp_path / "mean2.npz", mean=mean[..., :112, :112])
    with pytest.raises(ValueError, match=r"mean2\.npz holds mean float64 \[3, 16, 112, 112\], and needs mean"):
        load_c3d(tmp_path)
    (tmp_path / "mean2.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mean2\.npz cannot be read"):
        load_c3d(tmp_path)


def test_stylegan_vs_port_of_c3d_is_read_by_its_names(c3d: C3D, tmp_path: Path) -> None:
    class Ported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pre, self.net = torch.nn.Conv3d(3, 3, 1, bias=False), torch.nn.Module()

    ported = Ported()
    for name, layer in c3d.named_children():
        ported.add_module(name, layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(ported), tmp_path / "c3d_ucf101.pt")
    np.savez(tmp_path / "mean2.npz", mean=np.zeros((3, 16, 128, 171), np.float32))
    loaded, _ = load_c3d(tmp_path)
    assert all(torch.equal(value, c3d.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert stamp_of(loaded).notes == ("1 tensors that are no part of the network were left out",)
    assert stamp_of(loaded).format == "torchscript"


def test_a_network_made_otherwise_carries_no_stamp() -> None:
    with torch.device("meta"):
        network = C3D()
    with pytest.raises(ValueError, match=r"this C3D carries no stamp: load it with magdiff_eval\.weights"):
        stamp_of(network)


def test_a_hub_model_is_a_folder_whose_files_are_checked(tmp_path: Path) -> None:
    folder = tmp_path / "dino-vits16"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_bytes(name.encode())
    with pytest.raises(ValueError, match=r"dino-vits16/preprocessor_config\.json: missing"):
        hub_folder("dino", tmp_path)
    (folder / "preprocessor_config.json").write_bytes(b"{}")
    found, stamp = hub_folder("dino", tmp_path)
    assert found == folder
    assert stamp.sha256 == hashlib.sha256(b"model.safetensors").hexdigest()
    assert [one.file for one in stamp.beside] == ["config.json", "preprocessor_config.json"]


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield
