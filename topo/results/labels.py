"""Values of results tables as text."""

from __future__ import annotations

__all__ = ["percent"]


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
