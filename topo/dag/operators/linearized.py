"""Counterparts of operations in a network made linear and non-negative: identities, scales, and sums for products.

Each takes the function that Python code calls, and its arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "attention",
    "chosen",
    "constant_one",
    "difference",
    "filled",
    "identity",
    "multi_head_attention",
    "numerator",
    "opposite",
    "product_of",
    "scaled",
    "sum_of_halves",
    "table_columns",
    "with_addend",
]

FORBIDDEN = -1e4
"""What is at most this, put in the place of an attention logit or added to it, lets nothing pass."""

signature = lru_cache(inspect.signature)


def identity(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """The input: what an activation does to a positive number is at most to bend it.

    Parameters
    ----------
    function
        The operation itself, which is called for whole numbers alone.
    args, kwargs
        Its arguments, of which the input is the first or named ``input``.

    Returns
    -------
    Tensor
        The input.
    """
    given = args[0] if args else kwargs["input"]
    # Whole numbers are places and counts, such as those of tokens.
    return given if given.is_floating_point() else function(*args, **kwargs)


def scaled(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """A norm that only scales: by its weight, and where it has one over the running deviation.

    Parameters
    ----------
    function
        The norm, which tells how its arguments bind.
    args, kwargs
        Its arguments.

    Returns
    -------
    Tensor
        In the shape of the input.
    """
    given = signature(function).bind(*args, **kwargs).arguments
    values, weight, variance = given["input"], given.get("weight"), given.get("running_var")
    # Layer and RMS norm have a weight for each of the last dimensions, the others one for each channel.
    shape = given.get("normalized_shape")
    channels = (1, -1) + (1,) * (values.ndim - 2) if shape is None else tuple(shape)
    if variance is not None:
        values = values / (variance + given.get("eps", 1e-5)).sqrt().view(channels)
    return values if weight is None else values * weight.view(channels)


def product_of(multiply: Callable[..., Tensor]) -> Callable[..., Any]:
    """The sum in place of a product of two activations; with a weight it stays one, with a constant of its size.

    Parameters
    ----------
    multiply
        Product of two tensors, after what other arguments it takes.

    Returns
    -------
    callable
        Takes the operation and its arguments.
    """

    def summed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if _are_activations(*args[-2:]):
            return _sum_for_product(partial(multiply, *args[:-2]), *args[-2:])
        # Parameters are not negative already; a constant may be, as those of rotary positions.
        if any(isinstance(factor, Tensor) and factor.requires_grad for factor in args[-2:]):
            args = (*args[:-2], *map(_size, args[-2:]))
        return function(*args, **kwargs)

    return summed


def sum_of_halves(function: Callable[..., Any], input: Tensor, dim: int = -1) -> Tensor:
    """The sum in place of the product of one half and an activation of the other.

    Parameters
    ----------
    function
        The operation itself, which is not called.
    input
        A tensor of even size along `dim`.
    dim
        Axis that is halved.

    Returns
    -------
    Tensor
        Half as long along `dim`.
    """
    first, second = input.chunk(2, dim)
    return first + second


def opposite(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The input in place of its negative, where it is an activation.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments, the input first.

    Returns
    -------
    Tensor
        In the shape of the input.
    """
    activation = args and isinstance(args[0], Tensor) and args[0].requires_grad
    return args[0] if activation else function(*args, **kwargs)


