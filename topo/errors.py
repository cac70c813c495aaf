"""The one exception that bad input raises, the help it gives, and warnings."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = [
    "InputError",
    "counted",
    "counted_of",
    "described",
    "failures_named",
    "listed",
    "nearest",
    "unknown_name",
    "warn",
]


class InputError(ValueError):
    """Bad input, described in one sentence that says what was wrong and what to do.

    Attributes
    ----------
    setting
        Name of the setting whose value is out of range, where that is what is wrong.
    """

    setting: str | None = None

    @classmethod
    def of_setting(cls, name: str, sentence: str) -> InputError:
        """The error of a value that a setting cannot have.

        Parameters
        ----------
        name
            What the sentence calls the setting: its name, which more may follow.
        sentence
            What is wrong.

        Returns
        -------
        InputError
            To be raised by the caller.
        """
        error = cls(sentence)
        error.setting = name.partition(",")[0].partition(" ")[0]
        return error


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The `count` known names closest to a misspelt one, best first.

    Parameters
    ----------
    name
        What was written; case and the kind of hyphen do not matter.
    known
        The right names.
    count
        At most so many are returned.

    Returns
    -------
    list
        Of known names, empty when none is close.
    """
    known = list(known)
    folded = {k.lower().replace("_", "-"): k for k in known}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), folded, n=count, cutoff=0.5)
    return [folded[name] for name in close]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in quotes, the first few of many.

    Parameters
    ----------
    names
        What to list.
    most
        How many are written out.

    Returns
    -------
    str
        For a message.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def counted(number: int, noun: str, *verbs: str) -> str:
    """A number of things in words.

    Parameters
    ----------
    number
        How many.
    noun
        What, in the singular.
    verbs
        What follows, of one and of several, such as ``"is", "are"``.

    Returns
    -------
    str
        The number and the noun, in the plural where there is not just one.

    Examples
    --------
    >>> counted(1, "group"), counted(2, "family"), counted(1200, "network"), counted(0, "class")
    ('1 group', '2 families', '1,200 networks', '0 classes')
    >>> counted(1, "row", "is", "are"), counted(2, "row", "is", "are")
    ('1 row is', '2 rows are')
    """
    if noun.endswith("y") and noun[-2] not in "aeiou":
        plural = f"{noun[:-1]}ies"
    else:
        plural = f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
    words = (noun, *verbs[:1]) if number == 1 else (plural, *verbs[1:])
    return " ".join([f"{number:,}", *words])


def counted_of(number: int, whole: int, noun: str) -> str:
    """A number of things and of how many they are, where they are not all.

    Parameters
    ----------
    number, whole
        How many, and how many there are.
    noun
        What, in the singular.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> counted_of(3, 3, "node"), counted_of(1200, 3000, "edge")
    ('3 nodes', '1,200 of 3,000 edges')
    """
    return ("" if number == whole else f"{number:,} of ") + counted(whole, noun)


def unknown_name(kind: str, name: str, known: Iterable[str], also: Iterable[str] = ()) -> InputError:
    """An `InputError` for an unknown name, with the nearest right ones.

    Parameters
    ----------
    kind
        What the name stands for, such as ``"pruner"``.
    name
        What was written.
    known
        The right names.
    also
        Names of something else that may have been meant, which are suggested and not listed.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> str(unknown_name("pruner", "snipp", ["snip", "grasp"]))
    "unknown pruner 'snipp'; did you mean 'snip'? Known: grasp, snip."
    """
    known = sorted(known)
    close = nearest(str(name), [*known, *also])
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    listed = f"Known: {', '.join(known)}." if known or not close else ""
    return InputError(f"unknown {kind} {name!r}; {hint}{listed}".rstrip())


def described(error: BaseException) -> str:
    """An exception in one line: its type and what it says, or the sentence of an `InputError` alone.

    Parameters
    ----------
    error
        Any exception.

    Returns
    -------
    str
        The line.

    Examples
    --------
    >>> described(KeyError("width")), described(InputError("there is no model."))
    ("KeyError: 'width'", 'there is no model.')
    """
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


@contextmanager
def failures_named(what: str, *passed: type[BaseException]) -> Iterator[None]:
    """Say of an exception in whose code it arose, as an `InputError` that names it and the exception's type.

    An `InputError` says so itself, and goes on as it is.

    Parameters
    ----------
    what
        Whose code runs within the `with` block, such as ``"metric 'own'"``.
    passed
        More exceptions that go on as they are.

    Examples
    --------
    >>> with failures_named("metric 'own'"):
    ...     {}["width"]
    Traceback (most recent call last):
    topo.errors.InputError: metric 'own' failed with KeyError: 'width'.
    """
    going_on: tuple[type[BaseException], ...] = (InputError, *passed)
    try:
        yield
    except going_on:
        raise
    except Exception as error:
        raise InputError(f"{what} failed with {described(error).rstrip('.')}.") from error


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called into this package, however deep in it the reason was found.

    Parameters
    ----------
    message
        One sentence: what is not as it may seem, and what to do.
    category
        The kind of warning.

    Warns
    -----
    Warning
        Of the category, at the line of the outermost caller that is not of this package.
    """
    package = __name__.partition(".")[0]
    caller = frame = sys._getframe()
    while frame.f_back is not None:
        inside, frame = frame.f_globals.get("__name__", "").partition(".")[0] == package, frame.f_back
        caller = frame if inside else caller
    registry = caller.f_globals.setdefault("__warningregistry__", {})
    module = caller.f_globals.get("__name__")
    warnings.warn_explicit(message, category, caller.f_code.co_filename, caller.f_lineno, module, registry)
