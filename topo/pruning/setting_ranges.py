"""Settings of a pruner out of their ranges, found before there is a network to prune."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache
from typing import Any, NoReturn

import torch
from torch import nn

from ..errors import InputError
from .opening import open_task
from .registry import PRUNERS
from .task import Task

__all__ = ["check_ranges"]


class _SeenEnough(Exception):
    """An algorithm has come to what depends on data, after it has looked at its settings."""


class _WithoutData(Task):
    """A task that ends an algorithm where it asks for data, a pass through the network or training."""

    def _end(self, *arguments: Any, **named: Any) -> NoReturn:
        raise _SeenEnough

    forward = loss = train = gradients = moved = _end

    @property
    def samples(self) -> Any:
        return _NoSamples()


class _NoSamples:
    def __getattr__(self, name: str) -> Any:
        def ends(*arguments: Any, **named: Any) -> NoReturn:
            raise _SeenEnough

        return ends


def check_ranges(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings of an algorithm whose values are out of range, as far as it looks at them before data.

    The algorithm runs on a network of a few weights up to where it asks for data or training.

    Parameters
    ----------
    name
        An algorithm of `PRUNERS`; one from outside this package is not run.
    settings
        Setting -> value, of the right types.

    Raises
    ------
    InputError
        As the algorithm itself raises it.

    Examples
    --------
    >>> import topo
    >>> check_ranges("synflow", {"rounds": 20})
    >>> check_ranges("synflow", {"rounds": -1})
    Traceback (most recent call last):
    topo.errors.InputError: rounds must be a whole number of at least 1, not -1.
    """
    source = PRUNERS.entry(name).source
    if not settings or source is None or not source.built_in:
        return
    found: InputError | None = None
    # Whatever else is wrong is so of a network of this size.
    with (
        suppress(Exception),
        open_task(
            _network(),
            name,
            sparsity=0.5,
            data=(torch.zeros(2, 1, 4, 4), torch.arange(2)),
            example=(1, 4, 4),
            seed=0,
            device="cpu",
            include=None,
            exclude=None,
        ) as task,
    ):
        probe = _WithoutData(**{field.name: getattr(task, field.name) for field in fields(task) if field.init})
        try:
            PRUNERS[name](probe, **settings)
        except InputError as error:
            found = error if error.setting in settings else None
    if found is not None:
        raise found


@cache
def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
