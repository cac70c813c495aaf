"""A network made linear and positive: absolute weights, no biases, activations and statistics taken out."""

from __future__ import annotations

from collections.abc import Container, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.weak import WeakIdKeyDictionary

from ..dag.operators import Composer, operator_called
from ..dag.operators.linearized import table_columns

__all__ = ["LinearizedOperations", "linearize_parameters", "ones_for", "whole_numbers"]


@torch.no_grad()
def linearize_parameters(model: nn.Module, weights: Container[str] | None = None) -> None:
    """Turn a model, in place, to float64 and evaluation mode, its parameters to absolute values, its biases to zero.

    Absolute values of parameters behind a parametrisation that mixes them, such as an orthogonal one, mean nothing: of
    such a weight that is none of `weights` the absolute values of what is computed take its place.

    Parameters
    ----------
    model
        Changed in place.
    weights
        Plain names of the weights that are scored; None for all.
    """
    model.double().eval()
    for path, module in list(model.named_modules()):
        if weights is not None and parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                if (f"{path}.{name}" if path else name) not in weights:
                    # Torch's own removal changes the class, which copies of the module share.
                    module.parametrizations[name] = _Computed(getattr(module, name).detach().abs())
    for name, parameter in model.named_parameters():
        if "bias" in name.rpartition(".")[2]:
            parameter.zero_()
        else:
            parameter.abs_()


class _Computed(nn.ModuleList):
    """A value in the place of the parametrisations that compute it, of which none is left."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.original = nn.Parameter(value, requires_grad=False)

    def forward(self) -> Tensor:
        return self.original


def ones_for(inputs: Any) -> Any:
    """One sample of ones, which require gradients; of whole numbers, such as those of tokens, the first sample's own.

    Parameters
    ----------
    inputs
        Tensors in any structure, samples along their first axes.

    Returns
    -------
    object
        The same structure.

    Examples
    --------
    >>> ones_for((torch.zeros(4, 2), torch.tensor([[3], [5]])))
    (tensor([[1., 1.]], requires_grad=True), tensor([[3]]))
    """

    def first(value: Tensor) -> Tensor:
        return torch.ones_like(value[:1]).requires_grad_(True) if value.is_floating_point() else value[:1]

    return pytree.tree_map_only(Tensor, first, inputs)


def whole_numbers(inputs: Any) -> list[Tensor]:
    """The tensors that are not floating-point.

    Parameters
    ----------
    inputs
        Tensors in any structure.

    Returns
    -------
    list
        Of tensors, such as tokens.
    """
    return [value for value in _tensors(inputs) if not value.is_floating_point()]


class LinearizedOperations(TorchFunctionMode):
    """Context in which activations are the identity, normalisations only scale, and products are sums.

    It works on the functions that modules call, so it serves models that call them directly too. Batch norm scales
    by weight / sqrt(running variance + eps), which is what it does in evaluation; layer, group, instance and RMS norm,
    and a batch norm without running statistics, whose statistics are those of their input, scale by their weight; what
    a norm written out divides by counts as 1. A product of two activations (a gate) becomes their sum, and a matrix
    product or an einsum of two the sum of their means over what it contracts; so attention is the mean value of all
    tokens, plus the mean query of its own and the mean key of all. Differences of activations are sums, constants
    multiply by their size, and what a mask forbids is zero. Recurrent layers are unrolled in time, their gates added.
    The inputs must require gradients, by which activations are told from weights.

    Whole numbers have no gradients. Where `tokens` or what is computed from them is looked up in a table of
    embeddings, the table gives the sums of its columns: it is a layer on one-hot vectors, and its input of ones is
    every token at once. Where they are turned into floating-point numbers these are ones, but for masks of 0 and 1,
    which stay. A table that is looked up by constants, as of positions, adds what a bias does, which is zero.

    Parameters
    ----------
    tokens
        Inputs of whole numbers.

    Examples
    --------
    >>> from torch.nn import functional as F
    >>> with LinearizedOperations():
    ...     torch.sigmoid(torch.tensor(7.0)), F.layer_norm(torch.ones(2), (2,), weight=torch.tensor([3.0, 4.0]))
    (tensor(7.), tensor([3., 4.]))
    >>> tokens = torch.tensor([0, 2])
    >>> with LinearizedOperations(tokens):
    ...     F.embedding(tokens, torch.tensor([[1.0], [2.0], [4.0]])).tolist()
    [[7.0], [7.0]]
    """

    def __init__(self, *tokens: Tensor) -> None:
        super().__init__()
        self._tokens: MutableMapping[Tensor, bool] = WeakIdKeyDictionary()
        self._tokens.update(dict.fromkeys(tokens, True))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        record = operator_called(function)
        if record is not None and record.composition is not None:
            with self:
                results = record.composition(Composer(), *args, **kwargs)
            if results is not NotImplemented:
                return results
        if record is not None and record.lookup:
            return self._looked_up(function, args, kwargs)
        if record is not None and record.linearized is not None:
            result = record.linearized(function, *args, **kwargs)
        else:
            result = function(*args, **kwargs)
        if self._tokens and any(leaf in self._tokens for leaf in _tensors((args, kwargs))):
            return pytree.tree_map_only(Tensor, self._follow, result)
        return result

    def _looked_up(self, function: Any, args: Any, kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        given = _tensors((args, kwargs))
        if any(tensor in self._tokens for tensor in given):
            return table_columns(next(t for t in given if t.is_floating_point()), result.shape[:-1])
        return result * 0

    def _follow(self, result: Tensor) -> Tensor:
        """What is computed from tokens, itself tokens or numbers."""
        if not result.is_floating_point():
            self._tokens[result] = True
        elif not result.requires_grad and not bool(((result == 0) | (result == 1)).all()):
            return torch.ones_like(result).requires_grad_(True)
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
