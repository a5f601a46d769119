# ruff: noqa: RUF001, the words are of many scripts
from collections.abc import Sequence

import numpy as np
import pytest

from magdiff_curation.config import FilterSettings
from magdiff_curation.filters import check_meaning
from magdiff_curation.labels import clean_answer, select_label
from magdiff_curation.meaning import ARTICLES, RULES, TABLES, meaning_problem, plain_text, words_of
from magdiff_curation.reasons import ClipRejected, Reason

SUBJECTS = [
    *["dog", "big dog", "red car", "two dogs", "ice cream", "teddy bear", "t-shirt", "hot dog", "man in a suit"],
    *["person", "people", "animal", "oranges", "rose", "video camera", "computer screen", "no parking sign", "x-ray"],
    *["bride and groom", "st. bernard", "dog's tail", "salt & pepper", "1960s car", "dog 🐶", "object on a shelf"],
    *["left hand", "unknown man", "main square", "daisy", "crème brûlée", "Ｄｏｇ", "d\u200bog"],
    *["hund", "großer hund", "mann", "chien", "la main", "perro", "niño", "собака", "большая собака"],
    *["犬", "狗", "कुत्ता", "หมา", "כלב", "كلب", "개"],
]

REFUSED = {
    "blank": ["", "   ", "\n\t", "\u200b", "\u202e", "\x00\x1f", "\ufeff"],
    "no letters": ["42", "3.5", "!!!", "...", "🐶", "👨‍👩‍👧", "❤️", "½", "\u0301\u0308", "№ 5"[2:], "？！"],
    "characters": ["x" * 61, "dog " * 30, "Donau" * 20],
    "words": ["man sits on chair next to dog", "one two three four five six seven"],
    "markup": ["<b>dog</b>", "dog&nbsp;cat", "http://a.b/dog", "www.dog.com", "dog@home", "{dog}", "dog | cat"],
    "combining marks": ["d" + "\u0337\u0321\u0322\u0323\u0324\u0325" + "og"],
    "refusal": [
        *["i don't know", "I don’t know", "i do not know", "there is no dog", "not a dog", "n/a", "no foreground"],
        *["i'm not sure", "cannot tell", "can't tell", "unclear", "unknown", "none", "nothing", "sorry", "no"],
        *["ich weiß nicht", "ich weiß es nicht", "keine ahnung", "nichts", "unbekannt"],
        *["je ne sais pas", "aucune idée", "rien", "il n'y a personne", "no lo sé", "no hay nada", "nada"],
        *["не знаю", "я не знаю", "ничего", "неизвестно"],
    ],
    "pronoun": ["it", "he", "she", "they", "this one", "someone", "ich", "sie", "elle", "nous", "ella", "ellos", "он"],
    "picture": [
        *["background", "foreground", "the picture", "image", "a photo", "scene", "screenshot", "close-up view"],
        *["hintergrund", "der vordergrund", "das bild", "arrière-plan", "le fond", "la photo", "fondo", "la imagen"],
        *["primer plano", "фон", "передний план", "на картинке", "изображение"],
    ],
    "colour": ["red", "orange", "black and white", "dark blue", "grün", "rouge", "rojo", "красный", "weiß"],
    "number": ["three", "two of them", "dozen", "the second"],
    "place": ["left", "top", "the middle", "center", "bottom left corner"],
    "vague": ["thing", "something", "object", "objects", "part", "a lot", "kind of", "etwas", "algo", "quelque chose"],
    "time": ["night", "summer day"],
    "adjective": ["big", "beautiful", "blurry", "the same"],
    "function word": ["of the", "is", "with"],
    "article": ["the", "a", "das", "une"],
    "letter": ["x", "b c"],
}


@pytest.mark.parametrize("label", SUBJECTS)
def test_labels_that_name_a_subject_pass(label: str) -> None:
    assert meaning_problem(label) is None


@pytest.mark.parametrize(("rule", "label"), [(rule, label) for rule, labels in REFUSED.items() for label in labels])
def test_labels_without_meaning_are_refused_by_the_rule_that_says_so(rule: str, label: str) -> None:
    problem = meaning_problem(label)
    assert problem is not None
    assert rule in problem


