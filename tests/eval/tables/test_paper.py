"""Every figure of the paper's tables, typed a second time from the paper."""

import pytest

from magdiff_eval.tables import TABLES, Table, paper_table
from magdiff_eval.tables.layout import lay_out

PRINTED = {
    1: """
        LVDM | text to video | 2.0M | - | 641.80 | -
        ModelScope | text-to-video | 10M | - | - | 550
        Make-A-Video | text-to-video | 20.0M | 33.00 | 367.23 | -
        VideoFactory | text-to-video | 140.7M | - | 410.00 | -
        PYoCo | text-to-video | 22.5M | 47.76 | 355.19 | -
        I2VGen-XL | text&image-to-video | 10M | 18.90 | 597.49 | -
        VideoComposer | text&image-to-video | 10.3M | - | - | 580
        VideoCrafter1 | text&image-to-video | 10.3M | 44.53 | 415.87 | 465
        *MagDiff (Ours) | text&image-to-video | 5.3M+76K | *48.57 | *339.62 | *245
    """,
    2: """
        AnimateDiff (V3) | 46.2 | 24.1 | 89.8 | 47.3 | 22.4 | 89.6 | 59.1 | 23.2 | 90.4
        I2VGen-XL | 44.1 | 21.3 | 89.4 | 42.7 | 18.4 | *89.8 | 58.6 | 22.9 | 89.7
        *MagDiff (Ours) | *50.8 | *25.4 | *90.2 | *50.2 | *23.2 | 88.4 | *61.4 | *25.4 | *92.2
    """,
    3: """
        Tune-A-Video | Fine-Tuning | 28.33 | 90.45
        FateZero | Fine-Tuning | 23.81 | 92.92
        Framewise IP2P | Tuning-Free | 25.11 | 86.76
        *MagDiff (Ours) | Tuning-Free | *27.65 (+2.54) | *90.86 (+4.10)
    """,
    4: """
        VideoCrafter1 | 3.2 | 2.8 | 3.2
        AnimateDiff (V3) | 3.5 | 3.6 | 3.3
        *MagDiff (Ours) | *4.4 | *4.1 | *3.7
    """,
    5: """
        MagDiff | ✓ | ✗ | ✗ | 42.11 | 530.26 | 372
        MagDiff | ✗ | ✓ | ✗ | 40.47 | 534.84 | 394
        MagDiff | ✓ | ✓ | ✗ | 43.39 | 444.67 | 311
        MagDiff | ✓ | ✗ | ✓ | 45.74 | 367.23 | 274
        MagDiff | ✗ | ✓ | ✓ | 46.85 | 388.41 | 286
        MagDiff | ✓ | ✓ | ✓ | *48.57 | *339.62 | *245
    """,
    6: """
        MagDiff w/o FPA | 44.26 | 388.41 | 291
        *MagDiff w/ APA | *48.57 | *339.62 | *245
    """,
    7: """
        α₁ = 0.3 & α₂ = 0.7 | 46.45 | 391.72 | 283
        α₁ = 0.5 & α₂ = 0.5 | 45.11 | 364.89 | 296
        α₁ = 0.7 & α₂ = 0.3 | 47.20 | 386.32 | 267
        *Trainable | *48.57 | *339.62 | *245
    """,
}
"""As printed; a star before what is in bold."""

COLUMNS = {
    1: "UCF-101 IS ↑ ucf101/video-is | UCF-101 FVD ↓ ucf101/fvd | MSR-VTT FVD ↓ msrvtt/fvd",
    2: "UCF-101 DINO ↑ ucf101/dino | UCF-101 Textual align ↑ ucf101/clip-text | "
    "UCF-101 Frame consist ↑ ucf101/clip-consistency | MSR-VTT DINO ↑ msrvtt/dino | "
    "MSR-VTT Textual align ↑ msrvtt/clip-text | MSR-VTT Frame consist ↑ msrvtt/clip-consistency | "
    "DreamBooth DINO ↑ dreambooth/dino | DreamBooth Textual align ↑ dreambooth/clip-text | "
    "DreamBooth Frame consist ↑ dreambooth/clip-consistency",
    3: "Textual-align ↑ davis/clip-text | Frame-consistency ↑ davis/clip-consistency",
    4: "Image-prompt Alignment ↑ human/image_alignment | Text-prompt Alignment ↑ human/text_alignment | "
    "Quality ↑ human/quality",
    5: "UCF-101 IS ↑ ucf101/video-is | UCF-101 FVD ↓ ucf101/fvd | MSR-VTT FVD ↓ msrvtt/fvd",
    6: "UCF-101 IS ↑ ucf101/video-is | UCF-101 FVD ↓ ucf101/fvd | MSR-VTT FVD ↓ msrvtt/fvd",
    7: "UCF-101 IS ↑ ucf101/video-is | UCF-101 FVD ↓ ucf101/fvd | SR-VTT FVD ↓ msrvtt/fvd",
}


