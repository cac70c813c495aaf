"""Which sparse networks are similar?

    python analyses/q6_similar_networks.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("similar_networks"))
