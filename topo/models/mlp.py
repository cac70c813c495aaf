"""Linear layers for tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import InputError
from ..validation import whole_number
from .initialise import initialise
from .registry import MODELS

__all__ = ["linear_layers", "mlp"]


def linear_layers(source: int, widths: Sequence[int], n_outputs: int) -> list[nn.Module]:
    """Linear layers with ReLU between them.

    Parameters
    ----------
    source
        How many numbers come in.
    widths
        Of the hidden layers.
    n_outputs
        How many numbers go out.

    Returns
    -------
    list
        Of modules.

    Raises
    ------
    InputError
        When there is no width, or one is no whole number of at least 1.
    """
    if not widths:
        raise InputError("widths is empty; give the width of at least one hidden layer.")
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(source, whole_number("every number of widths", width, minimum=1)), nn.ReLU()]
        source = width
    return [*layers, nn.Linear(source, n_outputs)]


@MODELS.register("mlp", family="tables", sample=("features",))
def mlp(input_shape: tuple[int], n_classes: int, *, widths: Sequence[int] = (64, 32)) -> nn.Module:
    """Linear layers with hidden `widths` on a row of a table."""
    return initialise(nn.Sequential(*linear_layers(input_shape[0], widths, n_classes)))
