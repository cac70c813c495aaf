"""The one exception that bad input raises, and the help it gives."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "nearest", "unknown_name"]


class InputError(ValueError):
    """Bad input, described in one sentence that says what was wrong and what to do."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `count` known names closest to a misspelt one, best first."""
    known = list(known)
    folded = {k.lower().replace("_", "-"): k for k in known}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=count, cutoff=0.5)
    return [folded[name] for name in close]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An `InputError` for an unknown name, with the nearest right ones.

    Examples
    --------
    >>> str(unknown_name("pruner", "snipp", ["snip", "grasp"]))
    "unknown pruner 'snipp'; did you mean 'snip'? Known: grasp, snip."
    """
    known = sorted(known)
    close = nearest(str(name), known)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return InputError(f"unknown {kind} {name!r}; {hint}Known: {', '.join(known)}.")
