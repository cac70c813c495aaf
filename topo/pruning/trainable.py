"""A model that is trained for a while and then is in the mode and with the gradients of before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from ..parameter_names import named_parameters

__all__ = ["trainable"]


@contextmanager
def trainable(model: nn.Module, frozen: Iterable[nn.Parameter] = ()) -> Iterator[None]:
    """Let the parameters of a model be trained within a `with` block.

    Parameters
    ----------
    model
        Afterwards its modules are in the modes of before, its parameters require gradients as before and have none.
    frozen
        Parameters that are not trained.

    Examples
    --------
    >>> layer = nn.Linear(2, 1).eval().requires_grad_(False)
    >>> with trainable(layer, [layer.bias]):
    ...     _ = layer.train()
    ...     layer.weight.requires_grad, layer.bias.requires_grad
    (True, False)
    >>> layer.training, layer.weight.requires_grad
    (False, False)
    """
    asked = {name: p.requires_grad for name, p in named_parameters(model).items()}
    modes = {module: module.training for module in model.modules()}
    still = set(map(id, frozen))
    for p in model.parameters():
        p.requires_grad_(id(p) not in still)
    try:
        yield
    finally:
        for name, p in named_parameters(model).items():
            p.requires_grad_(asked[name])
            p.grad = None
        for module, mode in modes.items():
            module.training = mode
