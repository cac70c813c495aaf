"""Counterparts of operations in a network made linear and non-negative: identities, scales, and sums for products.

Each takes the function that Python code calls, and its arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["attention", "identity", "multi_head_attention", "product_of", "scaled", "sum_of_halves"]

signature = lru_cache(inspect.signature)


def identity(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
    """The input: what an activation does to a positive number is at most to bend it.

    Parameters
    ----------
    function
        The operation itself, which is not called.
    args, kwargs
        Its arguments, of which the input is the first or named ``input``.

    Returns
    -------
    Tensor
        The input.
    """
    return args[0] if args else kwargs["input"]


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
    """The sum in place of a product of two activations; a product with a weight stays one.

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
