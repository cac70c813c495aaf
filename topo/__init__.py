"""Topology of sparse neural networks: prune, encode as graphs, measure, relate to accuracy.

Examples
--------
>>> import torch, topo
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
>>> masks = topo.prune(model, "erk", sparsity=0.5, seed=0)
>>> graph = topo.encode(model, masks, example=(4,))
>>> int(topo.measure(graph)["edges"])
28
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        dag,
        datasets,
        decomposition,
        encoding,
        features,
        masks,
        models,
        plots,
        pruning,
        publishing,
        questions,
        report,
        results,
        similarity,
        stats,
        study,
        training,
    )
    from .checkpoint import load_checkpoint, save_checkpoint
    from .dag import Dag, compact, cost, trace, weights
    from .decomposition import lift
    from .encoding import BipartiteGraph, LayerGraphs, MultipartiteGraph, encode
    from .errors import InputError
    from .features import Topometrics, measure, measure_layers, z_scores
    from .masks import Masks
    from .pruning import prune
    from .report import write_report
    from .study import Study

__version__ = "0.1.0"

# Loaded when first used: `import topo` and `topo --help` stay quick.
_HOMES = {
    "Dag": "dag",
    "compact": "dag",
    "cost": "dag",
    "trace": "dag",
    "weights": "dag",
    "lift": "decomposition",
    "BipartiteGraph": "encoding",
    "LayerGraphs": "encoding",
    "MultipartiteGraph": "encoding",
    "encode": "encoding",
    "InputError": "errors",
    "Topometrics": "features",
    "measure": "features",
    "measure_layers": "features",
    "z_scores": "features",
    "Masks": "masks",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "prune": "pruning",
    "write_report": "report",
    "Study": "study",
}
_MODULES = (
    "dag",
    "datasets",
    "decomposition",
    "encoding",
    "features",
    "masks",
    "models",
    "plots",
    "pruning",
    "publishing",
    "questions",
    "report",
    "results",
    "similarity",
    "stats",
    "study",
    "training",
)

__all__ = [
    "BipartiteGraph",
    "Dag",
    "InputError",
    "LayerGraphs",
    "Masks",
    "MultipartiteGraph",
    "Study",
    "Topometrics",
    "compact",
    "cost",
    "dag",
    "datasets",
    "decomposition",
    "encode",
    "encoding",
    "features",
    "lift",
    "load_checkpoint",
    "masks",
    "measure",
    "measure_layers",
    "models",
    "plots",
    "prune",
    "pruning",
    "publishing",
    "questions",
    "report",
    "results",
    "save_checkpoint",
    "similarity",
    "stats",
    "study",
    "trace",
    "training",
    "weights",
    "write_report",
    "z_scores",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'topo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
