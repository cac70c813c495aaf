from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import pytest
from torch import nn

import topo

TRACED: dict[tuple[Any, ...], topo.Dag] = {}


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are alike read the Dag of the first of them, for tracing takes longer than a short run."""

    def find_trace(model: nn.Module, example: Any) -> topo.Dag:
        shapes = tuple((name, p.shape, p.dtype) for name, p in model.named_parameters())
        inputs = example if isinstance(example, tuple) else (example,)
        key = type(model), repr(model), shapes, tuple(value.shape for value in inputs)
        if key not in TRACED:
            TRACED[key] = topo.trace(copy.deepcopy(model), example)
        return TRACED[key].bind(model)

    for name in ("gates", "pruner"):
        monkeypatch.setattr(import_module(f"topo.pruning.variational.{name}"), "trace", find_trace)
