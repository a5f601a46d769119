"""Recorded cross-attention and the command that shows it, on the zoo's base with fresh alignments."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from tests_support import ZOO
from torch import nn

import magdiff_model.attention_maps as command
from magdiff_curation.clips.video import decode, probe
from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.attention_maps import AttentionMaps, Side, alphas_held_at_one, attention_maps, colour, sheet
from magdiff_model.attention_recording import AttentionRecord, record_attention, word_weights
from magdiff_model.checkpoints import load_pipeline, save_pipeline
from magdiff_model.models.apa import AdaptivePromptsAttention, Prompt
from magdiff_model.sampling_settings import SamplingSettings
from magdiff_model.training.settings import AlignmentSettings, TrainSettings
from magdiff_model.training.setup import with_alignments
from magdiff_model.video_command import Shown

PROMPT = "a Fish at sea, a fish"
QUICK = SamplingSettings(steps=1, guidance_scale=2.0, image_guidance_scale=2.0, precision="fp32", device="cpu")


def built(apa: str = "adaptive"):
    torch.manual_seed(0)
    pipeline = with_alignments(load_pipeline(ZOO), TrainSettings(shards=("s",), alignments=AlignmentSettings(apa=apa)))
    torch.nn.init.normal_(pipeline.unet.conv_in_cond.weight, std=0.1)
    for name, value in pipeline.unet.named_parameters():
        if apa == "adaptive" and "alpha_" in name:
            value.data.fill_(0.3)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return built()


@pytest.fixture(scope="module")
def checkpoint(pipeline, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("apa")
    save_pipeline(pipeline, folder)
    return folder


@pytest.fixture(scope="module")
def fpa(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fpa")
    save_pipeline(built("fpa"), folder)
    return folder


def shown() -> Shown:
    frames, masks = render(sample_scene(3, 1), height=96, width=96, num_frames=1)
    return Shown(frames=frames, masks=masks, frame_rate=8.0)


def settings(tmp_path: Path, checkpoint: Path, **changes: object) -> AttentionMaps:
    picture = shown()
    PillowImage.fromarray(picture.frames[0]).save(tmp_path / "image.png")
    PillowImage.fromarray(picture.masks[0].astype(np.uint8) * 255).save(tmp_path / "mask.png")
    arguments = {"words": ("fish", "at sea"), "mask": tmp_path / "mask.png", "output": tmp_path / "maps"} | changes
    return AttentionMaps(
        checkpoint=str(checkpoint), image=tmp_path / "image.png", prompt=PROMPT, sampling=QUICK, **arguments
    )


def sample(pipeline, **changes: object) -> np.ndarray:
    picture = shown()
    return pipeline(PROMPT, picture.frames, picture.masks, **(QUICK.pipeline_arguments() | changes)).frames[0]


def record(pipeline, weights: torch.Tensor, **changes: object) -> tuple[AttentionRecord, np.ndarray]:
    wanted = AttentionMaps(
        checkpoint="", image=Path(), prompt=PROMPT, words=(), output=Path(), whole=True, sampling=QUICK
    )
    with record_attention(pipeline.unet, *command._seen(pipeline, wanted, shown()), weights) as heard:
        video = sample(pipeline, **changes)
    return heard, video


def everything(pipeline) -> torch.Tensor:
    return torch.eye(pipeline.tokenizer.model_max_length)


def test_recorded_shares_equal_a_softmax_computed_by_hand_for_the_sample_with_the_given_tokens_alone() -> None:
    torch.manual_seed(1)
    layer = AdaptivePromptsAttention(16, 12, 8)
    hidden, text, image = torch.randn(2, 3, 4, 16), torch.randn(2, 1, 7, 12), torch.randn(2, 3, 9, 12)
    weights = torch.rand(7, 2)
    with record_attention(nn.ModuleDict({"layer": layer}), text[1:], image[1:], weights) as heard:
        layer(hidden, Prompt(text), Prompt(image))
        layer(hidden=hidden, text=Prompt(text), image=Prompt(image))
        layer(hidden, Prompt(text), Prompt(image + 1))  # the same text with another subject
        layer(hidden, Prompt(text[:1].expand(2, -1, -1, -1)), Prompt(image))  # the same subject with another text
    assert heard.steps == {"layer": 2}
    w_q, w_k = layer.to_q.weight.detach().double().numpy(), layer.to_k.weight.detach().double().numpy()
    for frame in range(3):
        queries, keys = hidden[1, frame].double().numpy() @ w_q.T, text[1, 0].double().numpy() @ w_k.T
        shares = np.zeros((4, 7))
        for part in (slice(0, 8), slice(8, 16)):
            scores = np.exp(queries[:, part] @ keys[:, part].T / np.sqrt(8))
            shares += scores / scores.sum(axis=1, keepdims=True) / 2
        expected = (shares @ weights.double().numpy()).T.reshape(2, 2, 2)
        np.testing.assert_allclose(heard.maps()["layer"][:, frame].numpy(), expected, rtol=1e-5)


def test_the_shares_of_all_tokens_sum_to_one_in_every_layer_and_each_step_is_heard_once(pipeline) -> None:
    heard, _ = record(pipeline, everything(pipeline), num_inference_steps=2)
    assert set(heard.steps) == set(pipeline.unet.cross_attentions)
    assert set(heard.steps.values()) == {2}
    for maps in heard.maps().values():
        assert maps.shape[:2] == (32, 8)
        torch.testing.assert_close(maps.sum(dim=0), torch.ones(maps.shape[1:]))


@pytest.mark.parametrize(
    "changes", [{"cache_keys_values": False}, {"guidance_scale": 1.0, "image_guidance_scale": 1.0}]
)
def test_guidance_and_the_cache_of_keys_leave_the_first_steps_maps_as_they_are(pipeline, changes) -> None:
    weights = everything(pipeline)
    guided, _ = record(pipeline, weights)
    other, _ = record(pipeline, weights, **changes)
    for name, maps in guided.maps().items():
        torch.testing.assert_close(maps, other.maps()[name])


def test_recording_leaves_the_video_bit_identical_and_its_hooks_go(pipeline) -> None:
    _, video = record(pipeline, everything(pipeline))
    assert np.array_equal(video, sample(pipeline))
    with pytest.raises(KeyError), record_attention(pipeline.unet, *torch.zeros(2, 1, 1, 1, 1), torch.zeros(1, 1)):
        raise KeyError
    assert not any(layer._forward_pre_hooks for layer in pipeline.unet.cross_attentions.values())


@pytest.mark.parametrize(
    ("prompt", "word", "tokens"),
    [
        ("a red fish", "fish", {"fish</w>": 1}),
        ("A Red  FISH, at sea", "fish", {"fish</w>": 1}),
        ("a dog runs", "dog", {"do": 1, "g</w>": 1}),
        ("the dog's bone", "Dog", {"do": 1, "g</w>": 1}),
        ("a red fish swims", "red fish", {"red</w>": 1, "fish</w>": 1}),
        ("fishes and a fish", "fish", {"fish</w>": 1}),
        ("a fish at a fish", "fish", {"fish</w>": 0.5}),
        ("a 狗 at sea", "狗", {"ç": 1, "ĭ": 1, "Ĺ</w>": 1}),
        ("a dog (wet).", "dog (wet)", {"do": 1, "g</w>": 1, "(</w>": 1, "w": 1, "et</w>": 1, ")": 1}),
    ],
)
def test_a_words_tokens_are_found_by_its_place_in_the_prompt(pipeline, prompt, word, tokens) -> None:
    weights = word_weights(pipeline.tokenizer, prompt, [word])[:, 0]
    ids = pipeline.tokenizer(prompt, padding="max_length", truncation=True).input_ids
    names = pipeline.tokenizer.convert_ids_to_tokens(ids)
    assert {name: weight for name, weight in zip(names, weights.tolist(), strict=True) if weight} == tokens


def test_occurrences_of_a_word_share_its_weight_and_every_word_has_a_column(pipeline) -> None:
    weights = word_weights(pipeline.tokenizer, PROMPT, ["fish", "sea"])
    assert weights[:, 0].nonzero().flatten().tolist() == [2, 7]
    assert weights[:, 0].unique().tolist() == [0, 0.5]
    assert weights[:, 1].nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize(
    ("prompt", "word", "message"),
    [
        (PROMPT, "dog", "'dog' is not in the prompt; its words: a, Fish, at, sea, fish"),
        (PROMPT, "", "'' is not in the prompt"),
        ("a red " * 30 + "fish", "fish", "beyond the 32 tokens"),
    ],
)
def test_a_word_without_tokens_is_refused(pipeline, prompt, word, message) -> None:
    with pytest.raises(ValueError, match=message):
        word_weights(pipeline.tokenizer, prompt, [word])


def test_heat_maps_are_the_mean_of_the_layers_at_the_frames_size_or_of_those_of_one_resolution() -> None:
    fine, coarse = torch.arange(16.0).reshape(1, 16, 1), torch.full((1, 4, 1), 8.0)
    heard = AttentionRecord({"fine": 2 * fine, "coarse": coarse}, {"fine": 2, "coarse": 1})
    picture = fine.reshape(1, 1, 4, 4)
    torch.testing.assert_close(heard.heat_maps(4), (picture + 8) / 2)
    torch.testing.assert_close(heard.heat_maps(4, [4]), picture)
    torch.testing.assert_close(heard.heat_maps(4, [2]), torch.full((1, 1, 4, 4), 8.0))


def test_colours_get_lighter_and_mean_the_same_on_both_sides_and_in_all_frames() -> None:
    lightness = colour(np.linspace(0, 1, 101)) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    video = np.zeros((2, 64, 64, 3), np.uint8)
    maps = np.stack([np.full((2, 64, 64), 0.2), np.full((2, 64, 64), 0.2)]).astype(np.float32)
    maps[1, 1] = 0.4
    left, right = Side("left", video, maps[1:]), Side("right", video, maps[:1])
    first, second = (sheet([left, right], 0, "fish", [frame]) for frame in range(2))
    assert first.shape == (40 + 192 + 28, 4 * 192 + 8, 3)
    low, high = (0.75 * colour(np.array(value)) for value in (0, 1))
    middles = [(picture[136, 288], picture[136, 680]) for picture in (first, second)]
    np.testing.assert_allclose(np.array(middles), [[low, low], [high, low]], atol=0.5)


def test_the_command_writes_a_video_and_a_still_for_every_word_beside_the_video_that_generation_makes(
    pipeline, checkpoint, tmp_path: Path, capsys
) -> None:
    written = attention_maps(settings(tmp_path, checkpoint))
    assert [path.name for path in written] == ["fish.mp4", "fish.png", "at_sea.mp4", "at_sea.png"]
    for path in written[::2]:
        info = probe(path.read_bytes())
        assert (info.num_frames, info.width, info.height, info.frame_rate) == (8, 776, 260, 8)
    for path in written[1::2]:
        assert PillowImage.open(path).size == (776, 40 + 3 * 192 + 28)
    assert "sampling with FPA: APA's weights, alphas held at 1; not trained so" in capsys.readouterr().out
    still, video = np.asarray(PillowImage.open(written[1])), sample(pipeline)
    for row, frame in enumerate((0, 4, 7)):
        assert np.array_equal(still[40 + 192 * row : 232 + 192 * row : 3, :192:3], video[frame])
    first = decode(written[0].read_bytes())[0].astype(int)
    assert np.abs(first[40:232] - still[40:232]).mean() < 4  # the same first row, but for compression


def test_two_checkpoints_get_the_same_noise_prompt_and_subject(checkpoint, fpa, tmp_path: Path) -> None:
    twice = attention_maps(settings(tmp_path, checkpoint, against=str(checkpoint), words=("fish",)))
    still = np.asarray(PillowImage.open(twice[1]))[:-28]
    assert np.array_equal(still[:, :384], still[:, 392:])
    other = attention_maps(settings(tmp_path, checkpoint, against=str(fpa), words=("fish",)))
    right = np.asarray(PillowImage.open(other[1]))[40:232:3, 392:584:3]
    assert np.array_equal(right, sample(load_pipeline(fpa))[0])


def test_alphas_held_at_one_are_fixed_prompts_alignment_and_come_back(pipeline) -> None:
    before = sample(pipeline)
    with alphas_held_at_one(pipeline.unet):
        held = sample(pipeline)
    assert np.array_equal(held, sample(built("fpa")))
    assert not np.array_equal(held, before)
    assert np.array_equal(sample(pipeline), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ()}, "--words is empty"),
        ({"output": Path(__file__)}, "is a file: give a folder"),
        ({"words": ("dog",)}, "'dog' is not in the prompt"),
        ({"resolutions": (16,)}, r"no layer of .* has side \[16\]; there are \[4, 8\]"),
        ({"mask": None}, "say where the subject is by one of --subject, --mask, --box, --whole"),
        ({"against": str(ZOO)}, "has no image branch"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_sampled(
    checkpoint, tmp_path: Path, monkeypatch, changes, message
) -> None:
    monkeypatch.setattr(command, "attend", lambda *_: pytest.fail("sampled"))
    with pytest.raises(ValueError, match=message):
        attention_maps(settings(tmp_path, checkpoint, **changes))


def test_a_missing_detector_or_device_is_told_before_any_weights_are_loaded(
    checkpoint, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(command, "load_pipeline", lambda *_: pytest.fail("loaded"))
    (tmp_path / "v.yaml").write_text("mask: {grounder: zero_shot, zero_shot: {model: ./gone}}")
    by_name = settings(tmp_path, checkpoint, mask=None, subject="fish", vision=str(tmp_path / "v.yaml"))
    with pytest.raises(ValueError, match=r"mask.zero_shot.model: .*gone.* Without it: other models by --vision"):
        attention_maps(by_name)
    with pytest.raises(ValueError, match="--device abacus is none that torch has here"):
        attention_maps(replace(settings(tmp_path, checkpoint), sampling=replace(QUICK, device="abacus")))


def test_fpa_alone_has_nothing_to_be_compared_with(fpa, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is FPA already: give another checkpoint by --against"):
        attention_maps(settings(tmp_path, fpa))
