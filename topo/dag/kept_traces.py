"""Traces are kept: a model whose structure has not changed since, or a copy of it, is not traced again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from .dag import Dag
from .model_state import ModelState, Unknown

__all__ = ["forget_traces", "kept_trace", "one_at_a_time"]

MAX_TRACES = 64

_kept: OrderedDict[Hashable, tuple[Dag, dict[str, int | Tensor]]] = OrderedDict()
one_at_a_time = threading.RLock()
"""Held while a model is traced, which puts it in evaluation mode for as long."""


def kept_trace(model: nn.Module, inputs: Any, trace: Callable[[], Dag]) -> Dag:
    """The trace of a model for inputs, which is only made where none of an equal structure is kept.

    What is kept refers to no module and to no parameter or buffer: the model is freed, copied and pickled as if it had
    never been traced. The latest 64 are kept.

    Parameters
    ----------
    model
        A network, in the mode in which it is traced.
    inputs
        What it is called with.
    trace
        Traces it: the result's ``state`` are tensors of the model, or constants.

    Returns
    -------
    Dag
        Reads the tensors that the model has now.

    Examples
    --------
    >>> import copy, time, torch, topo
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> traced, again = topo.trace(net, (4,)), topo.trace(copy.deepcopy(net), (4,))
    >>> again.nodes is traced.nodes, again.state["0.weight"] is net[0].weight
    (True, False)
    """
    with one_at_a_time:
        try:
            state = ModelState(model, inputs)
        except Unknown:
            return trace()
        if state.key not in _kept:
            dag = trace()
            places = {id(tensor): place for place, tensor in enumerate(state.tensors)}
            held = {name: places.get(id(tensor), tensor) for name, tensor in dag.state.items()}
            _kept[state.key] = replace(dag, state={}), held
            while len(_kept) > MAX_TRACES:
                _kept.popitem(last=False)
            return dag
        _kept.move_to_end(state.key)
        dag, held = _kept[state.key]
        tensors = {name: at if isinstance(at, Tensor) else state.tensors[at] for name, at in held.items()}
        return replace(dag, state=tensors)


def forget_traces() -> None:
    """Forget all traces, so that every network is traced again.

    Examples
    --------
    >>> import topo
    >>> net = nn.Linear(3, 2)
    >>> dag = topo.trace(net, (3,))
    >>> forget_traces()
    >>> topo.trace(net, (3,)).nodes is dag.nodes
    False
    """
    with one_at_a_time:
        _kept.clear()