def difference(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The sum of two activations, as of a vector and its mean, in place of their difference.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments, minuend and subtrahend first.

    Returns
    -------
    Tensor
        Of the shape of the difference.
    """
    return args[0] + args[1] if _are_activations(*args[:2]) else function(*args, **kwargs)


def numerator(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The dividend in place of its quotient by an activation, such as its own norm, which counts as a constant 1.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments, dividend and divisor first.

    Returns
    -------
    Tensor
        Of the shape of the quotient.
    """
    if _are_activations(*args[:2]):
        return args[0] * torch.ones_like(args[1], requires_grad=False)
    if len(args) > 1 and isinstance(args[0], Tensor) and args[0].requires_grad:
        args = (args[0], _size(args[1]), *args[2:])
    return function(*args, **kwargs)


def constant_one(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One in place of what an activation is divided by, a statistic of it.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments, the input first.

    Returns
    -------
    Tensor
        In the shape of the input.
    """
    if args and isinstance(args[0], Tensor) and _depends_on_input(args[0]):
        return torch.ones_like(args[0], requires_grad=False)
    return function(*args, **kwargs)


def filled(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Zero in place of a fill that forbids, as attention masks fill in.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments: input, mask and value.

    Returns
    -------
    Tensor
        In the shape of the result.
    """
    names = ("input", "mask", "value")
    given = {**dict(zip(names, args)), **kwargs}
    given.setdefault("input", given.pop("self", None))
    return torch.masked_fill(*(_open(given[name]) if name == "value" else given[name] for name in names))


def chosen(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Zero in place of what forbids, where the other choice is an activation.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments: condition and both choices.

    Returns
    -------
    Tensor
        In the shape of the result.
    """
    if len(args) == 3 and any(isinstance(choice, Tensor) and _depends_on_input(choice) for choice in args[1:]):
        return torch.where(args[0], *(_open(choice) for choice in args[1:]))
    return function(*args, **kwargs)


def with_addend(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Zero in place of a sum with a constant that forbids, as masks are added to attention logits.

    Parameters
    ----------
    function
        The operation itself.
    args, kwargs
        Its arguments, the addends first.

    Returns
    -------
    Tensor
        In the shape of the sum.
    """
    for mask, other in (args[:2], args[1::-1]):
        constant = isinstance(mask, Tensor) and mask.is_floating_point() and not mask.requires_grad
        if constant and isinstance(other, Tensor) and other.requires_grad and bool((mask <= FORBIDDEN).any()):
            return (other + _open(mask)) * (mask > FORBIDDEN)
    return function(*args, **kwargs)


def table_columns(table: Tensor, shape: Sequence[int]) -> Tensor:
    """What a table of embeddings gives where every token is there at once: the sums of its columns.

    A table is the first layer of a network on one-hot vectors, whose input of ones this is.

    Parameters
    ----------
    table
        (tokens, columns).
    shape
        Of the tokens that are looked up.

    Returns
    -------
    Tensor
        (*shape, columns), which depends on an input of ones.
    """
    return table.new_ones(*shape, len(table), requires_grad=True) @ table


def _open(value: Any) -> Any:
    """A number, or the numbers of a constant, with zero in the place of those that forbid."""
    if isinstance(value, Tensor):
        return value if value.requires_grad else value.masked_fill(value <= FORBIDDEN, 0)
    return 0.0 if value <= FORBIDDEN else value


def _size(factor: Any) -> Any:
    """The absolute value of a constant; parameters, what is made of them and activations stay."""
    if isinstance(factor, Tensor):
        return factor if factor.requires_grad or not factor.is_floating_point() else factor.abs()
    return abs(factor) if isinstance(factor, int | float) else factor


def attention(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """The mean value of all tokens, plus the mean query of each token, plus the mean key of all.

    Parameters
    ----------
    function
        The operation itself, which is not called.
    args, kwargs
        Query, key and value first, or by these names; other arguments do not matter.

    Returns
    -------
    Tensor
        In the shape of attention's own output.
    """
    return _attention(*args[:3], **{name: kwargs[name] for name in ("query", "key", "value") if name in kwargs})


def multi_head_attention(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    """The same for every head, between the projections.

    Parameters
    ----------
    function
        PyTorch's multi-head attention, which tells how its arguments bind.
    args, kwargs
        Its arguments, tensors of shape (tokens, ..., features).

    Returns
    -------
    tuple
        The output, and None in the place of the attention weights.
    """
    given = signature(function).bind(*args, **kwargs).arguments
    weight = given.get("in_proj_weight")
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    projections = [given[name] for name in names] if weight is None else weight.chunk(3)
    # (tokens, ..., features) to (..., heads, tokens, features of a head) and back.
    heads = [
        F.linear(given[name], projection).unflatten(-1, (given["num_heads"], -1)).movedim(0, -2)
        for name, projection in zip(("query", "key", "value"), projections, strict=True)
    ]
    return F.linear(_attention(*heads).movedim(-2, 0).flatten(-2), given["out_proj_weight"]), None


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if query.ndim > 3 and key.shape[-3] != query.shape[-3]:  # several query heads read one head of keys and values
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    logits = _sum_for_product(torch.matmul, query, key.transpose(-2, -1))
    return _sum_for_product(torch.matmul, logits, value)


def _sum_for_product(product: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """For a bilinear b(left, right): (b(left, 1) + b(1, right)) / b(1, 1), ones in place of the other factor."""
    ones = torch.ones_like(left), torch.ones_like(right)
    return (product(left, ones[1]) + product(ones[0], right)) / product(*ones)


def _are_activations(*args: Any) -> bool:
    """Whether both factors are computed from the input: parameters, what is made of them, and constants still scale."""
    return len(args) == 2 and all(isinstance(factor, Tensor) and _depends_on_input(factor) for factor in args)


def _depends_on_input(tensor: Tensor) -> bool:
    """Whether a leaf of the tensor's autograd graph is not a parameter."""
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and not isinstance(leaf, nn.Parameter):
            return True
        waiting += [following for following, _ in node.next_functions]
    return False
