"""Which metrics move with accuracy, by family, sparsity and architecture?

    python analyses/q1_metrics_and_accuracy.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("metrics_and_accuracy"))
