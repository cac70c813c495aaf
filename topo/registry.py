"""Named things (pruners, models, datasets, metrics): one registry type for all of them, open to other packages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import InputError, unknown_name, warn

__all__ = ["Entry", "Registry", "Source", "import_submodules"]

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """Where a registered object is defined.

    Attributes
    ----------
    module
        Name of its module; ``"__main__"`` for a notebook or a script that is being run.
    name
        Its name in the module.
    file
        The module's file, where it has one.
    digest
        Hash of that file's content when the object was registered; of the object's own source text without a file;
        empty where neither is to be had, and for what is part of this package.
    """

    module: str
    name: str
    file: Path | None = None
    digest: str = ""

    @classmethod
    def of(cls, item: Any) -> Source:
        """The source of a function or class, or of an instance by the module that registers it.

        Parameters
        ----------
        item
            What is registered.

        Returns
        -------
        Source
            Module, name, file and digest.
        """
        module = getattr(item, "__module__", None) if hasattr(item, "__qualname__") else None
        module = module or _registering_module()
        name = getattr(item, "__qualname__", "")
        path = getattr(sys.modules.get(module), "__file__", None)
        file = Path(path).resolve() if path else None
        return cls(module, name, file, "" if _is_built_in(module) else _digest(file, item))

    @property
    def built_in(self) -> bool:
        """Whether the object is part of this package."""
        return _is_built_in(self.module)

    @property
    def is_interactive(self) -> bool:
        """Whether the object was defined in a notebook or at a prompt, where no other process finds it."""
        return self.module == "__main__" and self.file is None

    def is_same_place(self, other: Source) -> bool:
        """Whether both are one place: the same name in the same module, whatever has been edited in between.

        Parameters
        ----------
        other
            Another source.

        Returns
        -------
        bool
            Whether registering the one may replace the other.
        """
        if self.module == other.module == "__main__":
            return True
        if self.name != other.name:
            return False
        if self.file is not None and other.file is not None:
            copied = self.file.name == other.file.name and self.digest == other.digest != ""
            return self.file == other.file or copied
        return self.module == other.module

    def __str__(self) -> str:
        place = str(self.file) if self.file is not None and not self.built_in else self.module
        return f"{self.name} in {place}" if self.name else place


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered object.

    Attributes
    ----------
    name
        Its name.
    item
        The object.
    family
        What lists group it by.
    summary
        One line on what it is.
    info
        Further facts.
    source
        Where it is defined.
    """

    name: str
    item: T
    family: str = ""
    summary: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    source: Source = field(default=Source("", ""), compare=False)


