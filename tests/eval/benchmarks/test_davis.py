import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from tests_support import ZOO

from magdiff_curation.toyworld.benchmarks import write_davis
from magdiff_eval.benchmarks.davis import Davis
from magdiff_eval.run import DavisCommand, run
from magdiff_model.checkpoints import load_pipeline


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("davis")
    write_davis(folder, num_videos=1)
    return folder


def test_every_video_gives_its_four_edits_and_object_edits_keep_the_surroundings(data: Path) -> None:
    items = list(Davis(load_pipeline(ZOO), data, None).items())
    assert [item.name.rsplit("-", 1)[1] for item in items] == ["style", "object", "background", "multiple"]
    by_edit = {item.name.rsplit("-", 1)[1]: item for item in items}
    assert by_edit["style"].source.shape == (8, 480, 480, 3)
    assert np.array_equal(by_edit["object"].masks, ~by_edit["style"].masks)
    assert 0.05 < by_edit["style"].masks.mean() < 0.5
    assert by_edit["style"].prompt.endswith("watercolor painting")


def test_a_run_leaves_results_tables_and_a_page_and_goes_on_where_it_stopped(
    data: Path, tmp_path: Path, capsys
) -> None:
    settings = DavisCommand(model=ZOO, output=tmp_path, data=data, steps=1, guidance_scale=1.0, precision="fp32")
    page = run(settings)
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["rows"]) == 4
    assert results["protocol"]["steps"] == 1
    assert "| MagDiff, as published | 27.65 | 90.86 |" in (tmp_path / "results.md").read_text()
    text = page.read_text()
    assert text.count("<video") == 12
    assert "http" not in text
    rows = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_text("".join(rows[:3]))
    capsys.readouterr()
    run(settings)
    assert "4 videos, 3 of them done by earlier runs" in capsys.readouterr().out
    again = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len(again) == 4
    scores = ("textual_alignment", "frame_consistency")
    assert [json.loads(again[3])[score] for score in scores] == [json.loads(rows[3])[score] for score in scores]


def test_other_sources_of_the_challenge_are_left_out(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "d")
    table = tmp_path / "d" / "LOVEU-TGVE-2023_Dataset.csv"
    table.write_text(table.read_text() + "Youtube Videos:,,,,,\nghost,a,b,c,d,e\n")
    assert len(Davis(load_pipeline(ZOO), tmp_path / "d", None).rows) == 1


def test_missing_files_are_all_named_at_once(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unpack LOVEU-TGVE 2023 there, or make toyworld's"):
        Davis(load_pipeline(ZOO), tmp_path, None)
    shutil.copytree(data, tmp_path / "d")
    name = next((tmp_path / "d" / "Annotations" / "480p").iterdir()).name
    (tmp_path / "d" / "Annotations" / "480p" / name / "00004.png").unlink()
    mask = tmp_path / "d" / "Annotations" / "480p" / name / "00000.png"
    PillowImage.open(mask).resize((854, 480)).save(mask)
    table = tmp_path / "d" / "LOVEU-TGVE-2023_Dataset.csv"
    table.write_text(table.read_text() + "ghost,a,b,c,d,e\n")
    with pytest.raises(
        ValueError, match=r"480x480 px, its mask .* 854x480[\s\S]*no masks for frames 00004[\s\S]*no frames in .*ghost"
    ):
        Davis(load_pipeline(ZOO), tmp_path / "d", None)
