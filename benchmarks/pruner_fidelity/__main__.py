"""Scores and masks of the pruners beside those of public implementations, on the same weights and the same batch.

    python -m benchmarks.pruner_fidelity [--references ../references] [--output FILE] [--only ALGORITHM ...]

The folder of references holds clones of the GitHub repositories in `references.py`, each under its name without the
owner and at the commit given there; `--list` prints the commands that clone them. torch-pruning is the installed
package. A reference that is not there or does not run is skipped, and the record says why. Their code runs unchanged,
but for what old interfaces need: `.cuda()` stays on the CPU, packages that a function does not use are empty stand-ins,
and from files that Python no longer reads or that start a training when imported, single functions are taken. One
thread, on the CPU, with no more training than 30 steps of one layer; about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import torch

import topo
from topo.torchvision_import import import_torchvision

from ..measuring import write_record
from . import (  # noqa: F401  (register)
    dense_to_sparse,
    dynamic,
    initialisation,
    language_models,
    latent,
    layer_sizes,
    structured,
    tangent_kernel,
    woodfisher,
)
from .comparisons import COMPARISONS, compare
from .references import REPOSITORIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--references", type=Path, default=Path("../references"), help="folder of the clones")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "results" / "pruner_fidelity.json")
    parser.add_argument("--only", nargs="*", metavar="ALGORITHM", help="algorithms to compare; rows of others stay")
    parser.add_argument("--list", action="store_true", help="print how to clone the references, and stop")
    options = parser.parse_args()
    if options.list:
        for name, commit in REPOSITORIES.items():
            folder = name.split("/")[1]
            print(f"git clone https://github.com/{name} {folder} && git -C {folder} checkout {commit}")
        return
    torch.set_num_threads(1)
    import_torchvision()  # which several references import
    rows, kept = [], []
    if options.only and options.output.exists():
        kept = [r for r in json.loads(options.output.read_text())["rows"] if r["algorithm"] not in options.only]
    for made in COMPARISONS:
        if not options.only or made.algorithm in options.only:
            rows.append(compare(made, options.references.resolve()))
            print(json.dumps(rows[-1]), flush=True)
    rows = sorted(kept + rows, key=lambda row: row["algorithm"])
    result = {
        "what": "Scores and masks of topo's pruners and of public implementations, the same weights and the same batch",
        "command": "python -m benchmarks.pruner_fidelity --references FOLDER",
        "references": "clones as python -m benchmarks.pruner_fidelity --list prints them, and torch-pruning",
        "spearman": "rank correlation of the scores",
        "mask_overlap": "weights that both keep, as a share of those that either keeps; of the 10% largest scores "
        "where the row is of scores alone",
        "kept": "by ours and by the reference",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "not_compared": sorted(set(topo.pruning.PRUNERS) - {row["algorithm"] for row in rows}),
        "rows": rows,
    }
    write_record(options.output, result)


if __name__ == "__main__":
    main()