class Registry(Mapping[str, T]):
    """A mapping from names to objects whose unknown names suggest the nearest right one.

    An installed package adds to it by an entry point of the group ``topo.<plural>``, such as ``topo.pruners``, that
    names the module whose import registers what the package has. Entry points are loaded at the first look-up.

    Parameters
    ----------
    kind
        What is registered, in the singular, for messages.
    plural
        Its plural, when that is not `kind` with an s.

    Examples
    --------
    >>> shapes = Registry("shape")
    >>> @shapes.register("square", family="polygon")
    ... def square():
    ...     "Four equal sides."
    >>> shapes["square"] is square, shapes.entry("square").summary
    (True, 'Four equal sides.')
    """

    def __init__(self, kind: str, *, plural: str | None = None) -> None:
        self.kind = kind
        self.entry_point_group = f"topo.{(plural or kind + 's').replace(' ', '_')}"
        self._entries: dict[str, Entry[T]] = {}
        self._entry_points: list[EntryPoint] | None = None
        self._lock = threading.RLock()

    def register(
        self, name: str, *, family: str = "", summary: str | None = None, **info: Any
    ) -> Callable[[Item], Item]:
        """Decorator that registers an object.

        Registering a name again from the same place replaces the object, so that a notebook cell can be run twice
        and a module be reloaded.

        Parameters
        ----------
        name
            A word without blanks.
        family
            What lists group it by.
        summary
            One line on what it is; the first line of the object's docstring unless given.
        info
            Further facts.

        Returns
        -------
        callable
            A decorator that returns its object unchanged.

        Raises
        ------
        InputError
            When `name` is no such word, or is registered from another place already, or ``bibtex`` is no BibTeX.
        """
        if not isinstance(name, str) or not name or any(c.isspace() for c in name):
            raise InputError(f"the name of a {self.kind} must be a word without blanks, not {name!r}.")
        bibtex = info.get("bibtex") or ""
        if bibtex and not _is_bibtex(bibtex):
            raise InputError(
                f"bibtex of {self.kind} {name!r} must be entries with a key each and all braces closed, such as "
                f"'@misc{{me2026, title = {{Mine}}}}', not {bibtex!r}."
            )

        def add(item: Item) -> Item:
            source = Source.of(item)
            known = self._entries.get(name)
            if known is not None and not known.source.is_same_place(source):
                raise InputError(
                    f"{self.kind} {name!r} is registered twice, by {known.source} and by {source}; "
                    "give one of them another name."
                )
            line = summary if summary is not None else (item.__doc__ or "").strip().split("\n")[0]
            self._entries[name] = Entry(name, item, family, line, info, source)  # type: ignore[arg-type]
            return item

        return add

    def entry(self, name: str) -> Entry[T]:
        """The full entry of a name.

        Parameters
        ----------
        name
            A registered name.

        Returns
        -------
        Entry
            The object, and what is known of it.

        Raises
        ------
        InputError
            When the name is unknown.
        """
        entries = self._loaded()
        try:
            return entries[name]
        except (KeyError, TypeError):
            raise unknown_name(self.kind, name, entries) from None

    def entries(self) -> list[Entry[T]]:
        """All entries in the order in which they were registered."""
        return list(self._loaded().values())

    def registered(self) -> list[Entry[T]]:
        """The entries so far, without those that installed packages add when names are first looked up."""
        return list(self._entries.values())

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}: {', '.join(self._entries)}>"

    def __getitem__(self, name: str) -> T:
        return self.entry(name).item

    def get(self, name: str, default: Any = None) -> T | Any:
        """The object of that name, or `default` when there is none.

        Parameters
        ----------
        name
            Any name.
        default
            Returned when it is unknown.

        Returns
        -------
        object
            What is registered.
        """
        return self.entry(name).item if name in self else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._loaded()

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def _loaded(self) -> dict[str, Entry[T]]:
        """All entries, those of installed packages included."""
        with self._lock:
            if self._entry_points is None:
                self._entry_points = list(entry_points(group=self.entry_point_group))
            while self._entry_points:  # one taken out is not loaded again, should its package look names up itself
                _load(self._entry_points.pop(0))
        return self._entries


def _is_bibtex(text: Any) -> bool:
    entry = r"@\w+\s*\{\s*[^\s,{}]+\s*,"
    return isinstance(text, str) and re.match(entry, text.strip()) is not None and text.count("{") == text.count("}")


def _load(entry_point: EntryPoint) -> None:
    """Import what an entry point names; a package that is broken gives a warning, and the others go on."""
    try:
        entry_point.load()
    except (Exception, SystemExit) as error:
        package = entry_point.dist.name if entry_point.dist is not None else entry_point.module
        reason = " ".join(str(error).split()) or type(error).__name__
        warn(
            f"the package {package!r} cannot add to {entry_point.group}: its entry point {entry_point.name!r} "
            f"({entry_point.value}) does not load ({reason}); update or remove the package.",
        )


def _is_built_in(module: str) -> bool:
    return module.partition(".")[0] == "topo"


def _digest(file: Path | None, item: Any) -> str:
    try:
        text = file.read_bytes() if file is not None else inspect.getsource(item).encode()
    except (OSError, TypeError):
        return ""
    return sha256(text).hexdigest()


def _registering_module() -> str:
    """Name of the module whose code calls the registry."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return frame.f_globals.get("__name__", "__main__")


def import_submodules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that a new file registers what it holds and no list need name it.

    Parameters
    ----------
    package
        Name of the package.
    path
        Its ``__path__``.
    """
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
