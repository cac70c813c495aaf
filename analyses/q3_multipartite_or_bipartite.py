"""Do multipartite encodings predict better than bipartite and Ramanujan ones, pooled and within groups?

    python analyses/q3_multipartite_or_bipartite.py --study DIR | --published DIR [--out DIR] [--seed N]

Prints three sentences and says where its figures (PNG, SVG, PDF) and tables (CSV) are.
"""

from topo.cli.questions import main

if __name__ == "__main__":
    raise SystemExit(main("multipartite_or_bipartite"))
