"""Training and evaluation mode of modules whose parts may be in different ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["evaluation_mode", "own_modes"]


@contextmanager
def own_modes(model: nn.Module) -> Iterator[None]:
    """Put every module back into its own mode, training or evaluation, at the end.

    Parameters
    ----------
    model
        Any module, whose parts may be in different modes, as where batch norms are frozen.

    Yields
    ------
    None
        For a ``with`` block.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode and every module back into its own mode afterwards.

    Parameters
    ----------
    model
        Any module, changed for the length of the ``with`` block.

    Yields
    ------
    None
    """
    with own_modes(model):
        model.eval()
        yield
