"""Text of others as it may be shown: without what moves a cursor, colours, hides or turns around the text beside it."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["plain", "without_hidden"]

# Sequences that terminals obey: commands that end in a letter, strings that end in a bell, and two-character ones.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\|\x9c|$)|\x1b.?", re.S
)
# Whatever is left of control characters, marks of the direction of writing, separators of lines, halves of pairs.
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SPACES = re.compile(r"[\t\n\x0b\x0c\r\x85\u2028\u2029]")


def plain(text: object, *, lines: bool = False) -> str:
    """Text without control characters, escape sequences and marks of direction, on one line.

    Parameters
    ----------
    text
        Anything.
    lines
        Whether lines stay lines.

    Returns
    -------
    str
        Safe to write to a terminal.

    Examples
    --------
    >>> plain("a\\x1b[31mred\\x1b[0m\\nb\\u202ec")
    'ared bc'
    """
    found = _ESCAPES.sub("", str(text))
    if not lines:
        found = _SPACES.sub(" ", found)
    return without_hidden(found)


def without_hidden(text: str) -> str:
    """A text of several lines without control characters and marks of direction.

    Parameters
    ----------
    text
        Such as a page.

    Returns
    -------
    str
        All else as it is.

    Examples
    --------
    >>> without_hidden("a" + chr(0) + " b" + chr(0x202E))
    'a b'
    """
    return "\n".join(_HIDDEN.sub(_without, line) for line in text.split("\n"))


def _without(match: re.Match[str]) -> str:
    """A mark for half a pair, which no terminal can write; nothing for the rest."""
    return "\ufffd" if unicodedata.category(match[0]) == "Cs" else ""
