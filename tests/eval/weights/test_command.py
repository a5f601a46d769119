import json
import subprocess
import sys
from pathlib import Path

import pytest

from magdiff_eval.scoring.loading import ExtractorSettings
from magdiff_eval.weights.__main__ import main
from magdiff_eval.weights.registry import METRICS


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, folder: str | None = None) -> int | str | None:
    """Run the command here, and return what it exits with."""
    where = [] if folder is None else ["--weights", folder]
    monkeypatch.setattr(sys, "argv", ["weights", *arguments, *where])
    try:
        main()
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_every_metric_is_listed_with_what_is_here_and_how_to_get_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "i3d_torchscript.pt").write_bytes(b"cut short")
    (tmp_path / "mean2.npz").write_bytes(b"a mean")
    assert run(monkeypatch, "--weights", str(tmp_path), "--zoo", str(tmp_path)) == 0
    told = capsys.readouterr().out
    for metric in METRICS:
        assert f"{metric}: NOT READY" in told
    assert "i3d_torchscript.pt: wrong size: 9 bytes, not 51,235,320" in told
    assert "get it: stylegan-v's port of the TF-hub model: https://github.com/universome/stylegan-v" in told
    assert "mean2.npz: found, but no published sha256 is known to compare with" in told
    assert f"hf download openai/clip-vit-large-patch14 --local-dir {tmp_path}/clip-vit-large-patch14" in told


def test_the_status_tells_whether_a_metric_is_ready_and_json_tells_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("conv3d_deepnetA_ucf.npz", "mean2.npz"):
        (tmp_path / name).write_bytes(b"weights")
    assert run(monkeypatch, "--metric", "video-is", "--json", folder=str(tmp_path)) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["video-is"]
    assert found["video-is"]["ready"] is True
    assert [file["state"] for file in found["video-is"]["choices"][0]["files"]] == ["unverified", "unverified"]
    assert run(monkeypatch, "--metric", "fvd", folder=str(tmp_path)) == 1
    assert f"weights in {tmp_path}" in capsys.readouterr().out


def test_a_damaged_file_makes_its_metric_not_ready_whatever_else_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("c3d_ucf101.pt", "mean2.npz"):
        (tmp_path / name).write_bytes(b"weights")
    assert run(monkeypatch, "--metric", "video-is", folder=str(tmp_path)) == 0
    (tmp_path / "i3d_pretrained_400.pt").write_bytes(b"weights")
    assert run(monkeypatch, "--metric", "fvd", folder=str(tmp_path)) == 1


def test_without_settings_the_folder_is_the_one_that_scoring_looks_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--metric", "clip-b32") == 1
    assert f"weights in {ExtractorSettings().weights}" in capsys.readouterr().out


def test_an_unknown_metric_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    told = run(monkeypatch, "--metric", "lpips")
    assert str(told).startswith("weights: unknown metric 'lpips': give one of fvd, video-is, clip-l14")


def test_the_command_is_python_m_magdiff_eval_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "magdiff_eval.weights", "--metric", "fvd", "--weights", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "i3d_pretrained_400.pt: missing" in done.stdout
