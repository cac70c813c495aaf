"""The pruning algorithms by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..registry import Registry
from ..validation import Setting
from ..validation import settings_of as settings_of_function

__all__ = ["PRUNERS", "settings_of"]

PRUNERS: Registry[Callable[..., dict[str, Tensor]]] = Registry("pruner")
"""Algorithms ``algorithm(task, *, ...settings) -> {parameter name: bool tensor}``; see `topo.pruning.task.Task`.

Facts of an entry: ``paper``; ``needs_data``; ``stage``, ``"initial"`` for one that a study applies before training,
``"trained"`` for one that it applies to the trained dense network, and ``"training"`` for one that changes the masks
while the network is trained, which returns a `topo.pruning.SparseTrainingCallback` in the place of masks.
"""


def settings_of(name: str) -> list[Setting]:
    """The settings of a pruning algorithm, with their types, defaults and documentation.

    Parameters
    ----------
    name
        An algorithm of `PRUNERS`.

    Returns
    -------
    list
        One `topo.validation.Setting` each: name, type, default and text.

    Raises
    ------
    InputError
        When the name is unknown.

    Examples
    --------
    >>> import topo.pruning
    >>> [(setting.name, setting.type, setting.default) for setting in topo.pruning.settings_of("iterative-snip")]
    [('batch_size', 'int', 128), ('allocation', 'str', 'global'), ('rounds', 'int', 60)]
    """
    return settings_of_function(PRUNERS[name])
