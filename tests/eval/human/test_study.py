from pathlib import Path

import pytest
from eval.human.studies import small_study

from magdiff_eval.human.study import load_study, order_for


def test_a_study_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    study = small_study(3)
    study.save(tmp_path)
    assert load_study(tmp_path) == study
    assert study.num_answers == 3 * 3 * 3


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "items": [{"id": "a"}]}'])
def test_what_is_no_study_is_refused_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=r"study\.json is no study .* make it again"):
        load_study(tmp_path)
    with pytest.raises(ValueError, match=r"there is no .*study\.json: make a study"):
        load_study(tmp_path / "elsewhere")


def test_a_rater_s_order_holds_every_video_once_and_is_the_same_each_time() -> None:
    study = small_study(15)
    first, again = order_for(study, "token"), order_for(study, "token")
    assert first == again
    assert sorted(item.id for item in first) == [item.id for item in study.items]
    assert {video.id for item in first for video in item.videos} == set(study.videos())
    for item in first:
        (original,) = [entry for entry in study.items if entry.id == item.id]
        assert sorted(item.videos, key=lambda video: video.id) == list(original.videos)


def test_the_order_is_what_it_was_in_every_earlier_version() -> None:
    order = order_for(small_study(3), "token")
    assert [(item.name, [video.method for video in item.videos]) for item in order] == [
        ("item-1", ["videocrafter1", "animatediff", "magdiff"]),
        ("item-0", ["magdiff", "animatediff", "videocrafter1"]),
        ("item-2", ["videocrafter1", "animatediff", "magdiff"]),
    ]


def test_over_many_raters_every_item_and_every_method_is_first_equally_often() -> None:
    study, num_raters = small_study(5), 3000
    orders = [order_for(study, f"rater {number}") for number in range(num_raters)]
    for item in study.items:  # 600 expected, deviation 22
        assert abs(sum(order[0].id == item.id for order in orders) - num_raters / 5) < 5 * 22
    for method in study.methods:  # 1000 expected, deviation 26, in the item that comes first
        assert abs(sum(order[0].videos[0].method == method for order in orders) - num_raters / 3) < 5 * 26
    same = sum(
        [v.method for v in order[0].videos] == [v.method for v in order[1].videos] for order in orders
    )  # items are shuffled apart: one in six is alike, 500 expected, deviation 20
    assert abs(same - num_raters / 6) < 5 * 20.4
