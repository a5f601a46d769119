"""Algorithm 1 against a literal transcription of the paper's listing (Supplement C)."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from magdiff_curation.labels import select_label

SEEDS = range(400)


def algorithm_1(
    A: str,  # noqa: N803, the listing's names
    W: Sequence[str],  # noqa: N803
    S: Sequence[str],  # noqa: N803
    similarity: Callable[[str, str], float],
    theta: float,
) -> tuple[str | None, str | None]:
    """The listing, line by line. Line 7 prints e = max(scores2): read as the noun that has that score, of several the
    first in the caption. It has no value where S is empty: read as no label.
    """
    scores1, scores2 = [], []  # 1
    for i in range(len(W)):  # 2
        scores1.append(similarity(A, W[i]))  # 3
        for j in range(len(S)):  # 4
            scores2.append(similarity(S[j], W[i]))  # 5
    if max(scores1) > theta:  # 6
        return A, "answer"
    if not scores2:
        return None, None
    best = [index % len(S) for index, score in enumerate(scores2) if score == max(scores2)]  # 7
    return S[min(best)], "noun"


def case(seed: int):
    """A random case: scores on a coarse grid, so that ties and scores equal to theta are common."""
    rng = np.random.default_rng(seed)
    words = [f"w{index}" for index in range(rng.integers(1, 7))]
    nouns = [f"n{index}" for index in range(rng.integers(0, 6))]
    grid = int(rng.choice([2, 5, 20, 10**6]))
    table = {(text, word): int(rng.integers(-grid, grid + 1)) / grid for text in ["a", *nouns] for word in words}
    theta = float(rng.choice([*table.values(), 0.5, 1.0, -1.0]))
    return words, nouns, table, theta


def look_up(table, left: str, right: str) -> float:
    return table[left, right]


def matrix(table):
    return lambda left, right: np.array([[table[a, b] for b in right] for a in left])


def test_select_label_is_the_listing() -> None:
    for seed in SEEDS:
        words, nouns, table, theta = case(seed)
        decision = select_label("a", nouns, words, matrix(table), theta)
        expected = algorithm_1("a", words, nouns, partial(look_up, table), theta)
        assert (decision.label, decision.source) == expected, f"seed {seed}"


def test_the_decision_carries_the_scores_it_was_made_from() -> None:
    for seed in SEEDS:
        words, nouns, table, theta = case(seed)
        decision = select_label("a", nouns, words, matrix(table), theta)
        assert decision.answer_scores.tolist() == [table["a", word] for word in words]
        assert decision.noun_scores.tolist() == [[table[noun, word] for word in words] for noun in nouns]
        if decision.label is not None:
            assert decision.score == table[decision.label, decision.matched_word]
        if decision.source == "answer":
            assert decision.score == max(decision.answer_scores) > theta
        else:
            assert max(decision.answer_scores) <= theta
        if decision.source == "noun":
            assert decision.score == decision.noun_scores.max()


def test_the_random_cases_reach_every_branch() -> None:
    seen = set()
    for seed in SEEDS:
        words, nouns, table, theta = case(seed)
        decision = select_label("a", nouns, words, matrix(table), theta)
        best = decision.noun_scores.max(axis=1, initial=-2)
        seen.add(
            (decision.source, bool((best == best.max(initial=-2)).sum() > 1), max(decision.answer_scores) == theta)
        )
    assert {("answer", True, False), ("noun", True, True), ("noun", False, True), (None, False, False)} <= seen


def test_raising_theta_never_turns_a_noun_into_the_answer() -> None:
    for seed in SEEDS:
        words, nouns, table, _ = case(seed)
        sources = [select_label("a", nouns, words, matrix(table), theta).source for theta in np.linspace(-1.1, 1.1, 23)]
        assert sources[0] == "answer"
        assert sources[-1] == ("noun" if nouns else None)
        first = sources.index(sources[-1])
        assert set(sources[:first]) == {"answer"}
        assert set(sources[first:]) == {sources[-1]}


def test_the_order_of_the_word_list_does_not_change_the_label() -> None:
    for seed in SEEDS:
        words, nouns, table, theta = case(seed)
        shuffled = list(np.random.default_rng(seed).permutation(words))
        here, there = (select_label("a", nouns, order, matrix(table), theta) for order in (words, shuffled))
        assert (here.label, here.source, here.score) == (there.label, there.source, there.score)