def test_the_sentence_carries_the_value_cut_to_80_characters() -> None:
    assert meaning_problem("Red  background") == (
        "label 'Red background' names no subject: 'red' is a colour, 'background' is a word for the picture"
    )
    problem = meaning_problem("x" * 10_000)
    assert problem == f"label {'x' * 80!r} names no subject: it has 10000 characters, more than 60"


def test_the_limits_are_the_callers() -> None:
    assert meaning_problem("man on a horse") is None
    assert "3 words, more than 2" in str(meaning_problem("man on a horse", max_words=2))
    assert "14 characters, more than 13" in str(meaning_problem("man on a horse", max_characters=13))


def test_no_table_holds_a_word_twice_and_every_word_is_in_its_plain_form() -> None:
    for words in [*TABLES.values(), ARTICLES]:
        assert len(words.split()) == len(set(words.split()))
        assert [word for word in words.split() if plain_text(word).lower() != word or words_of(word) != [word]] == []


def test_every_word_of_the_tables_is_refused_alone() -> None:
    words = {word for words in [*TABLES.values(), ARTICLES] for word in words.split()}
    assert [word for word in words if not meaning_problem(word) or not meaning_problem(word.upper())] == []


def test_no_shipped_subject_word_is_refused() -> None:
    from magdiff_curation.labels import load_subject_words

    assert [word for word in load_subject_words(None) if meaning_problem(word)] == []


def test_the_first_rule_that_refuses_speaks() -> None:
    assert [rule.__name__ for rule in RULES][:3] == ["_blank", "_no_letters", "_too_long"]
    assert "no letters" in str(meaning_problem("!" * 100))
    assert "characters" in str(meaning_problem("i don't know " * 10))


def outcome(answer: str, caption_nouns: Sequence[str], score: float) -> str:
    """The label, or the reason why there is none, where every answer scores `score` and every noun 0.4; theta is .5."""

    def similarity(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        return np.array([[0.4 if text in caption_nouns else score for _ in right] for text in left])

    label = select_label(clean_answer(answer), caption_nouns, ["dog"], similarity, 0.5).label
    try:
        check_meaning(label, FilterSettings())
    except ClipRejected as rejection:
        assert len(rejection.detail) < 400
        return rejection.reason
    return str(label)


WITHOUT = Reason.LABEL_WITHOUT_MEANING


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The foreground of the picture is a brown dog.", "brown dog"),
        ("Ein Hund", "ein hund"),
        ("un chien", "un chien"),
        ("كلب", "كلب"),
        ("\u202bכלב\u202c", "כלב"),
        ("d\x00o\u200dg\x07", "dog"),
        ("cre\u0300me bru\u0302le\u0301e", "crème brûlée"),
        ("dog\r\nQuestion: what is behind it?", "dog"),
        ("it", WITHOUT),
        ("the background", WITHOUT),
        ("The foreground is blurry.", WITHOUT),
        ("Der Hintergrund", WITHOUT),
        ("l'arrière-plan", WITHOUT),
        ("No lo sé", WITHOUT),
        ("Я не знаю.", WITHOUT),
        ("There is no dog in the picture.", WITHOUT),
        ("🐶🐶🐶", WITHOUT),
        ("<p>dog</p>", WITHOUT),
        ("d" + "\u0337\u0321\u0322\u0323\u0324" * 3 + "og", WITHOUT),
        ("x" * 10_000, WITHOUT),
        ("a dog and " * 1_000, WITHOUT),
        ("a " * 5_000, WITHOUT),
        ("\ud800dog", "dog"),
        ("42", WITHOUT),
    ],
)
def test_a_believed_answer_becomes_a_plain_label_or_drops_the_clip(answer: str, expected: str) -> None:
    assert outcome(answer, ["cat"], 0.9) == expected


@pytest.mark.parametrize(
    "answer", ["", "   ", "\n\n", "\x00\u200b", "...", "?!", "\u202e", '""', "“ ”", "the image is"]
)
def test_an_answer_that_says_nothing_leaves_the_label_to_the_nouns(answer: str) -> None:
    assert outcome(answer, ["cat"], 0.9) == "cat"
    assert outcome(answer, [], 0.9) == Reason.LABEL_MISSING


@pytest.mark.parametrize("noun", ["background", "it", "42", "🐶", "x" * 10_000, "hintergrund", "фон", "<br>", "view"])
def test_a_noun_without_meaning_drops_the_clip(noun: str) -> None:
    assert outcome("fog", [noun], 0.1) == WITHOUT
