import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from eval.layouts.small import davis, dreambooth, frames, msrvtt, ucf101

from magdiff_eval.layouts.davis import LABELS, list_davis
from magdiff_eval.layouts.dreambooth import SUBJECTS, list_dreambooth
from magdiff_eval.layouts.findings import Findings
from magdiff_eval.layouts.frames import sampled_frames
from magdiff_eval.layouts.item import Item, items_stamp
from magdiff_eval.layouts.msrvtt import list_msrvtt
from magdiff_eval.layouts.tables import read_keyed
from magdiff_eval.layouts.ucf101 import PROMPTS, list_ucf101


def shipped(path: Path, key: str, columns: list[str]) -> list[dict[str, str]]:
    findings = Findings()
    rows = read_keyed(path, key, columns, findings)
    assert findings.faults == []
    return [row.cells for row in rows.values()]


def test_eight_frames_are_spread_from_the_first_to_the_last() -> None:
    assert sampled_frames(32).tolist() == [0, 4, 9, 13, 18, 22, 27, 31]
    assert sampled_frames(8).tolist() == list(range(8))
    assert sampled_frames(3, 1).tolist() == [0]
    assert sampled_frames(128).dtype == "int64"
    with pytest.raises(ValueError, match="8 frames are wanted of a video of 7"):
        sampled_frames(7)
    with pytest.raises(ValueError, match="0 frames are wanted"):
        sampled_frames(7, 0)


def test_the_challenges_sixteen_videos_have_labels() -> None:
    rows = shipped(LABELS, "video", ["label"])
    assert len(rows) == 16
    assert {"gold-fish", "varanus-cage", "stunt"} < {row["video"] for row in rows}
    assert all(row["label"].isalpha() and row["label"].islower() for row in rows)


def test_all_hundred_and_one_classes_have_prompts_of_their_own() -> None:
    rows = shipped(PROMPTS, "class", ["prompt", "label"])
    assert len(rows) == len({row["prompt"] for row in rows}) == 101
    assert {"ApplyEyeMakeup", "HandstandPushups", "YoYo"} < {row["class"] for row in rows}
    assert all(row["label"] and row["prompt"] == row["prompt"].strip(".").lower() for row in rows)
    assert all(3 <= len(row["prompt"].split()) <= 10 for row in rows)


def test_twenty_one_objects_and_nine_live_subjects_of_fifteen_classes_have_their_lists() -> None:
    rows = shipped(SUBJECTS, "subject", ["class", "prompts"])
    lists = [row["prompts"] for row in rows]
    assert (len(rows), lists.count("object"), lists.count("live")) == (30, 21, 9)
    assert len({row["class"] for row in rows}) == 15
    assert {row["class"] for row in rows if row["prompts"] == "live"} == {"cat", "dog"}


def test_stamps_are_json_and_have_no_path_of_the_machine(tmp_path: Path) -> None:
    davis(tmp_path / "davis")
    ucf101(tmp_path / "ucf101", {"ToySpin": 2})
    msrvtt(tmp_path / "msrvtt")
    dreambooth(tmp_path / "dreambooth", {"dog6": "dog"})
    for name, reader in {
        "davis": list_davis,
        "ucf101": list_ucf101,
        "msrvtt": list_msrvtt,
        "dreambooth": list_dreambooth,
    }.items():
        stamp = reader(tmp_path / name).stamp
        assert stamp["benchmark"] == name
        assert str(tmp_path) not in json.dumps(stamp)
        (tmp_path / name).rename(tmp_path / f"moved {name}")
        assert reader(tmp_path / f"moved {name}").stamp == stamp


def test_whatever_an_item_says_changes_the_stamp(tmp_path: Path) -> None:
    dreambooth(tmp_path, {"dog6": "dog"})
    items = list_dreambooth(tmp_path).items
    others = {"name": "x", "group": "x", "task": "edit", "prompt": "x", "clip_prompt": "x", "source": tmp_path / "x"}
    others |= {"references": (), "masks": tmp_path / "x", "label": "x", "kept": "surroundings", "seed": 99}
    assert set(others) == {field.name for field in dataclasses.fields(Item)}
    for name, value in others.items():
        changed = [dataclasses.replace(items[0], **{name: value}), *items[1:]]
        assert items_stamp(changed, tmp_path) != items_stamp(items, tmp_path), name


def test_a_fault_with_a_name_that_is_no_utf8_is_one_printable_line(tmp_path: Path) -> None:
    davis(tmp_path, ["bear"])
    (frames(tmp_path, "bear").parent / "b\udce4r\n2").mkdir()
    (fault,) = list_davis(tmp_path).faults
    assert "b\\udce4r\\n2 is in no row" in fault
    assert fault.isprintable()


def test_reading_a_folder_loads_no_model_package() -> None:
    names = ("davis", "ucf101", "msrvtt", "dreambooth")
    imports = "; ".join(f"import magdiff_eval.layouts.{name}" for name in names)
    script = f"{imports}; import sys; print(sorted({{'torch', 'diffusers', 'transformers', 'av'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"
