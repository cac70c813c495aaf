"""Can the accuracy of a new sparse network be predicted before it is trained?

    python analyses/q7_before_training.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("before_training"))
