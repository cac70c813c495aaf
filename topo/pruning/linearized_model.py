"""A network made linear and positive: absolute weights, no biases, activations and statistics taken out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["PositiveMode", "make_positive"]

# What these do to a positive number is at most to bend it; passing it on keeps the network linear.
_ACTIVATIONS = {
    *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_"),
    *("elu", "elu_", "selu", "selu_", "celu", "celu_", "gelu", "silu", "silu_", "mish", "hardswish", "softplus"),
    *("sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_", "softmax", "log_softmax", "local_response_norm"),
}
_PRODUCTS = {
    **dict.fromkeys(("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"), torch.mul),
    **dict.fromkeys(("matmul", "bmm", "__matmul__"), torch.matmul),
    "einsum": torch.einsum,
}


@torch.no_grad()
def make_positive(model: nn.Module) -> None:
    """Turn a model, in place, to float64 and evaluation mode, its parameters to absolute values, its biases to zero."""
    model.double().eval()
    for name, parameter in model.named_parameters():
        if "bias" in name.rpartition(".")[2]:
            parameter.zero_()
        else:
            parameter.abs_()


class PositiveMode(TorchFunctionMode):
    """Context in which activations are the identity, normalisations only scale, and products are sums.

    It works on the functions that modules call, so it serves models that call them directly too. Batch norm scales
    by weight / sqrt(running variance + eps), which is what it does in evaluation; layer, group, instance and RMS norm,
    and a batch norm without running statistics, whose statistics are those of their input, scale by their weight.
    A product of two activations (a gate) becomes their sum, and a matrix product or an einsum of two the sum of their
    means over what it contracts; so attention is the mean value of all tokens, plus the mean query of its own and the
    mean key of all. Recurrent cells stay as they are. The inputs must require gradients, by which activations are told
    from weights.

    Examples
    --------
    >>> with PositiveMode():
    ...     torch.sigmoid(torch.tensor(7.0)), F.layer_norm(torch.ones(2), (2,), weight=torch.tensor([3.0, 4.0]))
    (tensor(7.), tensor([3., 4.]))
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", None)
        if name in _ACTIVATIONS:
            return args[0] if args else kwargs["input"]
        if name in _PRODUCTS and _are_activations(*args[-2:]):
            return _sum_for_product(partial(_PRODUCTS[name], *args[:-2]), *args[-2:])
        if function is F.scaled_dot_product_attention:
            return _attention(*args[:3], **{name: kwargs[name] for name in ("query", "key", "value") if name in kwargs})
        if function in _TWINS:
            twin, signature = _TWINS[function]
            return twin(**signature.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)


def _scaled(
    input: Tensor,
    weight: Tensor | None = None,
    running_var: Tensor | None = None,
    normalized_shape: Any = None,
    eps: float = 1e-5,
    **_: Any,
) -> Tensor:
    # Layer and RMS norm have a weight for each of the last dimensions, the others one for each channel.
    channels = (1, -1) + (1,) * (input.ndim - 2) if normalized_shape is None else tuple(normalized_shape)
    if running_var is not None:
        input = input / (running_var + eps).sqrt().view(channels)
    return input if weight is None else input * weight.view(channels)


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


def _sum_for_product(product: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """For a bilinear b(left, right): (b(left, 1) + b(1, right)) / b(1, 1), ones in place of the other factor."""
    ones = torch.ones_like(left), torch.ones_like(right)
    return (product(left, ones[1]) + product(ones[0], right)) / product(*ones)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    logits = _sum_for_product(torch.matmul, query, key.transpose(-2, -1))
    return _sum_for_product(torch.matmul, logits, value)


def _multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    in_proj_weight: Tensor | None,
    out_proj_weight: Tensor,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    projections = (q_proj_weight, k_proj_weight, v_proj_weight) if in_proj_weight is None else in_proj_weight.chunk(3)
    # (tokens, ..., features) to (..., heads, tokens, features of a head) and back.
    heads = [
        F.linear(tensor, weight).unflatten(-1, (num_heads, -1)).movedim(0, -2)
        for tensor, weight in zip((query, key, value), projections, strict=True)
    ]
    return F.linear(_attention(*heads).movedim(-2, 0).flatten(-2), out_proj_weight), None


_TWINS = {
    function: (twin, inspect.signature(function))
    for twin, functions in (
        (_scaled, (F.batch_norm, F.instance_norm, F.layer_norm, F.group_norm, F.rms_norm)),
        (_multi_head_attention, (F.multi_head_attention_forward,)),
    )
    for function in functions
}
