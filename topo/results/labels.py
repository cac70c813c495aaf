"""Numbers of results tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

__all__ = [
    "column_in_words",
    "decimal",
    "in_points",
    "listed",
    "p_value_text",
    "percent",
    "signed",
]

# What sentences call columns of results tables whose names are not what they would say.
WORDS = {"drop": "accuracy drop", "accuracy": "accuracy", "pruner": "algorithm"}


def column_in_words(column: str) -> str:
    """A column of a results table as a sentence calls it: in words where it has some, else its name.

    Parameters
    ----------
    column
        Name of the column.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> column_in_words("drop"), column_in_words("pruner"), column_in_words("my_score")
    ('accuracy drop', 'algorithm', 'my_score')
    """
    return WORDS.get(column, column)


def decimal(value: float, digits: int = 2) -> str:
    """A number with so many decimals; ``"undefined"`` where there is none.

    Parameters
    ----------
    value
        The number, or NaN.
    digits
        Decimals.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> decimal(0.456), decimal(float("nan")), decimal(-0.001)
    ('0.46', 'undefined', '0.00')
    """
    return f"{round(value, digits) + 0.0:.{digits}f}" if isfinite(value) else "undefined"


def listed(items: Sequence[str]) -> str:
    """A list in words.

    Parameters
    ----------
    items
        Texts.

    Returns
    -------
    str
        The texts with commas and an "and"; "none" without any.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed([])
    ('a', 'a, b and c', 'none')
    """
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def in_points(share: float) -> str:
    """An error or a difference of accuracies in points.

    Parameters
    ----------
    share
        Between 0 and 1.

    Returns
    -------
    str
        With one decimal.

    Examples
    --------
    >>> in_points(0.0251)
    '2.5 points'
    """
    return f"{decimal(100 * share, 1)} points"


def percent(value: float) -> str:
    """A share as a percentage without needless digits.

    Parameters
    ----------
    value
        The share, 1 for all.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> percent(0.9), percent(0.995), percent(0.0)
    ('90%', '99.5%', '0%')
    """
    return f"{round(100 * value, 3):g}%"


def p_value_text(p: float) -> str:
    """A p-value, or a false-discovery rate, as sentences and tables write it.

    Parameters
    ----------
    p
        The value, or NaN.

    Returns
    -------
    str
        Three decimals, two from .1 on.

    Examples
    --------
    >>> p_value_text(0.0123), p_value_text(0.5), p_value_text(0.0004), p_value_text(float("nan"))
    ('.012', '.50', '≤ .001', 'unknown')
    """
    if not isfinite(p):
        return "unknown"
    if p <= 0.001:
        return "≤ .001"
    return f"{p:.3f}".removeprefix("0") if round(p, 3) < 0.1 else f"{p:.2f}".removeprefix("0")


def signed(value: float) -> str:
    """A correlation with its sign and two decimals, zero without one.

    Parameters
    ----------
    value
        The correlation.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> signed(0.5), signed(-0.421), signed(-0.001)
    ('+0.50', '-0.42', '0.00')
    """
    text = f"{value:+.2f}"
    return text if float(text) else "0.00"
