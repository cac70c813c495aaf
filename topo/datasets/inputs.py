"""A batch of a model's inputs: one tensor, a tuple of arguments, or a dict of arguments by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import InputError, counted

__all__ = [
    "IGNORED",
    "Batch",
    "Inputs",
    "call_model",
    "checked_batch",
    "input_tensors",
    "is_batch",
    "joined",
    "kind_of",
    "labels_name",
    "map_inputs",
    "selected",
    "unfit_labels",
]

Inputs: TypeAlias = Tensor | tuple[Any, ...] | dict[str, Any]
"""Tensors with samples along their first axis; a tuple are positional arguments, a dict are keyword arguments, each of
them a tensor or itself a dict, list or tuple of tensors."""

Batch: TypeAlias = tuple[Inputs, Tensor]
"""Inputs and their targets: one a sample, (samples,), or one a position of it, (samples, positions)."""

IGNORED = -100
"""The target of a position that no answer is asked of, such as padding; the number that torch and transformers use."""

LABELS = ("labels", "label")
"""Under which names a batch in one dict holds its targets."""


def input_tensors(inputs: Inputs) -> list[Tensor]:
    """The tensors that inputs consist of, in order.

    Parameters
    ----------
    inputs
        A tensor, or a tuple or dict of tensors.

    Returns
    -------
    list
        Of tensors.
    """
    return pytree.tree_leaves(inputs)


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Inputs of the same form, each tensor passed through a function.

    Parameters
    ----------
    function
        From a tensor to a tensor.
    inputs
        A tensor, or a tuple or dict of tensors.

    Returns
    -------
    Tensor, tuple or dict
        What the function returns, in the form of `inputs`.

    Examples
    --------
    >>> map_inputs(lambda tensor: tensor + 1, {"x": torch.zeros(1), "y": torch.ones(1)})
    {'x': tensor([1.]), 'y': tensor([2.])}
    """
    # The usual case, for which going through a tree takes as long as a small network's forward pass.
    return function(inputs) if isinstance(inputs, Tensor) else pytree.tree_map(function, inputs)


