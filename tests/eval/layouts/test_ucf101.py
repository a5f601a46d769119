from pathlib import Path

import pytest
from eval.layouts.small import text, ucf101

from magdiff_eval.layouts.item import check
from magdiff_eval.layouts.ucf101 import list_ucf101

CLASSES = {"ApplyEyeMakeup": 2, "HorseRiding": 3, "ToySpin": 1}


def test_classes_take_turns_and_go_round_their_test_videos_with_new_seeds(tmp_path: Path) -> None:
    ucf101(tmp_path, CLASSES)
    listing = list_ucf101(tmp_path, num_videos=10)
    check(listing)
    assert [item.name for item in listing.items[:4]] == [
        "ApplyEyeMakeup/00000",
        "HorseRiding/00000",
        "ToySpin/00000",
        "ApplyEyeMakeup/00001",
    ]
    makeup = [item for item in listing.items if item.group == "ApplyEyeMakeup"]
    assert [item.source.name[-7:] for item in makeup] == ["c01.avi", "c02.avi", "c01.avi", "c02.avi"]
    assert [item.seed for item in listing.items] == list(range(10))
    assert {(item.task, item.kept) for item in listing.items} == {("generate", "subject")}
    assert makeup[0].prompt == makeup[0].clip_prompt == "a person applying eye makeup"
    assert makeup[0].label == "person"


def test_the_papers_ten_thousand_begin_as_any_fewer_do(tmp_path: Path) -> None:
    ucf101(tmp_path, CLASSES)
    whole = list_ucf101(tmp_path)
    check(whole)
    assert len(whole.items) == 10_000
    assert whole.items[:7] == list_ucf101(tmp_path, num_videos=7).items
    assert whole.stamp["split"]["count"] == 6


def test_a_class_that_the_table_lacks_is_called_by_its_words_which_is_noted_and_stamped(tmp_path: Path) -> None:
    ucf101(tmp_path, CLASSES)
    listing = list_ucf101(tmp_path, num_videos=3)
    assert (listing.items[2].prompt, listing.items[2].label) == ("toy spin", "")
    assert any("1 classes are not in ucf101_prompts.csv" in note for note in listing.notes)
    assert listing.stamp["prompts"]["by_rule"] == ["ToySpin"]


def test_prompts_may_be_ones_own_and_are_stamped(tmp_path: Path) -> None:
    ucf101(tmp_path / "d", {"ToySpin": 1})
    own = text(tmp_path / "own.csv", "\ufefflabel,class,prompt\r\ntoy,toyspin,a toy that spins\r\n")
    listing = list_ucf101(tmp_path / "d", num_videos=1, prompts=own)
    check(listing)
    assert (listing.items[0].prompt, listing.items[0].label) == ("a toy that spins", "toy")
    assert listing.stamp["prompts"]["table"]["name"] == "own.csv"
    assert listing.stamp["prompts"]["by_rule"] == []


def test_windows_line_ends_and_the_sets_own_capitals_are_taken(tmp_path: Path) -> None:
    ucf101(tmp_path, {"HandstandPushups": 2}, end="\r\n")
    folder = tmp_path / "UCF-101" / "HandstandPushups"
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("v_Handstand", "v_HandStand")))
    listing = list_ucf101(tmp_path, num_videos=2)
    check(listing)
    assert listing.items[0].source == folder / "v_HandStandPushups_g01_c01.avi"
    assert listing.items[0].prompt == "a person doing handstand push-ups"


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    lists = ucf101(tmp_path, CLASSES)
    videos = tmp_path / "UCF-101"
    (videos / "HorseRiding" / "v_HorseRiding_g01_c02.avi").unlink()
    (videos / "HorseRiding" / "v_HorseRiding_g01_c03.avi").write_bytes(b"")
    (videos / "Stray").mkdir()
    with (lists / "classInd.txt").open("a") as file:
        file.write("4 Empty\n3 ToySpin\nBowling\n")
    with (lists / "testlist01.txt").open("ab") as file:
        file.write(b"ToySpin/v_ToySpin_g01_c01.avi\nOther/v_x.avi\n../../x.avi\nToySpin/sub/x.avi\nToySpin/\xfc.avi\n")
    expected = [
        "classInd.txt line 5: ToySpin is there already",
        "classInd.txt line 6: 'Bowling' is no number and class",
        "testlist01.txt line 7: ToySpin/v_ToySpin_g01_c01.avi is there already",
        "testlist01.txt line 8: Other is no class of classInd.txt",
        "testlist01.txt line 9: '../../x.avi' is no <class>/<video>.avi",
        "testlist01.txt line 10: 'ToySpin/sub/x.avi' is no <class>/<video>.avi",
        "testlist01.txt line 11: there are bytes that are no UTF-8",
        "testlist01.txt has no video of Empty",
        "Stray is no class of classInd.txt",
        "v_HorseRiding_g01_c02.avi, which",
        "v_HorseRiding_g01_c03.avi is empty",
    ]
    listing = list_ucf101(tmp_path)
    for fault in expected:
        assert sum(fault in found for found in listing.faults) == 1, (fault, listing.faults)
    assert len(listing.faults) == len(expected) + 1  # the name that is no UTF-8 is missing, too
    with pytest.raises(ValueError, match="ucf101 has 12 faults"):
        check(listing)


def test_faults_of_a_prompts_table_are_found(tmp_path: Path) -> None:
    ucf101(tmp_path / "d", {"ToySpin": 1})
    own = text(tmp_path / "own.csv", "class,prompt,label\nToySpin,,toy\nTOYSPIN,a,b\n,c,d\n")
    faults = "\n".join(list_ucf101(tmp_path / "d", num_videos=1, prompts=own).faults)
    assert "line 3: TOYSPIN is there already, on line 2" in faults
    assert "line 4: there is no class" in faults
    assert "line 2: ToySpin has no prompt" in faults
    missing = list_ucf101(tmp_path / "d", num_videos=1, prompts=tmp_path / "nowhere.csv").faults
    assert "nowhere.csv: give a table with the columns class, prompt, label" in missing[0]


def test_another_list_is_taken_by_name_with_the_numbers_that_train_lists_have(tmp_path: Path) -> None:
    lists = ucf101(tmp_path, {"ToySpin": 1})
    text(lists / "trainlist01.txt", "ToySpin/v_ToySpin_g08_c01.avi 1\r\n")
    listing = list_ucf101(tmp_path, num_videos=1, split="trainlist01.txt")
    check(listing)
    assert listing.items[0].source.name == "v_ToySpin_g08_c01.avi"
    assert "trainlist03.txt" in list_ucf101(tmp_path, split="trainlist03.txt").faults[0]


def test_a_missing_folder_is_one_fault_and_not_one_for_each_video(tmp_path: Path) -> None:
    assert "benchmark --name ucf101" in list_ucf101(tmp_path / "nowhere").faults[0]
    lists = ucf101(tmp_path / "d", {"ToySpin": 5})
    (tmp_path / "d" / "UCF-101").rename(tmp_path / "elsewhere")
    assert len(list_ucf101(tmp_path / "d").faults) == 1
    (lists / "classInd.txt").unlink()
    assert len(list_ucf101(tmp_path / "d").faults) == 2
    assert list_ucf101(tmp_path / "d", num_videos=-1).items == ()
