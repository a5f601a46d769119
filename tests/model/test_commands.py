"""generate and edit as people call them, on the zoo's base: each way to say where the subject is, and each mistake."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import ZOO

from magdiff_curation.clips.masks import decode_rle
from magdiff_curation.clips.video import decode, encode, probe
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model import generate as generate_module
from magdiff_model.edit import Edit, edit, fit_masks, kept, spread
from magdiff_model.generate import Generate, generate
from magdiff_model.pipeline import MagDiffPipeline
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.subject_finding import SubjectFinder

QUICK = SamplingSettings(steps=1, guidance_scale=1.0, precision="fp32")
BOX = (50.0, 37.0, 111.0, 127.0)

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def make(media: Path, tmp_path: Path):
    def call(**changes: object) -> bytes:
        arguments = {"image": "image.png", "prompt": "a kite at sea", "output": tmp_path / "out.mp4"} | changes
        paths = {name: media / arguments[name] for name in ("image", "mask") if name in arguments}
        generate(Generate(**{"checkpoint": str(ZOO), "sampling": QUICK} | arguments | paths))
        return (tmp_path / "out.mp4").read_bytes()

    return call


@pytest.fixture
def change(media: Path, tmp_path: Path):
    def call(**changes: object) -> bytes:
        arguments = {"video": "video.mp4", "prompt": "a kite at sea", "output": tmp_path / "out.mp4"} | changes
        paths = {name: media / arguments[name] for name in ("video", "masks") if name in arguments}
        edit(Edit(**{"checkpoint": str(ZOO), "sampling": QUICK} | arguments | paths))
        return (tmp_path / "out.mp4").read_bytes()

    return call


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the pipeline is shown, instead of its work."""
    calls: list[dict] = []

    class Blank:
        device = "cpu"

        def to(self, device):
            return self

        def set_progress_bar_config(self, **options):
            pass

        def __call__(self, prompt, frames, masks, *, num_frames, **options):
            calls.append({"frames": frames, "masks": masks, "num_frames": num_frames, **options})
            return type("Output", (), {"frames": np.zeros((1, num_frames or 8, 64, 64, 3), np.uint8)})

    monkeypatch.setattr("magdiff_model.video_command.load_pipeline", lambda path: Blank())
    return calls


def overlap(left: np.ndarray, right: np.ndarray) -> float:
    return float((left & right).sum() / (left | right).sum())


def test_generate_makes_eight_frames_of_a_subject_that_it_finds_by_name(make, zoo_vision) -> None:
    video = make(subject="kite", vision=zoo_vision)
    assert decode(video).shape == (8, 64, 64, 3)
    assert probe(video).frame_rate == 8


def test_edit_keeps_the_subject_that_it_finds_by_name_and_the_sources_speed(
    change, zoo_vision, shown, truth, tmp_path
) -> None:
    video = change(subject="kite", vision=zoo_vision)
    (call,) = shown
    assert call["frames"].shape == (8, 128, 160, 3)
    assert overlap(call["masks"], truth[1][::2][:8]) > 0.9
    assert probe(video).frame_rate == 4  # every second frame of a video of 8 a second
    found_by = json.loads((tmp_path / "out.mp4.json").read_bytes())["made"]["found_by"]
    assert found_by["ground"].startswith("detector@")


def test_edit_can_keep_the_background_instead(change, shown, media, truth) -> None:
    change(masks="masks", keep="background")
    change(masks="video.masks.json")
    assert np.array_equal(shown[0]["masks"], ~truth[1][::2][:8])
    assert np.array_equal(shown[1]["masks"], truth[1][::2][:8])


def test_a_box_is_cut_out_without_any_weights(make, change, shown, truth) -> None:
    make(box=BOX)
    change(box=BOX)
    assert overlap(shown[0]["masks"], truth[1][:1]) > 0.8
    assert overlap(shown[1]["masks"], truth[1][::2][:8]) > 0.7


def test_a_mask_or_the_whole_picture_can_be_given(make, shown, truth) -> None:
    make(mask="masks/000.png")
    make(whole=True)
    assert np.array_equal(shown[0]["masks"], truth[1][:1])
    assert shown[1]["masks"] is None


def test_longer_videos_than_the_checkpoints_are_made_and_edited(make, change, shown) -> None:
    assert probe(make(whole=True, num_frames=11)).num_frames == 11
    change(whole=True, num_frames=12, frame_stride=1)
    assert [call["num_frames"] for call in shown] == [11, 12]
    assert [len(call["frames"]) for call in shown] == [1, 12]


def test_the_pipeline_itself_makes_the_longer_video(make) -> None:
    assert decode(make(whole=True, num_frames=11)).shape == (11, 64, 64, 3)