def call_model(model: Callable[..., Any], inputs: Inputs) -> Any:
    """The model's output: a tuple is passed as positional arguments, a dict as keyword arguments.

    Parameters
    ----------
    model
        A module, or any function of tensors.
    inputs
        A tensor, or a tuple or dict of tensors.

    Returns
    -------
    object
        What the model returns.
    """
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def selected(batch: Batch, index: Tensor) -> Batch:
    """The samples of a batch with these numbers, in this order.

    Parameters
    ----------
    batch
        Inputs and targets, the samples along their first axes.
    index
        Numbers of samples, int64, or a bool mask of them.

    Returns
    -------
    tuple
        Inputs and targets.
    """
    inputs, targets = batch
    return map_inputs(lambda tensor: tensor[index.to(tensor.device)], inputs), targets[index.to(targets.device)]


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of one form as one batch.

    Parameters
    ----------
    batches
        Pairs of inputs and targets, at least one.

    Returns
    -------
    tuple
        Inputs and targets, one batch after the other.

    Raises
    ------
    InputError
        When their shapes differ.
    """
    first = batches[0][0]
    try:
        targets = torch.cat([targets for _, targets in batches])
        parts = [torch.cat(tensors) for tensors in zip(*(input_tensors(i) for i, _ in batches), strict=True)]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the batches of data do not have one shape: {str(error).splitlines()[0]}") from error
    return pytree.tree_unflatten(parts, pytree.tree_structure(first)), targets


def is_batch(value: Any) -> bool:
    """Whether a value is a pair of inputs, in any of their forms, and of targets, of tensors or NumPy arrays.

    Parameters
    ----------
    value
        Anything.

    Returns
    -------
    bool
        True for lists and other mappings of tensors too, and for one mapping that holds targets under ``"labels"``;
        `checked_batch` brings them into form.
    """
    if isinstance(value, Mapping):
        arrays = all(isinstance(part, Tensor | np.ndarray) for part in value.values())
        return len(value) > 1 and arrays and labels_name(value) is not None
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[1], Tensor | np.ndarray):
        return False
    leaves = pytree.tree_leaves(dict(value[0]) if isinstance(value[0], Mapping) else value[0])
    return bool(leaves) and all(isinstance(leaf, Tensor | np.ndarray) for leaf in leaves)


def checked_batch(value: Any) -> Batch:
    """A batch in its canonical form, with at least one sample and as many targets as inputs; whole numbers are int64.

    Parameters
    ----------
    value
        What should be a pair (inputs, targets), or one mapping of inputs by name with the targets under ``"labels"``.
        Labels that repeat ``"input_ids"`` wherever they are not `IGNORED` are those of next-token prediction as
        transformers has them: each position gets the label of the next one.

    Returns
    -------
    tuple
        Inputs, as a tensor, a tuple or a dict of tensors, and targets.

    Raises
    ------
    InputError
        When it is something else.
    """
    if not is_batch(value):
        pair = isinstance(value, tuple | list) and len(value) == 2
        kinds = " and ".join(type(part).__name__ for part in value) if pair else type(value).__name__
        raise InputError(
            f"every batch of data must be a pair (inputs, targets) of tensors or NumPy arrays, not {kinds}; several "
            "inputs are a tuple, or a dict by argument name, in the place of the one, and torch.as_tensor makes a "
            "tensor of a list or of the to_numpy() of a table; a dict of both has the targets as 'labels'."
        )
    inputs, targets = _separated(value) if isinstance(value, Mapping) else value
    if not isinstance(inputs, Tensor | np.ndarray):
        inputs = dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs)
    inputs, targets = pytree.tree_map_only(np.ndarray, _as_tensor, (inputs, targets))
    if targets.is_complex():
        raise InputError(
            f"the targets of data are complex ({targets.dtype}), which no loss takes; give their parts side by side, "
            "as by torch.view_as_real, or their absolute values."
        )
    if kind_of(targets) == "classes":
        targets = targets.long()
    if any(tensor.ndim == 0 for tensor in (*input_tensors(inputs), targets)):
        raise InputError(
            "inputs and targets of data must have samples along their first axis; give batches, or a list of samples."
        )
    *lengths, count = map(len, (*input_tensors(inputs), targets))
    if 0 in (*lengths, count):
        raise InputError("data holds no samples; give at least one input and its target.")
    if {*lengths} != {count}:
        raise InputError(
            f"inputs and targets of data differ in length ({' and '.join(map(str, lengths))} inputs, "
            f"{counted(count, 'target')}); give one target an input."
        )
    return inputs, targets


def labels_name(batch: Mapping[str, Any]) -> str | None:
    """The name under which a mapping holds its targets.

    Parameters
    ----------
    batch
        Inputs and targets by name.

    Returns
    -------
    str or None
        ``"labels"`` or ``"label"``; None where there is neither.
    """
    return next((name for name in LABELS if name in batch), None)


def _separated(batch: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """Inputs by name and targets of one mapping of both."""
    parts = {name: _as_tensor(part) if isinstance(part, np.ndarray) else part for name, part in batch.items()}
    name = labels_name(batch)
    assert name is not None, "the batch holds labels"
    targets = parts.pop(name)
    # Of an encoder and decoder the labels are those of the decoder's positions.
    tokens = None if "decoder_input_ids" in parts else parts.get("input_ids")
    scored = targets != IGNORED
    if tokens is None or targets.ndim < 2 or targets.shape != tokens.shape or (targets != tokens)[scored].any():
        return parts, targets
    return parts, torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], IGNORED)], dim=1)


def _as_tensor(array: np.ndarray) -> Tensor:
    try:
        return torch.from_numpy(array.copy())  # a copy, for arrays that are read-only or reversed
    except TypeError as error:
        raise InputError(f"data holds an array of {array.dtype}, which no tensor can hold; give numbers.") from error


def kind_of(targets: Tensor) -> str:
    """What targets are by their type: whole numbers are classes, bools are labels.

    Parameters
    ----------
    targets
        Of any shape.

    Returns
    -------
    str
        ``"classes"``, ``"labels"`` or ``"numbers"``.

    Examples
    --------
    >>> [kind_of(torch.tensor(targets)) for targets in ([0, 2], [True], [0.5])]
    ['classes', 'labels', 'numbers']
    """
    return "labels" if targets.dtype == torch.bool else "numbers" if targets.is_floating_point() else "classes"


def unfit_labels(targets: Tensor, outputs: int, *, name: str = "data") -> InputError:
    """The error for labels that a model of so many outputs cannot learn.

    Parameters
    ----------
    targets
        The labels.
    outputs
        How many classes the model has.
    name
        What the message calls the data.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> print(unfit_labels(torch.arange(6), 3))
    data has labels from 0 to 5 and the model has 3 outputs; give labels from 0 to 2, or a model of 6 outputs.
    >>> print(unfit_labels(torch.rand(6) * 0, 3))
    data has labels from 0 to 0 (torch.float32 of shape (6,)) and the model has 3 outputs; give one label a sample, a
    whole number from 0 to 2.
    """
    labels = kind_of(targets) == "classes"
    of_positions = labels and targets.ndim > 1
    asked = targets[targets != IGNORED] if of_positions and (targets != IGNORED).any() else targets
    low, high = float(asked.min()), float(asked.max())
    kind = "" if labels and not of_positions else f" ({targets.dtype} of shape {tuple(targets.shape)})"
    if labels and low >= 0 and high >= outputs:
        remedy = f"give labels from 0 to {outputs - 1}, or a model of {high + 1:.0f} outputs"
    else:
        each = f"position, {IGNORED} for none," if of_positions else "sample,"
        remedy = f"give one label a {each} a whole number from 0 to {outputs - 1}"
    return InputError(
        f"{name} has labels from {low:g} to {high:g}{kind} and the model has {counted(outputs, 'output')}; {remedy}."
    )
