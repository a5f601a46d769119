from pathlib import Path

import pytest
from eval.layouts.small import davis, davis_row, frames, masks, picture, text

from magdiff_eval.layouts.davis import list_davis
from magdiff_eval.layouts.item import check


def only_fault(data: Path, **options) -> str:
    faults = list_davis(data, **options).faults
    assert len(faults) == 1, faults
    return faults[0]


def test_each_video_gives_four_edits_with_their_captions_sides_and_seeds(tmp_path: Path) -> None:
    davis(tmp_path)
    listing = list_davis(tmp_path)
    check(listing)
    assert [item.name for item in listing.items[:4]] == [
        "bear/style",
        "bear/object",
        "bear/background",
        "bear/multiple",
    ]
    assert [item.seed for item in listing.items] == list(range(8))
    fish = {item.group: item for item in listing.items if item.name.startswith("gold-fish/")}
    assert {edit: item.kept for edit, item in fish.items()} == {
        "style": "subject",
        "object": "surroundings",
        "background": "subject",
        "multiple": "subject",
    }
    assert fish["object"].prompt == fish["object"].clip_prompt == "a gold-fish, object, again"
    assert fish["object"].source == frames(tmp_path, "gold-fish")
    assert fish["object"].masks == masks(tmp_path, "gold-fish")
    assert fish["object"].label == "goldfish"
    assert fish["object"].task == "edit"


def test_ten_faults_in_one_folder_are_listed_at_once(tmp_path: Path) -> None:
    table = davis(tmp_path, [f"video{number}" for number in range(8)])
    folders = [frames(tmp_path, f"video{number}") for number in range(8)]
    (folders[0] / "00009.jpg").unlink()
    for number in range(6, 9):
        (folders[0] / f"0000{number}.jpg").unlink()
    (folders[1] / "00003.jpg").unlink()
    picture(folders[2] / "00007.jpg", (20, 20))
    (folders[3] / "00005.jpg").write_bytes(b"")
    (masks(tmp_path, "video4") / "00000.png").unlink()
    picture(masks(tmp_path, "video5") / "00000.png", (854, 480))
    picture(frames(tmp_path, "stray") / "00000.jpg")
    rows = "ghost,,a,b,c,d\r\nvideo6,,a,b,c,d\r\nvideo6/../video7,,a,b,c,d\r\nvideo8,,a,b,c,d,e,f\r\n"
    table.write_bytes(table.read_bytes() + rows.encode() + "Käfer,,a,b,,d\r\n".encode("cp1252"))
    expected = [
        "video0 has 6 frames, 8 are sampled",
        "video1: frame 3 is missing",
        "video2: the frames differ in size (00000.jpg 12x8 px, 00007.jpg 20x20 px)",
        "00005.jpg is no picture that can be read",
        "video4: mask 00000.png is missing",
        "00000.png is 854x480 px, its frame 12x8 px",
        "stray is in no row of LOVEU-TGVE-2023_Dataset.csv",
        "there are no frames in " + str(frames(tmp_path, "ghost")),
        "line 12: video6 is there already, on line 9",
        "line 13: 'video6/../video7' names no folder (it has a slash in it)",
        "line 14: 8 cells in a table of 6 columns",
        "line 15: there are bytes that are no UTF-8",
        "has no Background Change Caption",
    ]
    listing = list_davis(tmp_path)
    for fault in expected:
        assert sum(fault in found for found in listing.faults) == 1, fault
    assert len(listing.faults) == len(expected) + 1  # the beetle has no frames either
    with pytest.raises(ValueError, match="has 14 faults, nothing was made") as raised:
        check(listing)
    assert len(str(raised.value).splitlines()) == 15
    assert all(fault in str(raised.value) for fault in expected)


def test_a_table_from_windows_with_a_mark_headings_and_empty_rows_reads_as_the_plain_one(tmp_path: Path) -> None:
    davis(tmp_path)
    plain = list_davis(tmp_path)
    lines = (tmp_path / "LOVEU-TGVE-2023_Dataset.csv").read_text().splitlines()
    moved = [line.replace("DAVIS Videos:,,,,,", "DAVIS Videos:") + ",,," for line in lines]
    more = [",,,,,", "Youtube Videos:,,,,,", "elsewhere,a,b,c,d,e", "", ",,,,,,,,"]
    text(tmp_path / "LOVEU-TGVE-2023_Dataset.csv", "\r\n".join(["\ufeff" + moved[0], *moved[1:], *more]))
    listing = list_davis(tmp_path)
    check(listing)
    assert listing.items == plain.items
    assert listing.stamp["items"] == plain.stamp["items"]
    assert listing.stamp["prompts"]["sha256"] != plain.stamp["prompts"]["sha256"]


def test_columns_may_be_in_another_order_and_there_may_be_others(tmp_path: Path) -> None:
    table = davis(tmp_path, ["bear"])
    plain = list_davis(tmp_path).items
    row = davis_row("bear") | {"Comment": ""}
    order = sorted(row, reverse=True)
    text(table, ",".join(order) + "\n" + ",".join(f'"{row[column]}"' for column in order))
    assert list_davis(tmp_path).items == plain


def test_missing_columns_are_named_with_what_is_there(tmp_path: Path) -> None:
    text(davis(tmp_path, ["bear"]), "Video name;Style Change Caption\nbear;a\n")
    faults = list_davis(tmp_path).faults
    assert "lacks the column 'Video name', 'Style Change Caption'" in faults[0]
    assert "'Video name;Style Change Caption'" in faults[0]


