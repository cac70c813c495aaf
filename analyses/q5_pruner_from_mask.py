"""Can one tell the pruning algorithm from the mask?

    python analyses/q5_pruner_from_mask.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("pruner_from_mask"))
