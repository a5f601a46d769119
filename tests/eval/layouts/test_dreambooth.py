from pathlib import Path

import pytest
from eval.layouts.small import dreambooth, expression, picture, text

from magdiff_eval.layouts.dreambooth import list_dreambooth
from magdiff_eval.layouts.item import check

SUBJECTS = {"backpack_dog": "backpack", "dog6": "dog"}


def test_each_subject_takes_its_own_list_without_the_unique_token(tmp_path: Path) -> None:
    dreambooth(tmp_path, SUBJECTS)
    listing = list_dreambooth(tmp_path)
    check(listing)
    items = {item.name: item for item in listing.items}
    assert len(items) == 50
    assert items["backpack_dog/07"].prompt == items["backpack_dog/07"].clip_prompt == "a backpack in place 7"
    assert items["dog6/07"].prompt == "a dog wearing hat 7"
    assert (items["dog6/07"].label, items["dog6/07"].group, items["dog6/07"].seed) == ("dog", "dog6", 32)
    assert listing.stamp["subjects"]["prompts"] == {"backpack_dog": "object", "dog6": "live"}


def test_prompts_go_round_the_pictures_and_all_pictures_are_references(tmp_path: Path) -> None:
    dreambooth(tmp_path, SUBJECTS, num_pictures=4)
    items = {item.name: item for item in list_dreambooth(tmp_path).items}
    folder = tmp_path / "dataset" / "dog6"
    assert [items[f"dog6/0{number}"].source.name for number in (0, 3, 4, 7)] == ["00.jpg", "03.jpg", "00.jpg", "03.jpg"]
    assert items["dog6/00"].references == tuple(folder / f"0{number}.jpg" for number in range(4))


def test_more_pictures_for_a_prompt_leave_the_first_videos_and_their_seeds_as_they_were(tmp_path: Path) -> None:
    dreambooth(tmp_path, SUBJECTS)
    one, two = list_dreambooth(tmp_path), list_dreambooth(tmp_path, images_per_prompt=2)
    check(two)
    assert two.items[:50] == one.items
    second = {item.name: item for item in two.items[50:]}
    assert second["dog6/07-2"].prompt == "a dog wearing hat 7"
    assert second["dog6/07-2"].source.name == "02.jpg"
    assert second["dog6/07-2"].seed == 82
    assert two.stamp["images_per_prompt"] == 2


def test_subjects_of_ones_own_take_the_list_of_their_class(tmp_path: Path) -> None:
    dreambooth(tmp_path, {"rex": "dog", "mug 7": "mug"}, prompts=["a {0} {1} in place 1"])
    listing = list_dreambooth(tmp_path)
    check(listing)
    assert [item.prompt for item in listing.items] == ["a dog wearing hat 1", "a mug in place 1"]
    assert any("2 subjects are not DreamBooth's 30" in note and "rex live" in note for note in listing.notes)


def test_windows_line_ends_and_a_mark_change_nothing(tmp_path: Path) -> None:
    path = dreambooth(tmp_path, SUBJECTS)
    plain = list_dreambooth(tmp_path).items
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list_dreambooth(tmp_path).items == plain


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    path = dreambooth(tmp_path, {**SUBJECTS, "can": "can", "vase": "vase"})
    folder = tmp_path / "dataset"
    (folder / "can").rename(folder / "tin")
    for file in (folder / "vase").iterdir():
        file.unlink()
    (folder / "dog6" / "01.jpg").write_bytes(b"<html>")
    content = path.read_text().replace("vase,vase\n", "vase,vase\nVase,vase\n../x,dog\nclock\n")
    first, second = expression("a {0} {1} in place 0"), expression("a {0} {1} in place 1")
    content = content.replace(first, "__import__('os').system('x')").replace(second, expression("a {0} {2} there"))
    content = content.replace(expression("a {0} {1} wearing hat 3"), expression("a {0} {1} wearing hat 2"))
    path.write_text(content)
    expected = [
        "line 8: 'Vase,vase' is no subject and class (it is there already)",
        "line 9: '../x,dog' is no subject and class (it has a slash in it)",
        "line 10: 'clock' is no subject and class (it needs two cells)",
        "line 17: \"__import__('os').system('x'),\" is no prompt that can be read",
        "(need {0} and {1} once each",
        "is no prompt that can be read (it is there already)",
        "has 23 object prompts, DreamBooth 25",
        "has 24 live prompts, DreamBooth 25",
        "there is no folder " + str(folder / "can"),
        "vase has no picture",
        "01.jpg is no picture that can be read",
    ]
    listing = list_dreambooth(tmp_path)
    for fault in expected:
        assert sum(fault in found for found in listing.faults) == 1, (fault, listing.faults)
    with pytest.raises(ValueError, match=f"dreambooth has {len(expected)} faults"):
        check(listing)
    assert any("tin is no subject of prompts_and_classes.txt, and ignored" in note for note in listing.notes)


@pytest.mark.parametrize("prompt", ["a {0} {1} {0}", "a {1}", "a {0} {1!r}", "a {0} {1} {", r"a {0} {1} \x41"])
def test_a_prompt_with_other_than_the_two_fields_is_a_fault(tmp_path: Path, prompt: str) -> None:
    dreambooth(tmp_path, {"mug 7": "mug"}, prompts=["a {0} {1} in place 1", prompt])
    faults = list_dreambooth(tmp_path).faults
    assert ["need {0} and {1} once each, and no backslash" in fault for fault in faults] == [True, True]


def test_other_files_beside_pictures_are_noted(tmp_path: Path) -> None:
    dreambooth(tmp_path, SUBJECTS)
    text(tmp_path / "dataset" / "dog6" / "licence.txt", "x")
    picture(tmp_path / "dataset" / "dog6" / "\N{DOG FACE} im Schnee.PNG")
    listing = list_dreambooth(tmp_path)
    check(listing)
    assert len(listing.items[-1].references) == 4
    assert any("licence.txt is no picture, and ignored" in note for note in listing.notes)


def test_missing_parts_of_the_file_are_named(tmp_path: Path) -> None:
    assert "benchmark --name dreambooth" in list_dreambooth(tmp_path / "nowhere").faults[0]
    (tmp_path / "dataset").mkdir()
    assert "prompts_and_classes.txt: unpack DreamBooth's data there" in list_dreambooth(tmp_path).faults[0]
    text(tmp_path / "dataset" / "prompts_and_classes.txt", "Classes\n")
    faults = list_dreambooth(tmp_path).faults
    assert ["no row below 'subject_name,class'" in faults[0], "Object Prompts" in faults[1]] == [True, True]
    assert "Live Subject Prompts" in faults[2]


def test_fewer_than_one_picture_or_subject_is_a_fault(tmp_path: Path) -> None:
    dreambooth(tmp_path, SUBJECTS)
    faults = list_dreambooth(tmp_path, images_per_prompt=0, num_subjects=-1).faults
    assert faults == ("num_subjects is -1: give 1 or more", "images_per_prompt is 0: give 1 or more")
    assert {item.group for item in list_dreambooth(tmp_path, num_subjects=1).items} == {"backpack_dog"}