def test_sampling_settings_reach_the_pipeline(make, shown) -> None:
    sampling = SamplingSettings(
        negative_prompt="blur",
        steps=3,
        guidance_scale=2,
        image_guidance_scale=1.5,
        solver="unipc",
        seed=7,
        frame_rate=12,
    )
    assert probe(make(whole=True, sampling=sampling)).frame_rate == 12
    names = ("negative_prompt", "num_inference_steps", "guidance_scale", "image_guidance_scale", "solver", "seed")
    assert [shown[0][name] for name in names] == ["blur", 3, 2, 1.5, "unipc", 7]


def test_the_sidecar_says_what_a_video_was_made_from(make, tmp_path) -> None:
    make(mask="masks/000.png")
    sidecar = json.loads((tmp_path / "out.mp4.json").read_bytes())
    assert {"command": "generate", "prompt": "a kite at sea", "steps": 1, "seed": 0}.items() <= sidecar[
        "request"
    ].items()
    assert [len(sidecar["request"][name]) for name in ("checkpoint", "image", "mask")] == [12, 12, 12]
    assert sidecar["made"]["num_frames"] == 8
    assert sidecar["made"]["size_px"] == [64, 64]
    assert {"torch", "diffusers", "magdiff-model"} <= set(sidecar["made"]["versions"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "say where the subject is by one of --subject, --mask, --box, --whole; given: none"),
        ({"whole": True, "box": BOX}, "given: box, whole"),
        ({"subject": "kite", "mask": "empty.png"}, "given: subject, mask"),
        ({"subject": " "}, "--subject is empty"),
        ({"subject": "violin"}, "no 'violin' in the first frame|no 'violin' in any .*: try another word .* --box"),
        ({"subject": "kite", "vision": "manifest"}, "no detector, so nothing is found by name"),
        ({"subject": "kite", "vision": "nowhere.yaml"}, "neither a preset .* nor a YAML file"),
        ({"mask": "empty.png"}, "an empty mask: paint the subject white and all else black, or try --subject"),
        ({"mask": "small.png"}, "64x64 px, the picture 160x128: save the mask at the picture's size"),
        ({"mask": "text.txt"}, "not a picture"),
        ({"mask": "none.png"}, "--mask: there is no file "),
        ({"image": "masks", "whole": True}, "--image: there is no file "),
        ({"image": "broken.png", "whole": True}, "cannot be read as a picture .* save it again"),
        ({"box": (500.0, 500.0, 600.0, 600.0)}, "give --box x0 y0 x1 y1 in the source's own pixels"),
        ({"box": (50.0, 50.0, 40.0, 60.0)}, "x0 < x1"),
        ({"box": (0.0, 0.0, float("inf"), 60.0)}, r"--box is \(0.0, 0.0, inf, 60.0\); it must be .* finite"),
        ({"whole": True, "output": Path("out.avi")}, "written as .mp4, .gif or, .* not out.avi"),
        ({"whole": True, "output": None}, "--output is missing"),
        ({"whole": True, "prompt": ""}, "--prompt is missing"),
        ({"whole": True, "num_frames": 4}, "this checkpoint makes 8 or more"),
        ({"whole": True, "checkpoint": "nowhere"}, "no pipeline"),
        ({"whole": True, "sampling": SamplingSettings(steps=0)}, "--steps is 0"),
        ({"whole": True, "sampling": SamplingSettings(frame_rate=-1)}, "--frame-rate is -1"),
        ({"whole": True, "sampling": SamplingSettings(device="abacus")}, "--device abacus is none .* give cpu, cuda"),
    ],
)
def test_generate_refuses_what_it_cannot_use_and_says_what_to_do(make, zoo_vision, shown, changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        make(**{"vision": zoo_vision} | changes if "subject" in changes else changes)
    assert not shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video": "short.mp4", "whole": True}, "has 5 frames, and 8 are to be edited: take a longer one"),
        ({"video": "one.mp4", "whole": True}, "has 1 frame, .*: magdiff_model.generate takes single pictures"),
        ({"video": "text.txt", "whole": True}, "cannot read .*text.txt"),
        ({"video": "broken.mp4", "whole": True}, "cannot read .*broken.mp4"),
        ({"masks": "text.txt"}, "neither a folder"),
        ({"masks": "few"}, "has 3 masks for 15 frames: one is needed for each"),
        ({"masks": "gaps"}, r"frames \[4\] have an empty mask"),
        ({"video": "short.mp4", "masks": "masks", "whole": True}, "given: masks, whole"),
        ({"whole": True, "keep": "background"}, "no background to keep"),
        ({"whole": True, "frame_stride": 0}, "--frame-stride is 0"),
        ({"whole": True, "num_frames": 20}, "has 16 frames, and 20 are to be edited"),
    ],
)
def test_edit_refuses_what_it_cannot_use_and_says_what_to_do(change, shown, changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        change(**changes)
    assert not shown


def test_a_video_is_never_written_over_what_it_is_made_from(media) -> None:
    with pytest.raises(ValueError, match="which is read: choose another name"):
        edit(Edit(checkpoint=str(ZOO), prompt="p", whole=True, video=media / "video.mp4", output=media / "video.mp4"))


def test_a_box_and_masks_are_in_the_videos_own_pixels_however_large_it_is(tmp_path, shown, monkeypatch) -> None:
    frames, masks = render(sample_scene(3, 1), height=576, width=720, num_frames=8)
    (tmp_path / "large.mp4").write_bytes(encode(frames, 30))
    (tmp_path / "masks").mkdir()
    for index, mask in enumerate(masks):
        PillowImage.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{index:03d}.png")
    asked = {}

    def remember(self, frames, source_size, *, label, box):
        asked.update(size=frames.shape[1:3], source_size=source_size, box=box)
        return np.ones(frames.shape[:3], bool), {}

    monkeypatch.setattr(SubjectFinder, "find", remember)
    common = {"checkpoint": str(ZOO), "prompt": "p", "video": tmp_path / "large.mp4", "output": tmp_path / "out.mp4"}
    edit(Edit(**common, box=(96.0, 96.0, 480.0, 384.0)))
    edit(Edit(**common, masks=tmp_path / "masks"))
    assert asked == {"size": (512, 640), "source_size": (720, 576), "box": (96.0, 96.0, 480.0, 384.0)}
    assert shown[1]["masks"].mean() == pytest.approx(masks.mean(), rel=0.01)


def test_masks_of_a_size_that_is_neither_the_sources_nor_the_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="m has masks of 6x4 px; for this video they must be 16x8 or 8x4"):
        fit_masks(np.ones((2, 4, 6), bool), (4, 8), (16, 8), "m")


