"""Names in results tables as they can be shown: on one line, no longer than a label, nothing hidden in them."""

from __future__ import annotations

from hashlib import sha256

import pandas as pd

from ..plain_text import plain
from .numbers import require_single_columns

__all__ = ["shown_name", "shown_names", "with_shown_columns"]

LONGEST = 120
SHORT = 60


def shown_name(name: object) -> str:
    """A name without control characters; one that is too long is cut, with a number that tells it from others.

    Parameters
    ----------
    name
        Anything.

    Returns
    -------
    str
        Empty where nothing is to be seen of it.

    Examples
    --------
    >>> shown_name(" net\\x1b[31m "), shown_name("a" * 5_000)
    ('net', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa… (c526c622)')
    """
    text = plain(name).strip()
    if len(text) > LONGEST:
        text = f"{text[:SHORT]}… ({sha256(text.encode()).hexdigest()[:8]})"
    return text


def shown_names(names: pd.Series) -> pd.Series:
    """The names in a column as `shown_name` has them; missing where there is none to be seen.

    Parameters
    ----------
    names
        One a row.

    Returns
    -------
    Series
        Text.

    Examples
    --------
    >>> shown_names(pd.Series(["net", " ", None, 3])).tolist()
    ['net', nan, nan, '3']
    """
    text = names.astype(str).where(names.notna())
    shown = {name: shown_name(name) or None for name in text.dropna().unique()}
    found = text.map(shown)
    return found.astype(str).where(found.notna())


def with_shown_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose columns are called as `shown_name` has them.

    Parameters
    ----------
    table
        A results table.

    Returns
    -------
    DataFrame
        `table` itself where they are.

    Raises
    ------
    InputError
        Two of them are the same then.
    """
    names = [shown_name(name) for name in table.columns]
    if names == list(table.columns):
        return table
    table = table.set_axis(names, axis=1)
    require_single_columns(table)
    return table
