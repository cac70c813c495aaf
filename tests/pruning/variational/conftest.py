from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import pytest
from torch import Tensor, nn

import topo
from topo.dag.example import Example, example_arguments

TRACED: dict[tuple[Any, ...], topo.Dag] = {}


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are alike read the Dag of the first of them, for tracing takes longer than a short run."""

    def find_trace(model: nn.Module, example: Example) -> topo.Dag:
        parameters = tuple((name, p.shape, p.dtype) for name, p in model.named_parameters())
        args, kwargs = example_arguments(example, model)
        inputs = tuple(value.shape if isinstance(value, Tensor) else value for value in (*args, *kwargs.values()))
        key = type(model), repr(model), parameters, inputs, tuple(kwargs)
        if key not in TRACED:
            TRACED[key] = topo.trace(copy.deepcopy(model), example)
        return TRACED[key].bind(model)

    for name in ("gates", "pruner"):
        monkeypatch.setattr(import_module(f"topo.pruning.variational.{name}"), "trace", find_trace)
