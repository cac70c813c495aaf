"""Classes of what models return, as torch needs to know them to look inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.export import register_dataclass
from torch.utils import _pytree as pytree

from ..errors import InputError

__all__ = ["only_tensors_returned", "registered"]

PLAIN = (Tensor, int, float, complex, bool, str, bytes, type(None))


@contextmanager
def only_tensors_returned(model: nn.Module) -> Iterator[None]:
    """Let a model return None in place of objects that torch cannot look into, where it returns tensors beside them.

    Such objects are the caches of keys and values of language models, which hold no result of their own.

    Parameters
    ----------
    model
        Changed for the length of the ``with`` block.

    Yields
    ------
    None
    """

    def opaque(leaf: Any) -> bool:
        return not isinstance(leaf, PLAIN) and not is_dataclass(leaf)

    def leave_out(module: nn.Module, args: Any, output: Any) -> Any:
        leaves = pytree.tree_leaves(output)
        if not any(map(opaque, leaves)) or not any(isinstance(leaf, Tensor) for leaf in leaves):
            return None
        return pytree.tree_map(lambda leaf: None if opaque(leaf) else leaf, output)

    hook = model.register_forward_hook(leave_out)
    try:
        yield
    finally:
        hook.remove()


def registered(output: Any) -> bool:
    """Register the dataclasses that a model returns, with `torch.export.register_dataclass`.

    Parameters
    ----------
    output
        What a model returns.

    Returns
    -------
    bool
        Whether there was one that torch did not know.

    Raises
    ------
    InputError
        When there is something else that torch cannot look into.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import make_dataclass
    >>> Scores = make_dataclass("Scores", ["logits", "rank"])
    >>> registered([Scores(torch.zeros(2), 3)]), registered([Scores(torch.zeros(2), 3)])
    (True, False)
    >>> registered({"scores": object()})
    Traceback (most recent call last):
    topo.errors.InputError: the model returns an object of class 'object', into which torch cannot look; let it return
    tensors in tuples, lists, dicts or dataclasses, or tell torch the class with
    torch.utils._pytree.register_pytree_node.
    """
    some = False
    while unknown := [leaf for leaf in pytree.tree_leaves(output) if not isinstance(leaf, PLAIN)]:
        kind = type(unknown[0])
        if not is_dataclass(kind):
            raise InputError(
                f"the model returns an object of class {kind.__name__!r}, into which torch cannot look; let it return "
                "tensors in tuples, lists, dicts or dataclasses, or tell torch the class with "
                "torch.utils._pytree.register_pytree_node."
            )
        register_dataclass(kind)
        some = True
    return some
