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
    *("sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_", "log_softmax", "local_response_norm"),
}
_NORMS = {
    norm: inspect.signature(norm) for norm in (F.batch_norm, F.instance_norm, F.layer_norm, F.group_norm, F.rms_norm)
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
    """Context in which activations are the identity and normalisations only scale.

    It works on the functions that modules call, so it serves models that call them directly too. Batch norm scales
    by weight / sqrt(running variance + eps), which is what it does in evaluation; layer, group, instance and RMS norm,
    and a batch norm without running statistics, whose statistics are those of their input, scale by their weight.
    Softmax inside attention, recurrent cells and functions a model writes out itself stay as they are.

    Examples
    --------
    >>> with PositiveMode():
    ...     torch.sigmoid(torch.tensor(7.0)), F.layer_norm(torch.ones(2), (2,), weight=torch.tensor([3.0, 4.0]))
    (tensor(7.), tensor([3., 4.]))
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", None) in _ACTIVATIONS:
            return args[0] if args else kwargs["input"]
        if function in _NORMS:
            return _scaled(**_NORMS[function].bind(*args, **kwargs).arguments)
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
    channels = (1, -1) + (1,) * (input.ndim - 2) if normalized_shape is None else (*normalized_shape,)
    if running_var is not None:
        input = input / (running_var + eps).sqrt().view(channels)
    return input if weight is None else input * weight.view(channels)
