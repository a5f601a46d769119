"""`ZeroShotGrounder` on tiny random checkpoints of two kinds of detector, and the published size without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_grounding_dino, save_owlv2
from transformers import AutoModelForZeroShotObjectDetection, GroundingDinoConfig

from magdiff_curation.grounding import Detection, GroundingRequest
from magdiff_curation.sam_track import box_overlap
from magdiff_curation.vision_config import ZeroShotSettings
from magdiff_curation.zero_shot import ZeroShotGrounder

HEIGHT, WIDTH = 50, 96
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ALL = {"threshold": 0.0, "overlap": 1.0}
KINDS = pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("detectors")
    return {
        "grounding_dino": save_grounding_dino(root / "grounding_dino"),
        "owlv2": save_owlv2(root / "owlv2"),
    }


def grounder(folder: Path, **settings: Any) -> ZeroShotGrounder:
    return ZeroShotGrounder(ZeroShotSettings(model=str(folder), device="cpu", **settings))


def ground(model: ZeroShotGrounder, label: str) -> list[Detection]:
    return model.ground(
        GroundingRequest(image=IMAGE, frame=0, label=label, source_size=(2 * WIDTH, 2 * HEIGHT), fields={})
    )


def tokens_seen(model: ZeroShotGrounder, label: str) -> list[int]:
    """Return the token ids that the text encoder gets for a label."""
    seen: list[torch.Tensor] = []
    hook = model._model.register_forward_pre_hook(
        lambda _module, _arguments, named: seen.append(named["input_ids"]), with_kwargs=True
    )
    ground(model, label)
    hook.remove()
    (tokens,) = seen
    return tokens.flatten().tolist()


@pytest.fixture
def scripted(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    """Return a function from settings and what a detector sees to the detections."""

    def detections(boxes: list[list[float]], scores: list[float], **settings: Any) -> list[Detection]:
        model = grounder(folders["owlv2"], **settings)
        found = {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores)}
        monkeypatch.setattr(
            model._processor, "post_process_grounded_object_detection", lambda *_arguments, **_named: [found]
        )
        return ground(model, "dog")

    return detections


@KINDS
def test_boxes_lie_within_the_picture_best_first(folders: dict[str, Path], kind: str) -> None:
    found = ground(grounder(folders[kind], **ALL), "dog")
    assert len(found) > 5
    for detection in found:
        x0, y0, x1, y1 = detection.box
        assert 0 <= x0 <= x1 - 1 <= WIDTH - 1
        assert 0 <= y0 <= y1 - 1 <= HEIGHT - 1
    scores = [detection.score for detection in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1


@KINDS
def test_the_same_picture_and_label_give_the_same_boxes_and_another_label_others(
    folders: dict[str, Path], kind: str
) -> None:
    model = grounder(folders[kind], **ALL)
    first = ground(model, "dog")
    assert ground(model, "rabbit") != first
    assert ground(model, "dog") == first
    assert ground(grounder(folders[kind], **ALL), "dog") == first
    assert model.name == grounder(folders[kind]).name
    assert model.name.startswith(f"{kind}@")


@KINDS
def test_boxes_under_the_threshold_are_left_out(folders: dict[str, Path], kind: str) -> None:
    everything = ground(grounder(folders[kind], **ALL), "dog")
    threshold = everything[3].score - 1e-4
    found = ground(grounder(folders[kind], threshold=threshold, overlap=1.0), "dog")
    assert found == [detection for detection in everything if detection.score > threshold]
    assert 4 <= len(found) < len(everything)


@KINDS
def test_of_boxes_that_overlap_only_the_best_stays(folders: dict[str, Path], kind: str) -> None:
    everything = ground(grounder(folders[kind], **ALL), "dog")
    overlaps = [
        box_overlap(left.box, right.box) for index, left in enumerate(everything) for right in everything[:index]
    ]
    limit = max(overlaps) - 1e-3  # random boxes overlap little, so that this is where at least one goes
    expected: list[Detection] = []
    for detection in everything:
        if all(box_overlap(detection.box, better.box) <= limit for better in expected):
            expected.append(detection)
    assert ground(grounder(folders[kind], threshold=0.0, overlap=limit), "dog") == expected
    assert len(expected) < len(everything)


def test_boxes_are_clipped_and_those_that_leave_nothing_go(scripted) -> None:
    boxes = [[-20.0, -5.0, 30.0, 40.0], [60.0, 20.0, 200.0, 90.0], [-30.0, 0.0, -1.0, 20.0], [40.0, 10.0, 40.5, 30.0]]
    found = scripted(boxes, [0.5, 0.9, 0.95, 0.8])
    assert found == [
        Detection(box=(60.0, 20.0, 96.0, 50.0), score=0.9),
        Detection(box=(0.0, 0.0, 30.0, 40.0), score=0.5),
    ]


def test_boxes_over_the_share_of_the_frame_go_before_they_can_hide_smaller_ones(scripted) -> None:
    boxes, scores = [[0.0, 0.0, 96.0, 50.0], [10.0, 0.0, 90.0, 50.0], [10.0, 10.0, 40.0, 40.0]], [0.9, 0.8, 0.7]
    assert [detection.score for detection in scripted(boxes, scores)] == [0.9, 0.7]
    assert [detection.score for detection in scripted(boxes, scores, max_box_ratio=0.9)] == [0.8, 0.7]
    assert [detection.score for detection in scripted(boxes, scores, max_box_ratio=0.5)] == [0.7]


def test_nothing_found_is_an_empty_list(folders: dict[str, Path]) -> None:
    assert ground(grounder(folders["owlv2"], threshold=0.999), "dog") == []


def test_grounding_dino_reads_the_label_in_small_letters_with_one_closing_dot(folders: dict[str, Path]) -> None:
    model = grounder(folders["grounding_dino"])
    names = model._processor.tokenizer.convert_ids_to_tokens(tokens_seen(model, "A Dog."))
    assert names == ["[CLS]", "a", "dog", ".", "[SEP]"]
    assert tokens_seen(model, "a dog") == tokens_seen(model, "A Dog.")
    inner = model._processor.tokenizer.convert_ids_to_tokens(tokens_seen(model, "a.dog rabbit"))
    assert inner == ["[CLS]", "a", "dog", "rabbit", ".", "[SEP]"]  # one label, not two


def test_a_label_longer_than_the_text_encoder_reads_is_cut(folders: dict[str, Path]) -> None:
    model = grounder(folders["owlv2"], **ALL)
    tokens = tokens_seen(model, "a very long name of a dog")
    assert len(tokens) == 16
    assert tokens[-1] == model._processor.tokenizer.eos_token_id
    assert ground(model, "averylongnameofadog") == ground(model, "averylongnameofacat")


def test_the_length_is_the_models_whatever_the_tokenizer_was_saved_with(tmp_path: Path) -> None:
    folder = save_owlv2(tmp_path / "owlv2")
    path = folder / "tokenizer_config.json"
    saved = json.loads(path.read_text())
    assert saved["model_max_length"] == 16
    path.write_text(json.dumps(saved | {"max_length": 32}))
    assert len(tokens_seen(grounder(folder), "dog")) == 16


def test_half_precision_is_a_setting(folders: dict[str, Path]) -> None:
    model = grounder(folders["owlv2"], dtype="bfloat16", **ALL)
    assert model._model.dtype == torch.bfloat16
    assert len(ground(model, "dog")) > 5


def test_a_missing_checkpoint_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere' cannot be loaded .*give a folder .*hf download .*nowhere"):
        grounder(tmp_path / "nowhere")


def test_the_published_grounding_dino_has_its_size() -> None:
    """Liu et al., 2023, comparing sizes with GLIP-T in the appendix: Grounding DINO T has 172 million parameters."""
    with torch.device("meta"):
        published = AutoModelForZeroShotObjectDetection.from_config(GroundingDinoConfig())
    assert type(published).__name__ == "GroundingDinoForObjectDetection"
    assert sum(parameter.numel() for parameter in published.parameters()) / 1e6 == pytest.approx(172, abs=1)
