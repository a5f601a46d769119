"""Batches from a csv: checked whole, resumed, and not stopped by a row that fails."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import ZOO

from magdiff_curation.digests import model_digest
from magdiff_model.batch import read_batch
from magdiff_model.batch_log import batch_log
from magdiff_model.edit import Edit
from magdiff_model.generate import Generate, generate
from magdiff_model.outputs import write_video
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.sidecar import checkpoint_digest, read_request, sidecar_path
from magdiff_model.subject_finding import SubjectFinder
from magdiff_model.video_command import Models

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def batch(media: Path, tmp_path: Path) -> Generate:
    """Three rows, of which the second has no violin to find."""
    return Generate(
        checkpoint=str(ZOO),
        prompt="a kite",
        image=media / "image.png",
        batch=write(tmp_path, "subject,box,seed,output\nkite,,1,a.gif\nviolin,,2,b.mp4\n,50 37 111 127,3,deep/c\n"),
        output=tmp_path / "out",
        sampling=SamplingSettings(steps=1, guidance_scale=1.0, precision="fp32"),
    )


def write(folder: Path, text: str) -> Path:
    (folder / "items.csv").write_text(text)
    return folder / "items.csv"


def log(batch: Generate) -> list[tuple[int, bool]]:
    lines = [json.loads(line) for line in (batch.output / "batch.jsonl").read_text().splitlines()]
    return [(line["row"], line["error"] is None) for line in lines]


def test_a_row_that_fails_is_told_and_the_others_are_made_once(batch: Generate, zoo_vision, capsys) -> None:
    batch = replace(batch, vision=zoo_vision)
    with pytest.raises(ValueError, match=r"1 of 3 videos failed; the reasons are in .*batch.jsonl"):
        generate(batch)
    assert log(batch) == [(1, True), (2, False), (3, True)]
    assert "no 'violin'" in (batch.output / "batch.jsonl").read_text()
    assert (batch.output / "a.gif").is_file()
    assert len(list((batch.output / "deep" / "c").iterdir())) == 8
    assert not (batch.output / "b.mp4").exists()
    assert "about" in capsys.readouterr().out

    times = [path.stat().st_mtime_ns for path in (batch.output / "a.gif", batch.output / "deep" / "c" / "0000.png")]
    with pytest.raises(ValueError, match="1 of 3 videos failed"):
        generate(batch)
    assert "2 of 3 videos are there already, 1 to make" in capsys.readouterr().out
    assert log(batch) == [(1, True), (2, False), (3, True), (2, False)]
    after = [path.stat().st_mtime_ns for path in (batch.output / "a.gif", batch.output / "deep" / "c" / "0000.png")]
    assert after == times


def test_rows_are_made_anew_where_something_changed_or_is_missing(batch: Generate, media, capsys) -> None:
    rows = "image,output,prompt\nimage.png,a.gif,one\nimage.png,b.gif,two\nimage.png,c.gif,three\n"
    batch = replace(batch, whole=True, image=None, batch=write(batch.batch.parent, rows))
    (batch.batch.parent / "image.png").write_bytes((media / "image.png").read_bytes())
    generate(batch)
    write(batch.batch.parent, rows.replace("two", "zwei"))
    (batch.output / "c.gif").unlink()
    capsys.readouterr()
    generate(batch)
    told = capsys.readouterr().out
    assert "b.gif was made with another prompt: it is made anew" in told
    assert "1 of 3 videos are there already, 2 to make" in told
    assert log(batch) == [(1, True), (2, True), (3, True), (2, True), (3, True)]
    generate(replace(batch, sampling=replace(batch.sampling, seed=5), dry_run=True))
    assert capsys.readouterr().out.count("with another seed") == 3
    assert read_request(batch.output / "b.gif")["prompt"] == "zwei"


def test_a_video_whose_making_was_stopped_does_not_count(batch: Generate, monkeypatch) -> None:
    batch = replace(batch, whole=True, batch=write(batch.batch.parent, "output\na.gif\n"))
    generate(batch)
    changed = replace(batch, sampling=replace(batch.sampling, seed=5))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("magdiff_model.video_command.write_video", killed)
        generate(changed)
    assert (batch.output / "a.gif").is_file()
    assert sidecar_path(batch.output / "a.gif").is_file()
    assert read_request(batch.output / "a.gif") is None


def test_a_folder_where_another_batch_is_at_work_is_left_alone(batch: Generate, monkeypatch) -> None:
    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", None)
    batch = replace(batch, whole=True, batch=write(batch.batch.parent, "output\na.gif\n"))
    with batch_log(batch.output), pytest.raises(ValueError, match=r"another batch is making videos in .*out: wait"):
        generate(batch)
    assert not (batch.output / "a.gif").exists()


def test_a_row_whose_picture_changed_after_the_batch_began_is_not_said_to_show_the_earlier_one(
    batch: Generate, media, monkeypatch
) -> None:
    pictures = [batch.batch.parent / name for name in ("one.png", "two.png")]
    for picture in pictures:
        picture.write_bytes((media / "image.png").read_bytes())
    rows = "image,output\none.png,a.gif\ntwo.png,b.gif\n"
    batch = replace(batch, whole=True, image=None, batch=write(batch.batch.parent, rows))
    earlier = model_digest(pictures[0])

    def change_both(*arguments):
        for picture in pictures:
            PillowImage.new("RGB", (64, 64), "red").save(picture)
        write_video(*arguments)

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="1 of 2 videos failed"):
        patch.setattr("magdiff_model.video_command.write_video", change_both)
        generate(batch)
    assert "--image" in (text := (batch.output / "batch.jsonl").read_text())
    assert "two.png changed after this run had begun: start it again" in text
    assert read_request(batch.output / "a.gif")["image"] == earlier
    generate(batch)
    requests = [read_request(batch.output / name) for name in ("a.gif", "b.gif")]
    assert [request["image"] for request in requests] == [model_digest(picture) for picture in pictures]


def test_weights_that_change_before_they_find_the_subject_are_told(batch: Generate, media, monkeypatch) -> None:
    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", None)
    digests = iter(["earlier", "later"])
    monkeypatch.setattr(SubjectFinder, "digest", lambda *_, **how: next(digests))
    alone = replace(batch, batch=None, box=(50, 37, 111, 127), subject=None, output=batch.output / "a.gif")
    with pytest.raises(ValueError, match=r"^the weights of what finds the subject changed after this run had begun"):
        generate(alone)


def test_weights_that_change_while_they_are_loaded_are_refused(batch: Generate, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_bytes((ZOO / "model_index.json").read_bytes())
    (folder / "unet" / "weights").write_text("earlier")
    monkeypatch.setattr(
        "magdiff_model.video_command.load_pipeline", lambda path: (path / "unet" / "weights").write_text("later")
    )
    with pytest.raises(ValueError, match=r"checkpoint changed while it was read: start again"):
        _ = Models(replace(batch, checkpoint=str(folder))).pipeline


def test_cells_become_options_of_their_kinds(media, tmp_path) -> None:
    path = write(
        media,
        "Video,masks,keep,frame-stride,num_frames,seed,guidance_scale,solver,negative_prompt,prompt,output\n"
        'video.mp4,masks,background,1,12,3,2.5,unipc,"dark, grey",one,a.gif\n'
        ",,,,,,,,,two,\n",
    )
    common = Edit(checkpoint="c", video=media / "short.mp4", masks=media / "few", output=tmp_path / "o", batch=path)
    first, second = read_batch(path, common, 8)
    assert first == replace(
        common,
        batch=None,
        video=media / "video.mp4",
        masks=media / "masks",
        keep="background",
        frame_stride=1,
        num_frames=12,
        prompt="one",
        output=tmp_path / "o" / "a.gif",
        sampling=SamplingSettings(seed=3, guidance_scale=2.5, solver="unipc", negative_prompt="dark, grey"),
    )
    assert second == replace(common, batch=None, prompt="two", output=tmp_path / "o" / "0002.mp4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("prompt,whole\n", "has no rows"),
        ("promt,whole\na,yes\n", "'promt' is no column; did you mean 'prompt'"),
        ("checkpoint,whole\na,yes\n", "'checkpoint' is no column"),
        ("prompt,prompt\na,b\n", "a column twice"),
        ("prompt,whole\na,yes,b\n", "row 1 has more cells"),
        ("prompt,whole\na\n", "row 1 has fewer cells"),
        ("whole\nyes\n", "row 1: --prompt is missing"),
        ("image,whole,prompt\n,yes,a\nnone.png,yes,a\n", "row 2: --image: there is no file .*none.png"),
        ("prompt,whole,output\na,yes,x.mp4\nb,yes,x.mp4\n", "row 2: writes to .*x.mp4, and row 1 to the same place"),
        ("prompt,whole,output\na,yes,x\nb,yes,x/y.mp4\n", "row 2: writes to .*y.mp4, and row 1 to the same place"),
        ("prompt,whole,output\na,yes,x/y.mp4\nb,yes,x\n", "row 2: writes to .*x, and row 1 to the same place"),
        ("prompt,whole,output\na,yes,../x.mp4\n", "row 1: output ../x.mp4 leads out of"),
        ("prompt,whole,output\na,yes,x.webm\n", "row 1: videos are written as"),
        ("prompt,whole,seed\na,yes,x\n", "row 1: seed is 'x'; it must be a whole number"),
        ("prompt,whole,guidance_scale\na,yes,x\n", "row 1: guidance_scale is 'x'; it must be a number"),
        ("prompt,whole\na,perhaps\n", "row 1: whole is 'perhaps'; it must be true or false"),
        ("prompt,box\na,1 2 3\n", "row 1: box is '1 2 3'; it must be four numbers, x0 y0 x1 y1"),
        ("prompt,whole,solver\na,yes,euler\n", "solver is 'euler'; it must be one of ddim, dpmsolver"),
        ("prompt,whole,box\na,yes,1 2 3 4\nb,,\n", "(?s)row 1: .*given: box, whole.*row 2: .*given: none"),
    ],
)
def test_a_csv_is_refused_whole_before_anything_is_loaded(batch: Generate, monkeypatch, text, words) -> None:
    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", None)
    command = replace(batch, prompt="", batch=write(batch.batch.parent, text))
    with pytest.raises(ValueError, match=words):
        generate(command)
    assert not batch.output.exists()


def test_a_csv_in_another_encoding_is_told(batch: Generate) -> None:
    batch.batch.write_bytes("prompt,whole\nä,yes\n".encode("latin-1"))
    with pytest.raises(ValueError, match="no csv in UTF-8"):
        generate(batch)


def test_a_checkpoints_digest_follows_its_weights_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text('{"unet": []}')
    (tmp_path / "unet" / "weights").write_bytes(np.arange(4).tobytes())
    before = checkpoint_digest(tmp_path)
    (tmp_path / "state.pt").write_text("a run's")
    assert checkpoint_digest(tmp_path) == before
    (tmp_path / "unet" / "weights").write_bytes(np.arange(1, 5).tobytes())
    assert checkpoint_digest(tmp_path) != before


def test_no_row_may_replace_what_another_reads(batch: Generate, media, tmp_path) -> None:
    (tmp_path / "cat.png").write_bytes((media / "image.png").read_bytes())
    assert batch.batch is not None
    path = write(batch.batch.parent, f"image,output\n{media / 'image.png'},cat\n{tmp_path / 'cat.png'},dog\n")
    here = replace(batch, batch=path, output=tmp_path, box=(1, 2, 30, 40), subject=None)
    assert len(read_batch(path, here, 8)) == 2
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes((media / "image.png").read_bytes())
    path = write(batch.batch.parent, f"image,output\n{media / 'image.png'},cat\n{tmp_path / 'cat' / '0.png'},dog\n")
    (tmp_path / "cat.json").write_text("{}")
    with pytest.raises(ValueError, match=r"what another replaces: --output .*cat would replace .*0.png, which is read"):
        read_batch(path, here, 8)


def test_a_rows_own_way_to_say_where_the_subject_is_wins(batch: Generate, media) -> None:
    assert batch.batch is not None
    path = write(batch.batch.parent, f"image,box\n{media / 'image.png'},1 2 30 40\n{media / 'image.png'},\n")
    first, second = read_batch(path, replace(batch, batch=path, subject="fish"), 8)
    assert (first.subject, first.box) == (None, (1, 2, 30, 40))
    assert (second.subject, second.box) == ("fish", None)