def cells_of(table: Table) -> list[list[str]]:
    layout = lay_out(table)
    return [
        [("*" if cell.bold else "") + cell.text.replace("(the paper's)", "(Ours)") for cell in line]
        for line in layout.paper
    ]


@pytest.mark.parametrize("number", range(1, 8))
def test_every_cell_is_as_printed_and_bold_where_the_paper_has_it_bold(number: int) -> None:
    typed = [[cell.strip() for cell in line.split(" | ")] for line in PRINTED[number].strip().splitlines()]
    assert cells_of(paper_table(number)) == typed


@pytest.mark.parametrize("number", range(1, 8))
def test_every_column_has_its_name_its_direction_and_its_score(number: int) -> None:
    columns = paper_table(number).columns
    told = [f"{column.group} {column.name} {column.arrow} {column.key}".strip() for column in columns]
    assert told == COLUMNS[number].split(" | ")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table {table.number}")
def test_ours_are_rounded_to_as_many_digits_as_the_paper_prints(table: Table) -> None:
    for place, column in enumerate(table.columns):
        printed = [row.cells[place] for row in table.rows]
        digits = {len(cell.split(" ")[0].partition(".")[2]) for cell in printed if cell is not None}
        assert digits == {column.decimals}, column.key
        cosine = column.key.partition("/")[2] in ("dino", "clip-text", "clip-consistency")
        assert column.scale == (100 if cosine else 1)


def notes_at(number: int, row: int, place: int) -> list[str]:
    layout = lay_out(paper_table(number))
    line = layout.header if row < 0 else layout.paper[row]
    return [layout.notes[note - 1] for note in line[place].notes]


@pytest.mark.parametrize(
    ("number", "row", "place", "says"),
    [
        (1, 2, 0, "figures are those of Make-A-Video's own paper"),
        (1, 8, 2, "LVDM's 2.0M is less"),
        (2, 2, 6, "lowest of the three"),
        (3, 1, 1, "FateZero edits zero-shot"),
        (3, 3, 2, "gain over Framewise IP2P"),
        (5, 3, 5, "Make-A-Video's FVD in the paper's Table 1"),
        (5, 4, 5, "fixed prompts in the paper's Table 6"),
        (6, 0, 0, 'the text say "w/ FPA"'),
        (6, 0, 2, "without HFA in the paper's Table 5"),
        (7, -1, 3, "SR-VTT for MSR-VTT"),
        (7, 1, 0, "44.26, 388.41 and 291"),
    ],
)
def test_odd_cells_have_a_footnote(number: int, row: int, place: int, says: str) -> None:
    assert any(says in note for note in notes_at(number, row, place))


def test_what_the_footnotes_say_of_other_tables_is_so() -> None:
    cells = {number: cells_of(paper_table(number)) for number in range(1, 8)}
    assert cells[5][3][5] == cells[1][2][4] == "367.23"
    assert cells[5][4][5] == cells[6][0][2] == "388.41"
    assert (cells[5][4][4], cells[5][4][6]) == ("46.85", "286")
    assert cells[6][0][1:] == ["44.26", "388.41", "291"]
    whole = ["*48.57", "*339.62", "*245"]
    assert cells[1][8][3:] == cells[5][5][4:] == cells[6][1][1:] == cells[7][3][1:] == whole


def test_rows_that_were_made_otherwise_are_marked_with_the_reason() -> None:
    marked = {
        table.number: [line[0].text for line in lay_out(table).paper if line[0].flag == "‡"]
        for table in TABLES
        if any(line[0].flag for line in lay_out(table).paper)
    }
    assert marked == {
        1: [row.method for row in paper_table(1).rows[:8]],
        2: ["AnimateDiff (V3)", "I2VGen-XL"],
        3: ["Tune-A-Video"],
        4: ["VideoCrafter1", "AnimateDiff (V3)"],
    }
    assert notes_at(1, 0, 0)[0].startswith("Another protocol than MagDiff's: given the text alone")
    assert notes_at(1, 5, 0)[0].startswith("Another protocol than MagDiff's: given the whole image")


def test_a_table_that_the_paper_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no Table 8: choose from 1 to 7"):
        paper_table(8)
