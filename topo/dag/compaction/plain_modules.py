"""Modules that compute one operation and nothing else, so that a call of the module can stand for the operation."""

from __future__ import annotations

from torch import nn

__all__ = ["does_just"]

# What decides what a call of torch's layers computes.
COMPUTING = ("__call__", "forward", "_conv_forward")


def does_just(module: nn.Module, classes: tuple[type, ...]) -> bool:
    """Whether a call of a module is the one operation of torch's layers of these classes.

    A subclass that computes more (an activation, a low-rank adapter, standardised weights), a forward set on the module
    itself, and convolutions that pad with anything but zeros do more than the operation.

    Parameters
    ----------
    module
        A layer.
    classes
        Torch's classes for the operation.

    Returns
    -------
    bool
        False also for modules of other classes.

    Examples
    --------
    >>> does_just(nn.Conv2d(2, 2, 3), (nn.modules.conv._ConvNd,))
    True
    >>> does_just(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (nn.modules.conv._ConvNd,))
    False
    """
    if not isinstance(module, classes) or "forward" in vars(module):
        return False
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return False
    own = next(c for c in type(module).__mro__ if c.__module__.startswith("torch.nn.modules."))
    return all(getattr(type(module), name, None) is getattr(own, name, None) for name in COMPUTING)
