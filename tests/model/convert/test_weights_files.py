"""A folder's weights files that are broken, incomplete or of another variant are named with what to do."""

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from magdiff_model.checkpoints import load_pipeline
from magdiff_model.convert.weights_files import read_file, weight_files

INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture
def sharded(stable_diffusion):
    """Return the folder of a UNet in several files."""
    folder = stable_diffusion / "unet"
    unet = UNet2DConditionModel.from_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder, max_shard_size="1MB")
    return folder


def test_several_files_need_their_index_and_every_file_that_it_lists(sharded, stable_diffusion, run) -> None:
    files = weight_files(sharded)
    index = (sharded / INDEX).read_text()
    files[-1].rename(sharded / "away")
    with pytest.raises(ValueError, match=f"index.json lists {files[-1].name}, not there; get the checkpoint again"):
        run(stable_diffusion)
    (sharded / "away").rename(files[-1])
    for broken in ("{}", json.dumps({"weight_map": [files[0].name]}), json.dumps({"weight_map": {"a": [1]}})):
        (sharded / INDEX).write_text(broken)
        with pytest.raises(ValueError, match="lists no files under weight_map; get the checkpoint again"):
            run(stable_diffusion)
    few = {name: file for name, file in json.loads(index)["weight_map"].items() if file != files[-1].name}
    (sharded / INDEX).write_text(json.dumps({"weight_map": few}))
    with pytest.raises(ValueError, match="they lack weights"):
        run(stable_diffusion)
    (sharded / INDEX).unlink()
    with pytest.raises(ValueError, match=r"-of-0000\d.safetensors, but not the index that lists them"):
        run(stable_diffusion)


def test_the_variant_that_a_folder_has_is_named(stable_diffusion, sharded) -> None:
    vae = stable_diffusion / "vae"
    (vae / "diffusion_pytorch_model.safetensors").rename(vae / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(ValueError, match="choose by --variant, such as --variant fp16"):
        weight_files(vae)
    with pytest.raises(ValueError, match="leave out --variant, which goes for every part"):
        weight_files(stable_diffusion / "text_encoder", "fp16", stem="model")
    for file in sorted(sharded.glob("*-of-*")):
        file.rename(file.with_suffix(".fp16.safetensors"))
    (sharded / INDEX).rename(sharded / "diffusion_pytorch_model.safetensors.index.fp16.json")
    with pytest.raises(ValueError, match="choose by --variant, such as --variant fp16"):
        weight_files(sharded)


def test_every_part_needs_its_weights_in_the_variant_before_anything_is_converted(stable_diffusion, run) -> None:
    unet = stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(unet, unet.with_suffix(".fp16.safetensors"))
    with pytest.raises(ValueError, match=r"vae has no diffusion_pytorch_model.fp16.safetensors"):
        run(stable_diffusion, variant="fp16", dry_run=True)
    (stable_diffusion / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"text_encoder has no model.safetensors and no pytorch_model.bin; it has no"):
        run(stable_diffusion, dry_run=True)


def test_parts_in_pytorchs_files_are_read_without_a_word_about_safetensors(stable_diffusion, run, caplog) -> None:
    for part, name, stem in (("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
                             ("text_encoder", "model", "pytorch_model")):  # fmt: skip
        file = stable_diffusion / part / f"{name}.safetensors"
        torch.save(load_file(file), file.with_name(f"{stem}.bin"))
        file.unlink()
    made = load_pipeline(run(stable_diffusion))
    stored = torch.load(stable_diffusion / "vae" / "diffusion_pytorch_model.bin", weights_only=True)
    torch.testing.assert_close(made.vae.state_dict(), stored, rtol=0, atol=0)
    assert "unsafe" not in caplog.text


def test_a_tokenizer_without_its_words_is_refused(stable_diffusion, run) -> None:
    for file in (stable_diffusion / "tokenizer").iterdir():
        file.unlink()
    (stable_diffusion / "tokenizer" / "vocab.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer has neither tokenizer.json nor both vocab.json and merges.txt"):
        run(stable_diffusion)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pth", b"<html>not found</html>", r"no file of PyTorch's: it begins with b'<html>"),
        ("a.pth", b"", "no file of PyTorch's: it begins with b''"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs's note in place of the file"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull in its folder gets it"),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{", "get it again"),
    ],
)
def test_a_file_that_holds_no_weights_is_told_from_one_that_holds_code(tmp_path, name, content, words) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot read .*{words}"):
        read_file(tmp_path / name)


def test_a_truncated_file_is_refused(stable_diffusion, run) -> None:
    file = stable_diffusion / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"cannot read .*not fully covered.*get it again"):
        run(stable_diffusion)


class Own:
    """Of a class that PyTorch's safe reader does not know."""


def test_objects_in_a_file_are_named_without_pytorchs_advice_to_read_them_all_the_same(tmp_path) -> None:
    torch.save({"state_dict": {}, "callback": Own()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"can run code \(it names \S*Own\)") as caught:
        read_file(tmp_path / "a.pth")
    assert "likely succeed" not in str(caught.value)
