"""Are the sentences of a report true? Every number in them is computed anew from the raw tables.

    python analyses/recompute.py --study DIR|FILE | --published DIR [--questions 1 2 ...]

Asks the seven questions, takes every verdict, sentence and title of a figure, and says of each whether its numbers
agree with what plain pandas, scipy and scikit-learn give (`analyses/recomputing`, which uses neither `topo.stats` nor
`topo.questions` to compute). Ends with status 1 where something differs.

Not computed anew, and printed as such: what permuting metrics costs in question 3 (its folds, draws and groups of
metrics would be the same code once more), distances between masks in question 6 (NNSTD is tested by brute force in
`tests/similarity`), and the map's stress, which is read from the answer's table.
"""

from __future__ import annotations

import argparse
import sys
import warnings

from recomputing.claims import counts
from recomputing.every_question import CHECKED, claims_of

from topo.results.evidence import Evidence


def main() -> int:
    """Print every sentence with what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", help="folder of a study, or its results table")
    parser.add_argument("--published", help="folder of the published tables")
    parser.add_argument(
        "--questions", nargs="*", type=int, default=[0, *sorted(CHECKED)], help="numbers; 0: the report's own"
    )
    asked = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    evidence = Evidence.open(study=asked.study, published=asked.published)
    claims = []
    for number in asked.questions:
        for claim in claims_of(number, evidence):
            print("\n".join(claim.lines()), flush=True)
            claims.append(claim)
    print(counts(claims))
    return int(any(claim.differs for claim in claims))


if __name__ == "__main__":
    sys.exit(main())
