from magdiff_eval.markdown import markdown


def test_tables_become_markdown() -> None:
    assert markdown([("T", ["a", "b"], [["1", "2"]])]) == "### T\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
