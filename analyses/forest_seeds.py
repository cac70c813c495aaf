"""Do the words of verdicts hang on the seed of the forests?

    python analyses/forest_seeds.py --study DIR|FILE | --published DIR [--seeds 10] [--questions 3 5 7]

Asks questions 3, 5 and 7 with several seeds and prints how many of them share the words of the verdict, its numbers
left aside.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter

from topo.questions import QUESTIONS, ordered_questions
from topo.results.evidence import Evidence

NUMBER = re.compile(r"[−-]?\d*\.?\d+%?")


def words(sentence: str) -> str:
    """A sentence without its numbers."""
    return NUMBER.sub("#", sentence)


def main() -> None:
    """Print the words of every verdict with the number of seeds that share them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", help="folder of a study, or its results table")
    parser.add_argument("--published", help="folder of the published tables")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--questions", nargs="*", type=int, default=[3, 5, 7])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    evidence = Evidence.open(asked.study, published=asked.published)
    for number in asked.questions:
        question = QUESTIONS[ordered_questions()[number - 1]]
        verdicts = [question(evidence, seed=seed).verdict for seed in range(asked.seeds)]
        for text, count in Counter(words(verdict.sentence) for verdict in verdicts if verdict).most_common():
            print(f"question {number}, {count} of {asked.seeds} seeds: {text}", flush=True)


if __name__ == "__main__":
    main()