def test_nothing_is_kept_where_the_subject_fills_the_frame() -> None:
    with pytest.raises(ValueError, match=r"fills frames \[6\]"):
        kept(np.stack([np.eye(4, dtype=bool), np.ones((4, 4), bool)]), np.array([3, 6]), "background", None)


def test_edited_frames_are_spread_from_the_first_on() -> None:
    assert spread(100, 8, 4).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert spread(16, 8, 4).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_missing_vision_packages_are_named_with_the_command_that_installs_them(make, change, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "magdiff_curation.backends", None)
    monkeypatch.setitem(sys.modules, "magdiff_curation.normalize", None)
    for call, way in ((make, {"box": BOX}), (change, {"whole": True})):
        with pytest.raises(ValueError, match=r"is not installed: pip install 'magdiff-curation\[vision\]'"):
            call(**way)


def test_missing_weights_are_named_with_what_else_can_be_done(make, tmp_path) -> None:
    (tmp_path / "v.yaml").write_text("mask: {grounder: zero_shot, zero_shot: {model: ./gone}}")
    with pytest.raises(ValueError, match=r"mask.zero_shot.model: .*gone.* Without it: other models by --vision"):
        make(subject="kite", vision=str(tmp_path / "v.yaml"))


def test_a_dry_run_makes_nothing(media, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(MagDiffPipeline, "from_pretrained", None)
    output = tmp_path / "out.gif"
    common = {"checkpoint": str(ZOO), "prompt": "p", "image": media / "image.png", "output": output}
    generate(Generate(**common, whole=True, dry_run=True))
    assert not output.exists()
    assert capsys.readouterr().out == f"would make {output}\n"


def test_the_command_line_makes_a_video_and_a_mistake_is_one_line(media, tmp_path, monkeypatch) -> None:
    words = ["--checkpoint", str(ZOO), "--image", str(media / "image.png"), "--prompt", "a kite"]
    words += ["--output", str(tmp_path / "frames"), "--steps", "1", "--precision", "fp32"]
    monkeypatch.setattr(sys, "argv", ["generate", *words, "--box", *map(str, BOX)])
    generate_module.main()
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [f"{index:04d}.png" for index in range(8)]
    monkeypatch.setattr(sys, "argv", ["generate", *words])
    with pytest.raises(SystemExit, match=r"^generate: say where the subject is"):
        generate_module.main()


def test_the_help_begins_with_examples(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--help"])
    with pytest.raises(SystemExit):
        generate_module.main()
    assert "--image dog.png --subject dog --prompt" in " ".join(capsys.readouterr().out.split())


def test_masks_of_shards_are_read_as_they_are(media, truth) -> None:
    masks = [decode_rle(rle) for rle in json.loads((media / "video.masks.json").read_bytes())]
    assert np.array_equal(np.stack(masks), truth[1])
