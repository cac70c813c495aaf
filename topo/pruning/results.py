"""Checks of what a pruning algorithm returns, where it enters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, listed, nearest

__all__ = ["all_zero", "checked_masks", "checked_tensors"]


def all_zero(pruner: str, what: str, values: Mapping[str, Tensor]) -> InputError:
    """The error for scores that are all zero, which names the weights that are why.

    Parameters
    ----------
    pruner
        Its name.
    what
        What is scored.
    values
        Name -> parameter of the model, of all of them.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> print(all_zero("snip", "every weight", {"head.weight": torch.zeros(2, 3)}))
    pruner 'snip' scores every weight zero, for 'head.weight' is all zero, as a fresh head may be, or a layer that
    masks of the model or earlier rounds emptied, and lets no gradient pass; initialise it, as by
    torch.nn.init.kaiming_uniform_, train the network a little first, or lower the sparsity.
    """
    zeros = [name for name, value in values.items() if value.ndim > 1 and value.is_floating_point() and not value.any()]
    if not zeros:
        return InputError(
            f"pruner {pruner!r} scores {what} zero: what is scored depends on none; is the network dead, or are its "
            "weights all equal?"
        )
    are, let, them = ("are", "let", "them") if len(zeros) > 1 else ("is", "lets", "it")
    return InputError(
        f"pruner {pruner!r} scores {what} zero, for {listed(zeros)} {are} all zero, as a fresh head may be, or a layer "
        f"that masks of the model or earlier rounds emptied, and {let} no gradient pass; initialise {them}, as by "
        "torch.nn.init.kaiming_uniform_, train the network a little first, or lower the sparsity."
    )


def checked_masks(
    masks: Any, pruner: str, weights: Mapping[str, Tensor], others: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The masks that an algorithm returned, after checking that they are masks of the weights.

    Parameters
    ----------
    masks
        What it returned.
    pruner
        Its name.
    weights
        The weights to be pruned: each must have a mask.
    others
        Further parameters of the model, which may have one.

    Returns
    -------
    dict
        Name -> bool mask.

    Raises
    ------
    InputError
        In one sentence that names the pruner and what is wrong.
    """
    checked = checked_tensors(masks, "mask", pruner, weights, others)
    for name, mask in checked.items():
        if mask.dtype != torch.bool:
            raise InputError(f"pruner {pruner!r} returned a mask of {name!r} of {mask.dtype}; masks are bool tensors.")
    return checked


def checked_tensors(
    values: Any, what: str, pruner: str, weights: Mapping[str, Tensor], others: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Tensors by the names of weights and of their shapes; `what` they are is ``"mask"`` or ``"score"``.

    Parameters
    ----------
    values
        What the pruner returned.
    what
        ``"mask"`` or ``"score"``, for the message.
    pruner
        Name of the pruner, for the message.
    weights
        Name -> weight, each of which needs a value.
    others
        Name -> further parameters that may have one.

    Returns
    -------
    dict
        `values`, in the order of `weights`.

    Raises
    ------
    InputError
        When a name is missing or unknown, or a value is no tensor of its weight's shape.
    """
    if not isinstance(values, Mapping):
        described = "None" if values is None else f"a {type(values).__name__}"
        raise InputError(
            f"pruner {pruner!r} returned {described} in the place of {what}s; it must return a dict with a tensor for "
            f"every name in task.weights."
        )
    known = {**(others or {}), **weights}
    for name, value in values.items():
        if name not in known:
            close = nearest(str(name), known, 1)
            hint = f"did you mean {close[0]!r}" if close else f"its weights are {', '.join(list(weights)[:5])}"
            raise InputError(
                f"pruner {pruner!r} returned a {what} of {name!r}, which is no parameter of the model; {hint}."
            )
        if not isinstance(value, Tensor):
            raise InputError(
                f"pruner {pruner!r} returned a {type(value).__name__} as the {what} of {name!r}; it must be a tensor."
            )
        if value.shape != known[name].shape:
            raise InputError(
                f"pruner {pruner!r} returned a {what} of shape {tuple(value.shape)} for {name!r}, whose shape is "
                f"{tuple(known[name].shape)}."
            )
    missing = [name for name in weights if name not in values]
    if missing:
        raise InputError(
            f"pruner {pruner!r} returned no {what} of {', '.join(map(repr, missing[:5]))}; it must return one of every "
            "name in task.weights."
        )
    return dict(values)
