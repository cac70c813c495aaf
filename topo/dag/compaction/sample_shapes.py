"""The lengths of sequences that a network was unrolled for, held by the smaller network that came of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import InputError
from ..dag import Dag
from ..operators import unrolled_modules

__all__ = ["SampleShapes", "hold_lengths"]


class SampleShapes:
    """Refuses inputs whose samples have another shape than those of the example.

    Parameters
    ----------
    shapes
        Of the samples of each input.
    """

    def __init__(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        self.shapes = shapes

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if len(tensors) != len(self.shapes) or torch.jit.is_tracing():  # which makes tensors of sizes
            return
        for tensor, shape in zip(tensors, self.shapes, strict=True):
            if tuple(tensor.shape[1:]) != shape:
                expected = ", ".join(["N", *map(str, shape)])
                raise InputError(
                    f"recurrent layers are unrolled here for inputs of shape ({expected}), not {tuple(tensor.shape)}; "
                    "compact the network with an example of that length."
                )


def hold_lengths(small: nn.Module, model: nn.Module, dag: Dag) -> None:
    """Let a smaller network refuse sequences of other lengths where the model's recurrent layers were unrolled.

    Parameters
    ----------
    small
        The smaller network.
    model
        Of which it was made.
    dag
        Its Dag.
    """
    if any(isinstance(module, unrolled_modules()) for module in model.modules()):
        shapes = tuple(tuple(dag.nodes[index].shape[1:]) for index in dag.inputs)
        small.register_forward_pre_hook(SampleShapes(shapes), with_kwargs=True)
