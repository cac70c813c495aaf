"""A report as Markdown that GitHub and most other readers show, with its figures as files beside it."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

from .content import Report
from .html import environment

__all__ = ["as_markdown", "plain"]

# A table with more rows is left to its CSV file.
MOST_ROWS = 40
SPECIAL = re.compile(r"([\\`*_\[\]<>|~$#])")


def plain(text: Any) -> Markup:
    """Text as Markdown that shows it as it is: nothing in it is a mark-up, a link or HTML.

    Parameters
    ----------
    text
        Anything; its text in one line.

    Returns
    -------
    Markup
        Ready for the template.

    Examples
    --------
    >>> str(plain("a_b | <i>")), str(plain("R² & more"))
    ('a\\\\_b \\\\| &lt;i&gt;', 'R² &amp; more')
    """
    if isinstance(text, Markup):
        return text
    line = " ".join(str(text).split())
    line = SPECIAL.sub(r"\\\1", line).replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")
    # A line that begins like a list or a heading is none.
    return Markup(re.sub(r"^(\d+)([.)])(?=\s)|^([-+=])", lambda m: f"{m[1] or ''}\\{m[2] or m[3]}", line))


def as_markdown(report: Report, labels: dict[str, str]) -> str:
    """The report as Markdown.

    Parameters
    ----------
    report
        What it says.
    labels
        What each source is called, by its name.

    Returns
    -------
    str
        Markdown.
    """
    made = environment(finalize=plain)
    made.filters["rule"] = lambda column: Markup("---:" if column.number else "---")
    made.filters["fenced"] = _fenced
    made.filters["address"] = Markup  # quoted when its file was written
    made.filters["html"] = escape  # the heading of a fold is HTML and no Markdown
    text = made.get_template("report.md").render(report=report, labels=labels, most_rows=MOST_ROWS)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _fenced(code: str) -> Markup:
    """Text in a fence that is longer than any inside it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return Markup(f"{fence}yaml\n{code.rstrip()}\n{fence}")
