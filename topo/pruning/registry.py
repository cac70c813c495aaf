"""The pruning algorithms by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from ..errors import InputError, nearest
from ..registry import Item, Registry
from ..validation import Setting
from ..validation import settings_of as settings_of_function

__all__ = ["FAMILIES", "PRUNERS", "STAGES", "PrunerRegistry", "settings_of"]

STAGES = {
    "initial": "a study applies it to the fresh weights, before training",
    "trained": "a study applies it to the trained dense network, and trains on",
    "training": "it changes the masks while the network is trained, and returns a SparseTrainingCallback",
}
"""When an algorithm prunes."""

FAMILIES = {
    "initial": "single weights, before training",
    "dynamic": "single weights, which come and go while training",
    "trained": "single weights, during or after training",
    "structured": "whole channels, filters or units; a study then also says what the smaller network costs",
}
"""What an algorithm prunes, which tables and figures group it by; a name of your own makes another family."""


class PrunerRegistry(Registry[Callable[..., dict[str, Tensor]]]):
    """The registry of pruning algorithms, each of a stage and a family.

    Examples
    --------
    >>> PRUNERS.register("mine", family="trained", stage="before")
    Traceback (most recent call last):
    topo.errors.InputError: pruner 'mine' is of stage 'before'; its stage must be 'initial' (a study applies it to ...
    """

    def register(
        self, name: str, *, family: str = "", summary: str | None = None, stage: str = "", **info: Any
    ) -> Callable[[Item], Item]:
        """Decorator that registers an algorithm.

        Parameters
        ----------
        name
            A word without blanks.
        family
            One of `FAMILIES`, or a name of your own for another family.
        summary
            One line on what it is; the first line of its docstring unless given.
        stage
            One of `STAGES`.
        info
            Further facts, such as ``paper``, ``needs_data``, ``needs_example`` for one that traces the network, and
            ``trains`` for one that trains before it has masks.

        Returns
        -------
        callable
            A decorator that returns its object unchanged.

        Raises
        ------
        InputError
            When the stage is unknown, the family is missing or a known one misspelt, or the name is taken.
        """
        if not isinstance(stage, str) or stage not in STAGES:
            raise InputError(f"pruner {name!r} {_is_of('stage', stage)}; its stage must be {_meanings(STAGES)}.")
        misspelt = isinstance(family, str) and family not in FAMILIES and get_close_matches(family, FAMILIES, 1, 0.7)
        if not isinstance(family, str) or not family or misspelt:
            hint = f"did you mean {nearest(family, FAMILIES, 1)[0]!r}? " if misspelt else ""
            raise InputError(
                f"pruner {name!r} {_is_of('family', family)}; {hint}Known: {_meanings(FAMILIES)}; "
                "any other word is a family of your own."
            )
        return super().register(name, family=family, summary=summary, stage=stage, **info)


def _is_of(fact: str, value: Any) -> str:
    return f"is of {fact} {value!r}" if value else f"is registered without a {fact}"


def _meanings(options: dict[str, str]) -> str:
    *first, last = [f"{name!r} ({meaning})" for name, meaning in options.items()]
    return f"{', '.join(first)} or {last}"


PRUNERS = PrunerRegistry("pruner")
"""Algorithms ``algorithm(task, *, ...settings) -> {parameter name: bool tensor}``; see `topo.pruning.task.Task`.

Facts of an entry: ``paper``; ``stage``, one of `STAGES`; and those that `topo.pruning.needs_of` sums up.
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
