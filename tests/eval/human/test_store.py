import sqlite3
import threading
from pathlib import Path

import pytest

from magdiff_eval.human import store as store_module
from magdiff_eval.human.store import Answer, NameTaken, Store, TooManyRaters


def test_an_answer_is_kept_when_the_connection_was_never_closed(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    rater = store.join("Ada")
    store.answer(Answer(rater=rater.number, video="v", aspect="quality", score=4))
    again = Store(tmp_path / "a.sqlite")
    assert again.rater(rater.token) == rater
    assert again.answers() == [Answer(rater=1, video="v", aspect="quality", score=4)]


def test_a_second_answer_takes_the_place_of_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    for name in ("Ada", "Ben"):
        number = store.join(name).number
        for score in (1, 5, 3 + number):
            store.answer(Answer(rater=number, video="v", aspect="quality", score=score))
    assert store.answers() == [
        Answer(rater=1, video="v", aspect="quality", score=4),
        Answer(rater=2, video="v", aspect="quality", score=5),
    ]
    assert store.answers(2) == [Answer(rater=2, video="v", aspect="quality", score=5)]


def test_a_name_joins_once_in_upper_or_lower_case(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    first = store.join("Ada")
    with pytest.raises(NameTaken, match="ADA has begun already"):
        store.join("ADA")
    assert store.raters() == [first]
    assert store.rater("another") is None


def test_invited_raters_keep_their_links_and_only_the_missing_are_added(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    first = store.invite(2)
    store.join("Ada")
    more = Store(tmp_path / "a.sqlite").invite(3)
    assert more[:2] == first
    assert [rater.number for rater in more] == [1, 2, 4]
    assert len({rater.token for rater in more}) == 3
    assert all(len(rater.token) == 32 for rater in more)
    assert store.invite(1) == first[:1]


def test_there_is_an_end_to_joining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_RATERS", 2)
    store = Store(tmp_path / "a.sqlite")
    store.join("Ada")
    with pytest.raises(TooManyRaters):
        store.invite(2)
    assert len(store.raters()) == 1  # all of them or none
    store.join("Ben")
    with pytest.raises(TooManyRaters, match="has 2 raters already"):
        store.join("Cy")


def test_scores_off_the_scale_and_unknown_raters_are_refused_by_the_file_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    number = store.join("Ada").number
    for answer in (
        Answer(rater=number, video="v", aspect="quality", score=6),
        Answer(rater=number, video="v", aspect="quality", score=0),
        Answer(rater=number + 1, video="v", aspect="quality", score=3),
    ):
        with pytest.raises(sqlite3.IntegrityError):
            store.answer(answer)
    assert store.answers() == []


def test_answers_from_many_threads_all_arrive(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    numbers = [store.join(f"rater {index}").number for index in range(4)]

    def give(number: int) -> None:
        for video in range(10):
            store.answer(Answer(rater=number, video=str(video), aspect="quality", score=1 + video % 5))

    threads = [threading.Thread(target=give, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(a.rater, a.video, a.score) for a in store.answers()] == [
        (number, str(video), 1 + video % 5) for number in numbers for video in range(10)
    ]


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ValueError, match="cannot be used as a study's answers"):
        Store(tmp_path / "a.sqlite")
    newer = sqlite3.connect(tmp_path / "b.sqlite")
    newer.execute("PRAGMA user_version = 7")
    newer.close()
    with pytest.raises(ValueError, match="is of version 7, this program knows 1"):
        Store(tmp_path / "b.sqlite")
