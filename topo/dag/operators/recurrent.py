"""Recurrent layers and cells, unrolled in time: plain operations at every time step, with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from .aten import ENTRY, PICK, STACK
from .composer import Composer
from .record import define

__all__: list[str] = []

aten = torch.ops.aten
ADD, MINUS, NEGATE, TIMES = aten.add.Tensor, aten.sub.Tensor, aten.neg.default, aten.mul.Tensor
CHUNK, JOIN = aten.chunk.default, aten.cat.default
LINEAR, SIGMOID, TANH, RELU = aten.linear.default, aten.sigmoid.default, aten.tanh.default, aten.relu.default

State = tuple[Any, ...]
"""Hidden state and, of an LSTM, cell state; None where it is zero."""
Cell = Callable[[Composer, Any, State, Sequence[Any], bool, str], State]
"""From the input of a time step, the state before it, weights, whether biases are among them, and a label of the time
step, to the state after it, of which the first entry is the output."""


def _lstm_step(
    compose: Composer, x: Any, state: State, weights: Sequence[Any], biases: bool, label: str
) -> tuple[Any, Any]:
    """Hochreiter, Schmidhuber, Long short-term memory, 1997, in the variant of `torch.nn.LSTM`."""
    hidden, cell = state
    gates = _sum_of_linear(compose, x, hidden, weights, biases, f"gates{label}")
    enter, forget, new, leave = _chunks(compose, gates, 4)
    kept = None if cell is None else compose(TIMES, compose(SIGMOID, forget), cell, name=f"cell{label}")
    cell_after = compose(TIMES, compose(SIGMOID, enter), compose(TANH, new), name=f"cell{label}")
    if kept is not None:
        cell_after = compose(ADD, kept, cell_after, name=f"cell{label}")
    hidden_after = compose(TIMES, compose(SIGMOID, leave), compose(TANH, cell_after), name=f"hidden{label}")
    projected = len(weights) - 2 * biases == 3
    if projected:
        hidden_after = compose(LINEAR, hidden_after, weights[-1], name=f"projected{label}")
    return hidden_after, cell_after


def _gru_step(compose: Composer, x: Any, state: State, weights: Sequence[Any], biases: bool, label: str) -> tuple[Any]:
    """Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, in the variant of `torch.nn.GRU`."""
    (hidden,) = state
    gates = compose(LINEAR, x, *_ih(weights, biases), name=f"gates{label}")
    reset, update, new = _chunks(compose, gates, 3)
    of_hidden = None
    if hidden is not None:
        read = compose(LINEAR, hidden, *_hh(weights, biases), name=f"gates_of_hidden{label}")
        *before, of_hidden = _chunks(compose, read, 3)
        reset = compose(ADD, before[0], reset, name=f"reset{label}")
        update = compose(ADD, before[1], update, name=f"update{label}")
        of_hidden = compose(TIMES, of_hidden, compose(SIGMOID, reset), name=f"new{label}")
    elif biases:
        # As a whole, for a part of the bias would be a constant of its own once units are cut out of the bias.
        reset, update, _ = _chunks(compose, compose(ADD, gates, weights[3], name=f"gates{label}"), 3)
        resets = compose(JOIN, [compose(SIGMOID, reset)] * 3, -1)
        of_hidden = _chunks(compose, compose(TIMES, resets, weights[3]), 3)[2]
    if of_hidden is not None:
        new = compose(ADD, new, of_hidden, name=f"new{label}")
    new = compose(TANH, new)
    change = compose(NEGATE, new) if hidden is None else compose(MINUS, hidden, new, name=f"change{label}")
    kept = compose(TIMES, change, compose(SIGMOID, update), name=f"hidden{label}")
    return (compose(ADD, kept, new, name=f"hidden{label}"),)


def _elman_step(
    compose: Composer, x: Any, state: State, weights: Sequence[Any], biases: bool, label: str, activation: Any
) -> tuple[Any]:
    """Elman, Finding structure in time, 1990."""
    total = _sum_of_linear(compose, x, state[0], weights, biases, f"hidden{label}")
    return (compose(activation, total),)


def _sum_of_linear(compose: Composer, x: Any, hidden: Any, weights: Sequence[Any], biases: bool, name: str) -> Any:
    total = compose(LINEAR, x, *_ih(weights, biases), name=name)
    if hidden is not None:
        return compose(ADD, total, compose(LINEAR, hidden, *_hh(weights, biases)), name=name)
    return compose(ADD, total, weights[3], name=name) if biases else total


def _ih(weights: Sequence[Any], biases: bool) -> tuple[Any, ...]:
    return (weights[0], weights[2]) if biases else (weights[0],)


def _hh(weights: Sequence[Any], biases: bool) -> tuple[Any, ...]:
    return (weights[1], weights[3]) if biases else (weights[1],)


def _chunks(compose: Composer, value: Any, count: int) -> list[Any]:
    parts = compose(CHUNK, value, count, -1)
    return [compose(ENTRY, parts, number) for number in range(count)]


def _layers(
    compose: Composer,
    input: Any,
    states: Any,
    weights: Sequence[Any],
    biases: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
    *,
    step: Cell,
) -> Any:
    """All layers and directions at all time steps: the outputs, and the last states.

    Not of packed sequences, whose arguments are other ones, nor with dropout in training.
    """
    time = 1 if batch_first else 0
    if not isinstance(biases, bool) or (training and dropout > 0):
        return NotImplemented
    if compose.counts_samples(input, time):
        raise compose.refusal(
            "it goes through time along the first axis of its input, along which samples are counted; build it with "
            "batch_first=True, or let forward turn inputs of (samples, time, features) round"
        )
    length = compose.length(input, time)
    states = states if isinstance(states, list | tuple) else [states]
    directions = 2 if bidirectional else 1
    each = len(weights) // (layers * directions)
    ends: list[State] = []
    values = [compose(PICK, input, time, moment) for moment in range(length)]
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            own = weights[place * each : (place + 1) * each]
            state = tuple(None if compose.is_zero(s) else compose(PICK, s, 0, place) for s in states)
            label = f"_l{layer}{'_reverse' * direction}"
            written: dict[int, Any] = {}
            for moment in reversed(range(length)) if direction else range(length):
                state = step(compose, values[moment], state, own, biases, f"{label}[{moment}]")
                written[moment] = state[0]
            outputs.append([written[moment] for moment in range(length)])
            ends.append(state)
        both = zip(*outputs, strict=True)
        values = outputs[0] if directions == 1 else [compose(JOIN, list(pair), -1) for pair in both]
    return (compose(STACK, values, time), *(compose(STACK, list(entries), 0) for entries in zip(*ends, strict=True)))


def _one_step(
    compose: Composer,
    input: Any,
    states: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    step: Cell,
) -> Any:
    """A cell: one time step."""
    several = isinstance(states, list | tuple)
    state = tuple(None if compose.is_zero(s) else s for s in (states if several else [states]))
    biases = bias_ih is not None
    after = step(compose, input, state, (weight_ih, weight_hh, *((bias_ih, bias_hh) if biases else ())), biases, "")
    return after if several else after[0]


tanh_step, relu_step = partial(_elman_step, activation=TANH), partial(_elman_step, activation=RELU)
for name, step in (("lstm", _lstm_step), ("gru", _gru_step), ("rnn_tanh", tanh_step), ("rnn_relu", relu_step)):
    define(name, composition=partial(_layers, step=step), modules=(nn.RNNBase,), trained=True)
    define(f"{name}_cell", composition=partial(_one_step, step=step), modules=(nn.RNNCellBase,), trained=True)
