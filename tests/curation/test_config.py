import importlib.resources
import re
from dataclasses import replace
from pathlib import Path

import pytest

from magdiff_curation.config import PRESETS, CurationSettings, load_settings
from magdiff_curation.vision_config import MaskSettings, SamSettings

CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[2] / "pipelines" / "configs").glob("*.yaml"))
    if "train" not in path.name
]
CHOICES = {
    None: ("manifest", "manifest", "grabcut", "optical_flow"),
    "manifest": ("manifest", "manifest", "grabcut", "optical_flow"),
    "toyworld": ("image_text", "zero_shot", "sam", "reprompt"),
    "full": ("image_text", "zero_shot", "sam", "sam2"),
}
"""Preset -> who answers, who finds, who segments, who tracks."""


def choices(settings: CurationSettings) -> tuple[str, str, str, str]:
    return settings.answer.backend, settings.mask.grounder, settings.mask.segmenter, settings.mask.tracker


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_settings_file_loads(path: Path) -> None:
    assert load_settings(path).source


@pytest.mark.parametrize("preset", CHOICES)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_preset_chooses_its_models_under_every_shipped_settings_file(path: Path, preset: str | None) -> None:
    settings = load_settings(path, preset)
    assert choices(settings) == CHOICES[preset]
    assert (settings.source, settings.output) == (load_settings(path).source, load_settings(path).output)


def test_every_preset_is_a_file_and_every_file_a_preset() -> None:
    folder = importlib.resources.files("magdiff_curation").joinpath("presets")
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(f"{name}.yaml" for name in PRESETS)
    assert set(PRESETS) == set(CHOICES) - {None}


def test_a_preset_says_which_weights_and_how_much_of_a_gpu(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    full, toyworld = load_settings(path, "full"), load_settings(path, "toyworld")
    assert full.answer.image_text.model == "Salesforce/blip2-opt-2.7b"
    assert (full.answer.image_text.batch_size, full.answer.image_text.dtype) == (16, "bfloat16")
    assert full.mask.sam.weights == Path("models/sam_vit_b_01ec64.pth")
    assert (full.engine.answer.num_gpus, full.engine.mask.num_gpus, full.engine.label.num_gpus) == (0.5, 0.5, 0)
    assert toyworld.mask.sam.weights == Path("zoo/toyworld_vision/sam")
    models = (toyworld.answer.image_text, toyworld.mask.zero_shot, toyworld.mask.sam)
    assert [model.device for model in models] == ["cpu"] * 3


def test_what_the_file_says_goes_over_the_preset_key_by_key(tmp_path: Path) -> None:
    text = "answer: {image_text: {model: here/blip2}}\nmask: {tracker: deaot, zero_shot: {threshold: 0.3}}"
    settings = load_settings(written(tmp_path, text), "full")
    assert choices(settings) == ("image_text", "zero_shot", "sam", "deaot")
    assert settings.answer.image_text.model == "here/blip2"
    assert settings.answer.image_text.batch_size == 16
    assert settings.mask.zero_shot.threshold == 0.3
    assert settings.mask.zero_shot.model == "IDEA-Research/grounding-dino-tiny"


@pytest.mark.parametrize("preset", ["fulll", "../configs/default", ""])
def test_an_unknown_preset_is_refused_with_those_there_are(tmp_path: Path, preset: str) -> None:
    with pytest.raises(ValueError, match=f"no preset '{re.escape(preset)}'; the presets are manifest, toyworld, full"):
        load_settings(written(tmp_path, ""), preset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outptu: x", "did you mean 'output'"),
        ("filters: {min_short_side: 3}", "did you mean 'min_short_side_px'"),
        ("filters: {min_short_side_px: many}", "filters: min_short_side_px is 'many'; it must be of type int"),
        ("filters: {area_frames: last}", "must be one of 'first', 'mean', 'every'"),
        ("filters: 3", "expected a mapping"),
        ("filters: {min_area_ratio: 0.1", r"settings.yaml is not YAML: .*line 1"),
    ],
)
def test_mistakes_are_refused_with_the_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_settings(path)


def test_the_result_hash_changes_with_results_only(tmp_path: Path) -> None:
    settings = CurationSettings()
    assert replace(settings, output=Path("elsewhere"), limit=3).result_sha256() == settings.result_sha256()
    words = tmp_path / "words.yaml"
    hashes = set()
    for text in ("animal: [dog]", "animal: [dog, cat]"):
        words.write_text(text)
        hashes.add(replace(settings, label=replace(settings.label, subject_words=words)).result_sha256())
    assert len(hashes | {settings.result_sha256()}) == 3
    changed = replace(settings, filters=replace(settings.filters, min_area_ratio=0.1))
    assert changed.result_sha256() != settings.result_sha256()


@pytest.mark.parametrize(
    "text",
    [
        "answer: {backend: image_text}",
        "answer: {image_text: {model: Salesforce/blip2-flan-t5-xl}}",
        "answer: {image_text: {revision: abc}}",
        "answer: {image_text: {dtype: bfloat16}}",
        "answer: {question: 'What is it?'}",
        "answer: {missing_caption: make}",
        "mask: {backend: sam3}",
        "mask: {grounder: zero_shot}",
        "mask: {zero_shot: {model: google/owlv2-base-patch16-ensemble}}",
        "mask: {zero_shot: {threshold: 0.3}}",
        "mask: {segmenter: sam}",
        "mask: {sam: {weights: models/sam_vit_h_4b8939.pth}}",
        "mask: {tracker: sam2}",
        "mask: {sam2: {model: facebook/sam2.1-hiera-tiny}}",
        "mask: {deaot: {model: swinb_deaotl}}",
        "mask: {deaot: {weights: elsewhere.pth}}",
        "mask: {sam3: {model: elsewhere}}",
        "mask: {sam_track: {key_frame_interval: 49}}",
        "split: {detector: content}",
        "motion: {min_own_motion: 0.006}",
        "duplicates: {method: phash}",
        "filters: {training_view: {crop: none}}",
        "label: {noun_unit: chunks}",
        "caption_columns: [caption, title]",
    ],
)
def test_every_choice_of_a_model_or_a_rule_changes_the_result_hash(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text)).result_sha256() != CurationSettings().result_sha256()


@pytest.mark.parametrize("text", ["engine: {max_attempts: 16, mask: {num_gpus: 1}}", "shard_megabytes: 1", "limit: 3"])
def test_how_a_run_is_spread_does_not_change_the_result_hash(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text)).result_sha256() == CurationSettings().result_sha256()


def test_weights_trained_again_under_the_same_name_are_other_settings(tmp_path: Path) -> None:
    weights = tmp_path / "sam_vit_b.pth"
    settings = CurationSettings(mask=MaskSettings(segmenter="sam", sam=SamSettings(weights=weights)))
    hashes = {settings.result_sha256()}
    for content in (b"1", b"2"):
        weights.write_bytes(content)
        hashes.add(replace(settings).result_sha256())  # looked up once by each
    assert len(hashes) == 3
