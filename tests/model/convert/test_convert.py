"""The command on tiny checkpoints of the real classes: what it writes equals what it read."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet3DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.encoding import encode_text
from magdiff_model.models.unet import MagDiffUNet3DConditionModel
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import with_alignments


def of_text(unet, text):
    return unet.condition(text, None, None, (10, 10))


@torch.no_grad()
@pytest.mark.parametrize("choices", [{}, {"position_code": "branch"}, {"temporal_layout": "modelscope"}])
def test_inflated_stable_diffusion_equals_the_2d_unet_frame_by_frame(stable_diffusion, run, noisy, choices) -> None:
    flat = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet")
    video = load_pipeline(run(stable_diffusion, **choices)).unet
    assert video.config.temporal_layout == choices.get("temporal_layout", "vidrd")
    sample, timestep, text = noisy
    output = video(sample, timestep, of_text(video, text))
    for frame in range(sample.shape[2]):
        expected = flat(sample[:, :, frame], timestep, text).sample
        assert expected.abs().mean() > 0.01
        torch.testing.assert_close(output[:, :, frame], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_residual_position_code_is_not_the_2d_unet_and_the_command_says_so(
    stable_diffusion, run, noisy, change, capsys
) -> None:
    change(stable_diffusion / "unet" / "config.json", upcast_attention=True)
    flat = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet")
    video = load_pipeline(run(stable_diffusion, position_code="residual")).unet
    sample, timestep, text = noisy
    difference = video(sample, timestep, of_text(video, text))[:, :, 1] - flat(sample[:, :, 1], timestep, text).sample
    assert difference.abs().max() > 0.01
    told = capsys.readouterr().out
    assert "note: with position_code residual the new UNet is not the 2D one" in told
    assert "note: the source computes attention in float32" in told


@torch.no_grad()
def test_new_temporal_layers_of_both_layouts_have_somewhere_to_learn_from(stable_diffusion, run, tmp_path) -> None:
    """At zero throughout, a module would never get a gradient: only its last layer is."""
    for layout in ("vidrd", "modelscope"):
        unet = load_pipeline(run(stable_diffusion, output=tmp_path / layout, temporal_layout=layout)).unet
        zero = {name for name, value in unet.named_parameters() if not value.any() and name.endswith("weight")}
        last = ("conv4.3.weight", "temporal.attention.to_out.0.weight", "proj_out.weight")
        assert zero
        assert all(name.endswith(last) for name in zero)


@torch.no_grad()
def test_modelscope_equals_unet3d(modelscope, run, noisy) -> None:
    theirs = UNet3DConditionModel.from_pretrained(modelscope / "unet")
    ours = load_pipeline(run(modelscope)).unet
    sample, timestep, text = noisy
    expected = theirs(sample, timestep, text).sample
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(ours(sample, timestep, of_text(ours, text)), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_other_parts_are_the_sources(stable_diffusion, run, clip) -> None:
    made = load_pipeline(run(stable_diffusion))
    expected = AutoencoderKL.from_pretrained(stable_diffusion / "vae").state_dict()
    torch.testing.assert_close(made.vae.state_dict(), expected, rtol=0, atol=0)
    text = CLIPTextModel.from_pretrained(stable_diffusion / "text_encoder")
    states = text(made.tokenizer(["a dog"], padding="max_length", return_tensors="pt").input_ids).last_hidden_state
    torch.testing.assert_close(encode_text(made.tokenizer, made.text_encoder, ["a dog"]), states)
    assert made.image_encoder.state_dict()["vision_model.pre_layrnorm.weight"].shape == (20,)
    assert made.unet.config.image_hidden_size == 20
    assert made.subject_settings().clip_size_px == 16


def test_the_scheduler_is_ddim_over_the_sources_noise_and_target(stable_diffusion, run, change, tmp_path) -> None:
    scheduler = load_pipeline(run(stable_diffusion)).scheduler
    assert type(scheduler).__name__ == "DDIMScheduler"
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert (scheduler.config.prediction_type, scheduler.config.clip_sample) == ("epsilon", False)
    assert scheduler.alphas_cumprod[-1].item() == pytest.approx(0.0047, abs=1e-4)  # Stable Diffusion's last level
    change(stable_diffusion / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    made = load_pipeline(run(stable_diffusion, output=tmp_path / "v"))
    assert made.scheduler.config.prediction_type == "v_prediction"


def test_a_converted_base_makes_videos_and_takes_the_alignments(stable_diffusion, run, tmp_path) -> None:
    made = load_pipeline(run(stable_diffusion))
    picture = np.full((1, 20, 24, 3), 90, np.uint8)
    assert made("a dog", picture, None, num_inference_steps=2, precision="fp32").frames.shape == (1, 5, 16, 16, 3)
    trained = with_alignments(made, TrainSettings(shards=(str(tmp_path),)))
    assert (trained.unet.config.apa_mode, trained.unet.config.hfa_scales) == ("adaptive", 3)
    assert trained("a dog", picture, None, num_inference_steps=1, precision="fp32").frames.shape == (1, 8, 16, 16, 3)


def test_half_precision_is_written_as_such(stable_diffusion, run) -> None:
    folder = run(stable_diffusion, dtype="float16")
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        assert {value.dtype for value in load_file(folder / f"{part}.safetensors").values()} == {torch.float16}


def test_the_same_seed_writes_the_same_weights(stable_diffusion, run, tmp_path) -> None:
    written = [
        load_file(run(stable_diffusion, output=tmp_path / name, seed=seed) / "unet/diffusion_pytorch_model.safetensors")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    torch.testing.assert_close(written[0], written[1], rtol=0, atol=0)
    assert any(not torch.equal(written[0][name], written[2][name]) for name in written[0])


def test_pytorchs_files_and_the_names_of_older_libraries_are_read(stable_diffusion, run) -> None:
    unet = stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(unet), unet.with_suffix(".bin"), _use_new_zipfile_serialization=False)
    unet.unlink()
    text = stable_diffusion / "text_encoder" / "model.safetensors"
    prefixed = {f"text_model.{name}": value for name, value in load_file(text).items()}  # transformers 4's
    prefixed["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(prefixed, text, metadata={"format": "pt"})
    vae = stable_diffusion / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name.replace("to_out.0", "proj_attn"): value for name, value in load_file(vae).items()}, vae)
    made = load_pipeline(run(stable_diffusion))
    position = prefixed["text_model.embeddings.position_embedding.weight"]
    assert torch.equal(made.text_encoder.state_dict()["embeddings.position_embedding.weight"], position)


def test_weights_in_several_files_are_read(stable_diffusion, run) -> None:
    unet = UNet2DConditionModel.from_pretrained(stable_diffusion / "unet")
    (stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(stable_diffusion / "unet", max_shard_size="1MB")
    assert len(list((stable_diffusion / "unet").glob("*-of-*.safetensors"))) > 1
    made = load_pipeline(run(stable_diffusion)).unet.state_dict()
    for name, value in unet.state_dict().items():
        assert torch.equal(made[name], value)


def test_a_hub_id_is_downloaded_with_a_word_and_named_by_its_commit(
    stable_diffusion, run, tmp_path, monkeypatch, capsys
) -> None:
    snapshot = stable_diffusion.rename(tmp_path / "0123abcd")
    asked = {}

    def download(source: str, **options: object) -> str:
        asked.update(options, source=source)
        return str(snapshot)

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    report = json.loads((run("owner/name", revision="main") / "conversion.json").read_text())
    assert (asked["source"], asked["revision"], asked["safety_checker"]) == ("owner/name", "main", None)
    assert report["source"]["name"] == "owner/name@0123abcd"
    assert "getting owner/name from the hub" in capsys.readouterr().out


def test_an_image_encoder_comes_from_a_pipeline_too(stable_diffusion, run, tmp_path) -> None:
    first = run(stable_diffusion)
    second = load_pipeline(run(stable_diffusion, image_encoder=str(first), output=tmp_path / "second"))
    assert second.unet.config.image_hidden_size == 20


def test_conversion_json_says_what_became_of_every_key(stable_diffusion, run, clip) -> None:
    folder = run(stable_diffusion)
    report = json.loads((folder / "conversion.json").read_text())
    written = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    read = load_file(stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors")
    by_status = {kind: {key["name"] for key in report["keys"] if key["status"] == kind} for kind in ("taken", "new")}
    assert by_status["taken"] == set(read)
    assert by_status["taken"] | by_status["new"] == set(written)
    assert sum(key["parameters"] for key in report["keys"]) == sum(value.numel() for value in written.values())
    starts = {key["name"]: key["why"] for key in report["keys"] if key["status"] == "new"}
    for name, why in starts.items():
        if why.startswith("zero"):
            assert not written[name].any(), name
        elif why.startswith("one"):
            assert torch.equal(written[name], torch.full_like(written[name], float(name.endswith("weight")))), name
        else:
            assert written[name].std() > 0, name
    assert len({*starts.values()}) == 3
    (digest,) = report["source"]["files"].values()
    assert len(digest) == 64
    assert report["parts"]["image_encoder"] == str(clip)


def test_a_dry_run_tells_and_writes_nothing(stable_diffusion, run, capsys) -> None:
    assert not run(stable_diffusion, dry_run=True).exists()
    told = capsys.readouterr().out
    assert "Stable Diffusion 2.x from" in told
    assert "temporal convolutions" in told
    assert "zero, so that its module adds nothing" in told
    assert "predicts epsilon" in told


def test_a_dry_run_can_write_every_key_and_nothing_else(stable_diffusion, run, tmp_path, capsys) -> None:
    report = tmp_path / "reports" / "keys.json"
    assert not run(stable_diffusion, dry_run=True, report=report).exists()
    assert f"wrote {report}, which has every key" in capsys.readouterr().out
    told = json.loads(report.read_text())
    kept = json.loads((run(stable_diffusion) / "conversion.json").read_text())
    assert {key["status"] for key in told["keys"]} == {"taken", "new"}
    assert told["settings"].pop("dry_run")
    assert told["settings"].pop("report") == str(report)
    kept["settings"] = {name: value for name, value in kept["settings"].items() if name not in ("dry_run", "report")}
    assert told == kept


def test_a_report_has_a_place_of_its_own_and_a_dry_run(stable_diffusion, run, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"--report goes with --dry-run: a conversion writes .*conversion.json itself"):
        run(stable_diffusion, report=tmp_path / "keys.json")
    (tmp_path / "keys.json").touch()
    with pytest.raises(ValueError, match=r"keys.json is there already: choose another --report"):
        run(stable_diffusion, dry_run=True, report=tmp_path / "keys.json")
    with pytest.raises(ValueError, match="lies in --output, which is to stay empty"):
        run(stable_diffusion, dry_run=True, report=tmp_path / "converted" / "keys.json")


def test_an_output_that_is_in_use_is_refused_and_a_broken_run_leaves_nothing(
    stable_diffusion, run, tmp_path, monkeypatch
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(ValueError, match="is not empty: choose another --output"):
        run(stable_diffusion, output=tmp_path / "used")

    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(MagDiffUNet3DConditionModel, "save_pretrained", full)
    with pytest.raises(OSError, match="disk full"):
        run(stable_diffusion)
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_line_reports_a_mistake_in_one_line(tmp_path) -> None:
    command = [sys.executable, "-m", "magdiff_model.convert", "./nowhere", "--output", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("convert: './nowhere' is no folder here and no hub id")
