"""A network made linear and positive: absolute weights, no biases, activations and statistics taken out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..dag.operators import Composer, operator_called

__all__ = ["LinearizedOperations", "linearize_parameters"]


@torch.no_grad()
def linearize_parameters(model: nn.Module) -> None:
    """Turn a model, in place, to float64 and evaluation mode, its parameters to absolute values, its biases to zero.

    Parameters
    ----------
    model
        Changed in place.
    """
    model.double().eval()
    for name, parameter in model.named_parameters():
        if "bias" in name.rpartition(".")[2]:
            parameter.zero_()
        else:
            parameter.abs_()


class LinearizedOperations(TorchFunctionMode):
    """Context in which activations are the identity, normalisations only scale, and products are sums.

    It works on the functions that modules call, so it serves models that call them directly too. Batch norm scales
    by weight / sqrt(running variance + eps), which is what it does in evaluation; layer, group, instance and RMS norm,
    and a batch norm without running statistics, whose statistics are those of their input, scale by their weight.
    A product of two activations (a gate) becomes their sum, and a matrix product or an einsum of two the sum of their
    means over what it contracts; so attention is the mean value of all tokens, plus the mean query of its own and the
    mean key of all. Recurrent layers are unrolled in time, their gates added. The inputs must require gradients, by
    which activations are told from weights.

    Examples
    --------
    >>> from torch.nn import functional as F
    >>> with LinearizedOperations():
    ...     torch.sigmoid(torch.tensor(7.0)), F.layer_norm(torch.ones(2), (2,), weight=torch.tensor([3.0, 4.0]))
    (tensor(7.), tensor([3., 4.]))
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        record = operator_called(function)
        if record is not None and record.composition is not None:
            with self:
                results = record.composition(Composer(), *args, **(kwargs or {}))
            if results is not NotImplemented:
                return results
        if record is None or record.linearized is None:
            return function(*args, **(kwargs or {}))
        return record.linearized(function, *args, **(kwargs or {}))
