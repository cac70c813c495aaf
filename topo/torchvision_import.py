"""The one door to torchvision, open also where its compiled operators cannot be loaded."""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

import torch

__all__ = ["import_torchvision"]


@functools.cache
def import_torchvision() -> ModuleType:
    """The module `torchvision`, with `torchvision.models` and `torchvision.datasets` loaded.

    A CPU build of torch beside the torchvision of another build cannot load torchvision's compiled
    operators, and the import then stops at "operator torchvision::nms does not exist". Models and datasets
    need none of them, so the missing names are declared (without an implementation) and the import is
    tried once more.

    Raises
    ------
    RuntimeError
        Whatever torchvision raised, when it was not about its own operators.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return _load()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_operators()
    return _load()


def _load() -> ModuleType:
    importlib.import_module("torchvision.models")
    importlib.import_module("torchvision.datasets")
    return importlib.import_module("torchvision")


@functools.cache  # the operators live as long as the Library object that declared them
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
