"""Vision-language models: wiring at the real classes with tiny random weights, and full sizes without weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_blip2, save_llava
from transformers import AutoModelForImageTextToText, Blip2Config, OPTConfig, PretrainedConfig, T5Config

from magdiff_curation.foreground import AnswerRequest
from magdiff_curation.image_text import ImageTextModel
from magdiff_curation.vision_config import ImageTextSettings

RNG = np.random.default_rng(0)
REQUESTS = [
    AnswerRequest(image=image, question="What is the foreground in the picture?", fields={})
    for image in RNG.integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "opt": save_blip2(root / "opt", "opt"),
        "t5": save_blip2(root / "t5", "t5"),
        "llava": save_llava(root / "llava"),
    }


def model(folder: Path, **settings) -> ImageTextModel:
    return ImageTextModel(ImageTextSettings(model=str(folder), device="cpu", max_new_tokens=6, **settings))


@pytest.mark.parametrize("kind", ["opt", "t5", "llava"])
def test_an_answer_is_what_the_model_says_after_the_prompt(folders: dict[str, Path], kind: str) -> None:
    answerer = model(folders[kind])
    answers = answerer.answer(REQUESTS)
    assert len(answers) == 3
    for answer in answers:
        assert isinstance(answer, str)
        assert "foreground" not in answer
        assert "Question" not in answer
    assert answers == answerer.answer(REQUESTS)
    assert answerer.name.startswith(f"{kind}@")


@pytest.mark.parametrize("kind", ["opt", "t5", "llava"])
def test_a_batch_says_what_each_picture_says_alone(folders: dict[str, Path], kind: str) -> None:
    assert model(folders[kind], batch_size=3).answer(REQUESTS) == model(folders[kind]).answer(REQUESTS)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("opt", ""), ("t5", ""), ("llava", "USER: Describe this picture in one short sentence. ASSISTANT:")],
)
def test_captions_are_asked_for_in_the_models_own_way(
    folders: dict[str, Path], kind: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, seen = model(folders[kind]), []
    generate = captioner._model.generate
    monkeypatch.setattr(captioner._model, "generate", lambda **inputs: (seen.append(inputs), generate(**inputs))[1])
    assert len(captioner.caption([request.image for request in REQUESTS])) == 3
    for inputs in seen:
        assert captioner._processor.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == asked


def test_the_question_reaches_the_model(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answerer, seen = model(folders["opt"]), []
    generate = answerer._model.generate
    monkeypatch.setattr(answerer._model, "generate", lambda **inputs: (seen.append(inputs), generate(**inputs))[1])
    answerer.answer(REQUESTS[:1])
    text = answerer._processor.tokenizer.decode(seen[0]["input_ids"][0], skip_special_tokens=True)
    assert text == "Question: What is the foreground in the picture? Answer:"


def test_half_precision_and_another_prompt_are_settings(folders: dict[str, Path]) -> None:
    answerer = model(folders["opt"], dtype="bfloat16", prompt="{question}")
    assert answerer._model.dtype == torch.bfloat16
    assert len(answerer.answer(REQUESTS[:1])) == 1


def test_a_model_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.*cannot be loaded.*hf download"):
        model(tmp_path / "nowhere")


def test_quantisation_without_its_package_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="bitsandbytes"):
        model(folders["opt"], quantization="int8")


OPT = OPTConfig(hidden_size=2560, ffn_dim=10240, num_hidden_layers=32, num_attention_heads=32,
                word_embed_proj_dim=2560, vocab_size=50304)  # fmt: skip
FLAN_T5_XL = T5Config(d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32, vocab_size=32128,
                      feed_forward_proj="gated-gelu", tie_word_embeddings=False)  # fmt: skip


@pytest.mark.parametrize(("text", "billions"), [(OPT, 3.8), (FLAN_T5_XL, 4.1)])
def test_the_published_blip2_has_its_size(text: PretrainedConfig, billions: float) -> None:
    # Li et al., ICML 2023, Table 2: BLIP-2 ViT-g with OPT 2.7B, and with FlanT5-XL. The paper counts the Q-Former's
    # text branch as well (188M where transformers has 105M), and T5's two embeddings apart.
    config = Blip2Config(text_config=text.to_dict(), image_token_index=32000)
    with torch.device("meta"):
        published = AutoModelForImageTextToText.from_config(config)
    assert type(published).__name__ == "Blip2ForConditionalGeneration"
    assert abs(sum(parameter.numel() for parameter in published.parameters()) / 1e9 - billions) < 0.25