def test_a_quote_that_never_ends_is_found_by_its_line(tmp_path: Path) -> None:
    table = davis(tmp_path, ["bear"])
    table.write_text(table.read_text() + 'cat,,"a cat,b,c,d\n')
    assert "line 4: unexpected end of data" in only_fault(tmp_path)


def test_without_masks_subjects_are_found_by_label_and_a_label_may_be_unknown(tmp_path: Path) -> None:
    davis(tmp_path, ["judo", "mushroom-07", "polar-bear-3", "bear"], masked=False)
    listing = list_davis(tmp_path)
    check(listing)
    assert {item.label for item in listing.items if item.group == "style"} == {"person", "mushroom", "polar bear", ""}
    assert {item.masks for item in listing.items} == {None}
    assert any("4 videos have no masks" in note for note in listing.notes)
    assert "1 videos have no label: bear" in listing.notes
    assert listing.stamp["labels"]["used"]["polar-bear-3"] == "polar bear"
    assert listing.stamp["labels"]["table"]["name"] == "davis_labels.csv"


def test_labels_may_be_ones_own_and_change_the_stamp(tmp_path: Path) -> None:
    davis(tmp_path / "d", ["judo"])
    own = text(tmp_path / "labels.csv", "video,label\r\njudo,man in white\r\n")
    listing = list_davis(tmp_path / "d", labels=own)
    assert listing.items[0].label == "man in white"
    assert listing.stamp["labels"] != list_davis(tmp_path / "d").stamp["labels"]
    assert listing.stamp["items"]["sha256"] != list_davis(tmp_path / "d").stamp["items"]["sha256"]


def test_only_masks_of_frames_that_are_used_are_needed(tmp_path: Path) -> None:
    davis(tmp_path, ["bear"], num_frames=15)  # every second frame is taken
    for number in range(1, 15, 2):
        (masks(tmp_path, "bear") / f"{number:05d}.png").unlink()
    check(list_davis(tmp_path))
    assert "mask 00001.png, 00003.png" in only_fault(tmp_path, num_frames=15)


def test_odd_characters_are_names_and_accents_may_be_written_in_two_ways(tmp_path: Path) -> None:
    names = ["käfer mit hut", "\N{BEAR FACE}", "日本"]
    table = davis(tmp_path, names)
    table.write_text(table.read_text().replace("käfer", "ka\u0308fer"))
    listing = list_davis(tmp_path)
    check(listing)
    assert listing.items[0].source == frames(tmp_path, "käfer mit hut")
    assert [item.name for item in listing.items[4::4]] == ["\N{BEAR FACE}/style", "日本/style"]


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "x" * 201, "a\u200bb"])
def test_a_name_that_is_no_safe_file_name_is_a_fault(tmp_path: Path, name: str) -> None:
    table = davis(tmp_path, ["bear"])
    table.write_text(table.read_text() + f"{name},,a,b,c,d\n")
    fault = only_fault(tmp_path)
    assert "line 4: " in fault
    assert "names no folder" in fault
    assert fault.isprintable()


def test_frames_whose_order_by_name_is_not_that_of_their_numbers_are_a_fault(tmp_path: Path) -> None:
    davis(tmp_path, ["bear"], num_frames=12, masked=False)
    for path in frames(tmp_path, "bear").iterdir():
        path.rename(path.with_name(f"{int(path.stem)}.jpg"))
    assert "several lengths" in only_fault(tmp_path)


def test_pictures_without_number_are_a_fault_and_other_files_a_note(tmp_path: Path) -> None:
    davis(tmp_path, ["bear"])
    text(frames(tmp_path, "bear") / "Thumbs.db", "x")
    text(frames(tmp_path, "bear") / ".DS_Store", "x")
    listing = list_davis(tmp_path)
    check(listing)
    assert [note for note in listing.notes if "ignored" in note] == [
        f"{frames(tmp_path, 'bear')}: Thumbs.db is no frame, and ignored"
    ]
    picture(frames(tmp_path, "bear") / "cover.jpg")
    assert "cover.jpg has no number" in only_fault(tmp_path)


def test_the_first_videos_alone_are_checked_where_others_are_not_taken(tmp_path: Path) -> None:
    davis(tmp_path)
    (frames(tmp_path, "gold-fish") / "00000.jpg").write_bytes(b"")
    listing = list_davis(tmp_path, num_videos=1)
    check(listing)
    assert len(listing.items) == 4
    assert "num_videos is 0: give 1 or more" in only_fault(tmp_path, num_videos=0)


def test_missing_folders_and_tables_say_what_to_unpack(tmp_path: Path) -> None:
    assert "benchmark --name davis" in only_fault(tmp_path / "nowhere")
    faults = list_davis(tmp_path).faults
    assert len(faults) == 2
    assert "there is no " + str(tmp_path / "LOVEU-TGVE-2023_Dataset.csv") in faults[0]
    assert "480p_frames: unpack LOVEU-TGVE 2023 there" in faults[1]
    table = davis(tmp_path, ["bear"])
    table.write_text("\n".join(table.read_text().splitlines()[:2]))
    assert "lists no video of DAVIS" in list_davis(tmp_path).faults[0]
    table.write_text(table.read_text().replace("DAVIS", "Youtube"))
    assert "no row 'DAVIS Videos:'" in list_davis(tmp_path).faults[0]
