import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval.models.tiny_hub import save_clip, save_dino
from eval.scoring.tiny import moving, write_pictures
from PIL import Image as PillowImage

from magdiff_eval.metrics.clip import PROTOCOLS, frame_consistency, textual_alignment
from magdiff_eval.metrics.dino import subject_fidelity
from magdiff_eval.metrics.regions import error_inside
from magdiff_eval.models.clip import clip_of_folder
from magdiff_eval.models.dino import dino_of_folder
from magdiff_eval.score import ScoreSettings, score
from magdiff_eval.scoring.compare import compare, load_results
from magdiff_eval.scoring.metric import LoadedMetric
from magdiff_eval.scoring.video_metrics import clip_metric, dino_metric, motion_metric, pickscore_metric, regions_metric
from magdiff_eval.weights.stamps import Stamp, stamped

STAMP = Stamp(file="tiny", sha256="0", format="safetensors", checked="nothing")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    save_clip(folder / "clip")
    save_dino(folder / "dino")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three edits with all that belongs to them, and items; one video has no item, one item no video."""
    folder = tmp_path_factory.mktemp("made")
    lines: list[dict[str, Any]] = []
    for number, name in enumerate(("first", "second", "third")):
        frames = moving(number, 4)
        write_pictures(folder / "videos" / name, frames)
        write_pictures(folder / "sources" / name, frames // 2)
        kept = np.zeros(frames.shape[:3], bool)
        kept[:, 10:30, 10:40] = True
        write_pictures(folder / "kept" / name, np.where(kept[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=3))
        PillowImage.fromarray(moving(number + 9, 1)[0]).save(folder / f"{name}.png")
        PillowImage.fromarray((kept[0] * 255).astype(np.uint8)).save(folder / f"{name}-mask.png")
        lines.append(
            {
                "name": name,
                "prompt": f"a {['dog', 'cat', 'the'][number]} runs in the snow",
                "references": [f"{name}.png"],
                "reference_masks": [f"{name}-mask.png"],
                "source": f"sources/{name}",
                "masks": f"kept/{name}",
                "subject_masks": f"kept/{name}",
            }
        )
    write_pictures(folder / "videos" / "unnamed", moving(7, 4))
    lines.append({"name": "gone", "prompt": "a dog"})
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def run(made: Path, output: Path, **metrics: LoadedMetric) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    settings = ScoreSettings(
        videos=made / "videos", items=made / "items.jsonl", output=output, features=output / "f", metrics=tuple(metrics)
    )
    results = score(settings, metrics)  # type: ignore[arg-type]
    rows = [json.loads(line) for line in (output / "rows.jsonl").read_text().splitlines()]
    return results, {row["name"]: row for row in rows}


def test_clip_gives_every_video_its_alignment_and_consistency(hub: Path, made: Path, tmp_path: Path) -> None:
    clip = stamped(clip_of_folder(hub / "clip"), STAMP)
    results, rows = run(made, tmp_path, clip=clip_metric(clip, PROTOCOLS["loveu"], 8, CPU))
    wide = np.stack([np.asarray(PillowImage.fromarray(frame).resize((480, 480))) for frame in moving(0, 4)])
    with torch.no_grad():
        embeddings = clip.embed_pixels(clip.pixels(wide)).numpy()
    text = clip.embed_prompts(["a dog runs in the snow"])[0].numpy()
    expected = {
        "clip-consistency": pytest.approx(frame_consistency(embeddings), abs=1e-5),
        "clip-text": pytest.approx(textual_alignment(embeddings, text), abs=1e-5),
    }
    assert rows["first"]["scores"] == expected
    assert list(rows["unnamed"]["scores"]) == ["clip-consistency"]
    assert rows["gone"]["fault"]["reason"] == "not_there"
    assert results["scores"]["clip-text"] == pytest.approx(
        np.mean([rows[name]["scores"]["clip-text"] for name in ("first", "second", "third")])
    )
    low, high = results["intervals"]["clip-text"]
    assert low < results["scores"]["clip-text"] < high
    assert results["details"]["clip-text"]["videos"] == 3
    assert results["videos"]["faults"] == {"not_there": 1}


def test_dino_compares_with_the_items_pictures_and_cuts_both_to_the_subject(
    hub: Path, made: Path, tmp_path: Path
) -> None:
    dino = stamped(dino_of_folder(hub / "dino"), STAMP)
    reference = np.asarray(PillowImage.open(made / "first.png"))
    kept = np.s_[10:30, 10:40]

    def expected(frames: list[np.ndarray], picture: np.ndarray) -> float:
        with torch.no_grad():
            shown = torch.cat([dino.pixels(np.ascontiguousarray(frame)[None]) for frame in frames])
            given = dino.embed_pixels(dino.pixels(np.ascontiguousarray(picture)[None]))
            return subject_fidelity(dino.embed_pixels(shown).numpy(), given.numpy())

    whole = run(made, tmp_path / "whole", dino=dino_metric(dino, "none", 8, CPU))[1]
    assert whole["first"]["scores"] == {"dino": pytest.approx(expected(list(moving(0, 4)), reference), abs=1e-5)}
    assert whole["unnamed"]["faults"]["dino"]["reason"] == "item_lacks"
    results, cut = run(made, tmp_path / "cut", dino=dino_metric(dino, "bbox", 8, CPU))
    frames = [frame[kept] for frame in moving(0, 4)]
    assert cut["first"]["scores"] == {"dino": pytest.approx(expected(frames, reference[kept]), abs=1e-5)}
    assert cut["unnamed"]["faults"]["dino"]["detail"].startswith("--items says no references")
    assert results["videos"]["counted"] == {"dino": 3}


def test_an_edits_errors_are_told_apart_by_the_kept_region(made: Path, tmp_path: Path) -> None:
    results, rows = run(made, tmp_path, regions=regions_metric(), motion=motion_metric())
    frames = moving(0, 4)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 10:30, 10:40] = True
    scores = rows["first"]["scores"]
    assert scores["error-inside"] == pytest.approx(error_inside(frames, frames // 2, masks))
    assert scores["error-outside"] == pytest.approx(error_inside(frames, frames // 2, ~masks))
    assert scores["motion"] > 0
    assert list(rows["unnamed"]["scores"]) == ["motion"]
    assert results["details"]["error-inside"]["videos"] == 3


def test_a_source_of_another_size_or_that_is_broken_is_a_fault_of_its_video(made: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (made / "items.jsonl").read_text().splitlines()][:3]
    write_pictures(tmp_path / "large", moving(0, 4, 64, 96))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines[0] |= {"source": str(tmp_path / "large")}
    lines[1] |= {"source": str(tmp_path / "broken.mp4")}
    for line in lines:
        for name in ("source", "masks"):
            line[name] = str(made / line[name])
    (tmp_path / "items.jsonl").write_text(
        "\n".join(json.dumps({key: line[key] for key in ("name", "source", "masks")}) for line in lines)
    )
    settings = ScoreSettings(
        videos=made / "videos",
        items=tmp_path / "items.jsonl",
        output=tmp_path,
        features=tmp_path / "f",
        metrics=("regions",),
    )
    results = score(settings, {"regions": regions_metric()})
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    faults = {row["name"]: row["faults"].get("regions", {}) for row in rows}
    assert faults["first"]["reason"] == "companion_differs"
    assert "4 frames of 64x48 px, and" in faults["first"]["detail"]
    assert "broken.mp4, which belongs to it" in faults["second"]["detail"]
    assert not faults["third"]
    assert results["details"]["error-inside"]["videos"] == 1


def test_pickscore_is_the_scaled_cosine_and_needs_a_prompt(hub: Path, made: Path, tmp_path: Path) -> None:
    clip = stamped(clip_of_folder(hub / "clip"), STAMP)
    _, rows = run(made, tmp_path, pickscore=pickscore_metric(clip, 8, CPU))
    with torch.no_grad():
        embeddings = clip.embed_pixels(clip.pixels(moving(1, 4))).numpy()
    text = clip.embed_prompts(["a cat runs in the snow"])[0].numpy()
    assert rows["second"]["scores"]["pickscore"] == pytest.approx(
        clip.scale * textual_alignment(embeddings, text), rel=1e-4
    )
    assert rows["unnamed"]["faults"]["pickscore"]["reason"] == "item_lacks"


def test_two_runs_compare_video_by_video(made: Path, tmp_path: Path) -> None:
    run(made, tmp_path / "a", motion=motion_metric())
    run(made, tmp_path / "b", motion=motion_metric())
    (motion,) = compare(load_results(tmp_path / "a"), load_results(tmp_path / "b")).scores
    assert (motion.score, motion.num_pairs, motion.difference) == ("motion", 4, 0)


def test_items_of_other_videos_are_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("name,prompt\nother,a dog\n")
    settings = ScoreSettings(videos=made / "videos", items=tmp_path / "items.csv", output=tmp_path, metrics=("motion",))
    with pytest.raises(ValueError, match="the first video is first, the first item other"):
        score(settings, {"motion": motion_metric()})
