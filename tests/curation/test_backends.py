"""What is missing is said before anything is loaded or started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from magdiff_curation import hub
from magdiff_curation.backends import check_models, new_answerer, new_captioner
from magdiff_curation.vision_config import (
    AnswerSettings,
    ImageTextSettings,
    MaskSettings,
    SamSettings,
    ZeroShotSettings,
)


class Hub:
    def __init__(self, there: bool) -> None:
        self.there = there

    def model_info(self, model: str, **_options: object) -> None:
        if not self.there:
            raise RuntimeError(f"404: {model}")


def use_hub(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(hub, "HfApi", lambda: Hub(there))
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_names, **_options: None)


BLIP2 = AnswerSettings(backend="image_text")


def test_nothing_is_asked_for_where_the_manifest_answers() -> None:
    check_models(AnswerSettings(), MaskSettings())


def test_a_model_that_the_hub_has_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, there=True)
    check_models(BLIP2, MaskSettings(grounder="zero_shot", tracker="sam2"))


def test_a_model_that_is_nowhere_is_named_with_its_setting_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, there=False)
    with pytest.raises(ValueError, match=r"answer.image_text.model: .*blip2-opt-2.7b.*404.*hf download Salesforce"):
        check_models(BLIP2, MaskSettings())
    with pytest.raises(ValueError, match=r"mask.sam3.model: .*facebook/sam3"):
        check_models(AnswerSettings(), MaskSettings(backend="sam3"))


def test_a_folder_is_taken_as_it_is_and_a_missing_one_is_named(tmp_path: Path) -> None:
    check_models(replace(BLIP2, image_text=ImageTextSettings(model=str(tmp_path))), MaskSettings())
    detector = ZeroShotSettings(model=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"mask.zero_shot.model: there is no folder .*nowhere"):
        check_models(AnswerSettings(), MaskSettings(grounder="zero_shot", zero_shot=detector))


@pytest.mark.parametrize("part", ["segmenter", "tracker"])
def test_missing_weights_are_named(tmp_path: Path, part: str) -> None:
    mask = MaskSettings(segmenter="sam", sam=SamSettings(weights=tmp_path / "sam_vit_b.pth"))
    if part == "tracker":
        mask = MaskSettings(tracker="deaot")
    with pytest.raises(ValueError, match=r"mask.(sam|deaot).weights: there is no .*pth here"):
        check_models(AnswerSettings(), mask)


def test_captions_cannot_be_made_without_a_model() -> None:
    settings = AnswerSettings(missing_caption="make")
    with pytest.raises(ValueError, match=r"needs answer.backend 'image_text'"):
        new_captioner(settings, new_answerer(settings))
