"""Every row of the paper's Tables 5, 6 and 7 is settings of training, as docs/model.md lists them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests_support import ZOO

from magdiff_curation.toyworld.scene import render, sample_scene
from magdiff_model.alignments import choose_trainable
from magdiff_model.checkpoints import load_pipeline
from magdiff_model.config import parse
from magdiff_model.training.settings import TrainSettings
from magdiff_model.training.setup import with_alignments

DOCS = Path(__file__).parents[2] / "docs" / "model.md"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in DOCS.read_text().splitlines()
    if line.startswith(("| 5:", "| 6:", "| 7:"))
]


def test_the_tables_have_all_their_rows() -> None:
    assert [row[0][0] for row in ROWS] == ["5"] * 6 + ["6"] * 2 + ["7"] * 4


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_row_builds_the_model_that_it_names_and_samples(row) -> None:
    arguments = row[1].strip("`").split() if row[1] != "the defaults" else []
    settings = parse(TrainSettings, ["--shards", "s", *arguments], "train")
    torch.manual_seed(0)
    pipeline = with_alignments(load_pipeline(ZOO), settings)
    pipeline.set_progress_bar_config(disable=True)
    layers = list(pipeline.unet.cross_attentions.values())
    table_5 = {"5: HFA": (True, False, False), "5: APA": (False, True, False), "5: HFA + APA": (True, True, False)}
    table_5 |= {"5: HFA + SDA": (True, False, True), "5: APA + SDA": (False, True, True)}
    hfa, apa, sda = table_5.get(row[0], (True, True, True))
    assert hasattr(pipeline.unet, "hfa") == hfa
    assert all((layer.mode != "text_only") == apa for layer in layers)
    assert pipeline.config.subject_masked == sda
    if apa:
        alphas = {(round(layer.alpha_text.item(), 3), round(layer.alpha_image.item(), 3)) for layer in layers}
        fixed = {"7: .3 and .7": (0.3, 0.7), "7: .5 and .5": (0.5, 0.5), "7: .7 and .3": (0.7, 0.3)}
        assert alphas == {fixed.get(row[0], (1.0, 1.0))}
        held = row[0] in fixed or row[0] == "6: FPA"
        assert len(choose_trainable(pipeline.unet, "transformers").alphas) == (0 if held else 2 * len(layers))
    frames, masks = render(sample_scene(3, 1), height=96, width=96, num_frames=8)
    video = pipeline("a fish", frames[:1], masks[:1], num_inference_steps=1, guidance_scale=1.0).frames
    assert video.shape == (1, 8, 64, 64, 3)
    assert np.ptp(video) > 0
