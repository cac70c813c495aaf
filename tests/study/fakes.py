"""Cells that compute nothing, so that what is tested or measured is the study around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from topo import Masks
from topo.study import Cell
from topo.study.store import CellResult


def fake_compute(cell: Cell, device: str = "cpu", dense_weights: Path | None = None, *_: Any, **__: Any) -> CellResult:
    """A cell's result made up from its seed and sparsity; a pruner of trained weights reads those of its baseline."""
    row = {"status": "finished", "reason": "", "accuracy": 0.5 + cell.sparsity / 10 + cell.seed / 100, "loss": 0.1}
    history = pd.DataFrame({"epoch": [1], "loss": [0.1]})
    facts = {"environment": {"topo": "0"}, "settings": {"pruner": str(cell.pruner and cell.pruner.label)}, "data": "0"}
    torch.manual_seed(cell.seed)
    if cell.pruner is None:
        return CellResult(row, history=history, weights=nn.Linear(4, 2), provenance=facts)
    if dense_weights is not None:
        from safetensors.torch import load_file

        row["loss"] = float(load_file(dense_weights)["weight"].sum())
    masks = Masks({"weight": torch.rand(2, 4) > cell.sparsity})
    layers = pd.DataFrame(
        {"layer": ["0"], "weights": [8], "kept": [int(masks["weight"].sum())], "mean_abs_weight": 0.1}
    )
    metrics = {"rolled": pd.DataFrame({"edges": [1.0]}, index=pd.Index(["0"], name="layer"))}
    return CellResult(row, masks, history, layers=metrics, layer_facts=layers, provenance=facts)
