"""What a node of an exported graph tells: which module ran it, and which of its sizes are free."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import torch
from torch import fx

from .operators import operator_called

__all__ = ["PARAMETRISATIONS", "filling", "is_symbol", "module_class", "module_path"]

PARAMETRISATIONS = "parametrizations"
"""The part of a parametrised module that computes its weights, which does nothing to activations."""


def module_path(node: fx.Node) -> str:
    """Path of the innermost module that ran a node; empty for the model itself.

    Parameters
    ----------
    node
        Of the graph of an exported program.

    Returns
    -------
    str
        A second call of a shared module, which export marks ``@1``, has the same path; what computes the weights of a
        module has that of the module.
    """
    parts = _innermost(node)[0].split("@")[0].split(".")
    return ".".join(takewhile(lambda part: part != PARAMETRISATIONS, parts))


def module_class(node: fx.Node) -> str:
    """Name of the class of that module.

    Parameters
    ----------
    node
        Of the graph of an exported program.

    Returns
    -------
    str
        Without the package that it is of.
    """
    kind = _innermost(node)[1]
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def _innermost(node: fx.Node) -> tuple[str, str | type]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1] if stack else ("", "")


def is_symbol(size: Any) -> bool:
    """Whether a size is still free: export keeps a symbol it has fixed to a number as that number.

    Parameters
    ----------
    size
        An entry of a shape that export reports.

    Returns
    -------
    bool
        False for a plain number.
    """
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None


def filling(node: fx.Node) -> Any:
    """The number that an operation fills a tensor with when it reads only the shape of its input.

    Parameters
    ----------
    node
        Of an exported graph.

    Returns
    -------
    object
        None for other operations.
    """
    record = operator_called(node.target)
    return None if record is None or record.fills is None else record.fills(node.args)
