"""Named things (pruners, models, datasets, metrics): one registry type for all of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .errors import unknown_name

__all__ = ["Entry", "Registry", "import_submodules"]

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered object with its one-line summary, family and further facts."""

    name: str
    item: T
    family: str = ""
    summary: str = ""
    info: dict[str, Any] = field(default_factory=dict)


class Registry(Mapping[str, T]):
    """A mapping from names to objects whose unknown names suggest the nearest right one.

    Examples
    --------
    >>> shapes = Registry("shape")
    >>> @shapes.register("square", family="polygon")
    ... def square():
    ...     "Four equal sides."
    >>> shapes["square"] is square, shapes.entry("square").summary
    (True, 'Four equal sides.')
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, family: str = "", summary: str | None = None, **info: Any) -> Callable[[T], T]:
        """Decorator that registers an object; the summary is the first line of its docstring."""

        def add(item: T) -> T:
            if name in self._entries:
                raise RuntimeError(f"{self.kind} {name!r} is registered twice")
            line = summary if summary is not None else (item.__doc__ or "").strip().split("\n")[0]
            self._entries[name] = Entry(name, item, family, line, info)
            return item

        return add

    def entry(self, name: str) -> Entry[T]:
        """The full entry of `name`; raises `InputError` with the nearest names when unknown."""
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, self._entries) from None

    def entries(self) -> list[Entry[T]]:
        """All entries in the order in which they were registered."""
        return list(self._entries.values())

    def __getitem__(self, name: str) -> T:
        return self.entry(name).item

    def get(self, name: str, default: Any = None) -> T | Any:
        """The object of that name, or `default` when there is none."""
        return self.entry(name).item if name in self else default

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def import_submodules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that a new file registers what it holds and no list need name it."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
