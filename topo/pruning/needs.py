"""What pruners need beside the network, and the error of a call that does not give it."""

from __future__ import annotations

from ..errors import InputError
from .registry import PRUNERS

__all__ = ["NEEDS", "NotGiven", "needs_of"]

NEEDS = {
    "nothing": "the network alone",
    "example": "an example of the network's input, or data",
    "data": "data",
    "recipe": "data, and a recipe to train with",
}
"""What a pruner needs beside the network."""

_NOT_GIVEN = {
    "example": "needs an example of the model's input; give example=, a tensor, a tuple or a dict of tensors, or the "
    "shape of one sample such as (3, 32, 32), or data",
    "data": "needs data; give data=(inputs, targets), a dataset, a loader or batches",
    "recipe": 'trains the network; give data= and recipe=, such as data=topo.datasets.load("digits"), recipe="digits"',
}


class NotGiven(InputError):
    """A call of a pruner does not give what it needs.

    Parameters
    ----------
    pruner
        Its name.
    needs
        What it needs, of `NEEDS`.

    Attributes
    ----------
    needs
        What it needs, of `NEEDS`.
    """

    def __init__(self, pruner: str, needs: str) -> None:
        super().__init__(f"pruner {pruner!r} {_NOT_GIVEN[needs]}.")
        self.needs = needs


def needs_of(name: str) -> str:
    """What a pruner says that it needs beside the network.

    Parameters
    ----------
    name
        An algorithm of `PRUNERS`.

    Returns
    -------
    str
        A key of `NEEDS`, the most that it needs: a recipe comes with data, and data with an example.

    Examples
    --------
    >>> [needs_of(name) for name in ("magnitude", "synflow", "snip", "rigl")]
    ['nothing', 'example', 'data', 'recipe']
    """
    facts = PRUNERS.entry(name).info
    if facts.get("stage") == "training" or facts.get("trains"):
        return "recipe"
    if facts.get("needs_data"):
        return "data"
    return "example" if facts.get("needs_example") else "nothing"
