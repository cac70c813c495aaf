"""Can topology rank pruning algorithms on an unseen dataset, architecture or algorithm?

    python analyses/q4_ranking_pruners.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("ranking_pruners"))
