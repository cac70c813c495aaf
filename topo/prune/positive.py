"""A network made linear and positive: absolute weights, no biases, activations and statistics taken out."""

from __future__ import annotations

import inspect
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
_PRODUCTS = {"mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"}
_MATRIX_PRODUCTS = {"matmul", "bmm", "__matmul__"}


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
    A product of two activations (a gate) becomes their sum, and a matrix product the sum of the means of the row and
    the column; so attention is the mean value of all tokens, plus the mean query of its own and the mean key of all.
    Recurrent cells stay as they are.

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
        if name in _PRODUCTS and _are_activations(*args):
            return args[0] + args[1]
        if name in _MATRIX_PRODUCTS and _are_activations(*args):
            return _matrix_product(*args)
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
    """Whether both factors are computed: parameters and constants are not, and keep scaling."""
    return len(args) == 2 and all(isinstance(factor, Tensor) and factor.grad_fn is not None for factor in args)


def _matrix_product(left: Tensor, right: Tensor) -> Tensor:
    return left.mean(-1, keepdim=True) + right.mean(-2, keepdim=True)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _matrix_product(_matrix_product(query, key.transpose(-2, -1)), value)


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
