"""A report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import jinja2
from markupsafe import Markup, escape

from .content import Part, Report
from .pictures import Picture, dark_colors

__all__ = ["as_html", "environment", "typeset"]

# Characters of the page from which further figures stay in the folder of files.
LARGEST_PAGE = 1_900_000

MINUS = re.compile(r"(?<![\w.)\]%-])-(?=\.?\d)")
BETWEEN_BARS = re.compile(r"\|\w+\|")


def environment(**options: object) -> jinja2.Environment:
    """What both templates are rendered by; everything that is not markup of ours is escaped.

    Parameters
    ----------
    **options
        Further options of the environment.

    Returns
    -------
    Environment
        Of jinja2.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        **options,  # type: ignore[arg-type]
    )
    made.filters["last_part"] = lambda file: unquote(str(file).rpartition("/")[2])
    made.filters["typeset"] = typeset
    made.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return made


def typeset(text: object) -> Markup:
    """Text with minus signs before its negative numbers, in which |x| stays on one line.

    Parameters
    ----------
    text
        Plain text.

    Returns
    -------
    Markup
        HTML.

    Examples
    --------
    >>> str(typeset("VGG-16: -0.42 to -.1, |ρ| < 1"))
    'VGG-16: −0.42 to −.1, <span class="whole">|ρ|</span> &lt; 1'
    """
    marked = BETWEEN_BARS.sub(r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(MINUS.sub("−", marked))


def as_html(report: Report, labels: dict[str, str]) -> str:
    """The report as a page.

    Parameters
    ----------
    report
        What it says.
    labels
        What each source is called, by its name.

    Returns
    -------
    str
        HTML.
    """
    template = environment().get_template("report.html")
    render = partial(
        template.render,
        labels=labels,
        style=_asset("report.css"),
        script=_asset("report.js"),
        dark_colors=dark_colors(),
    )
    bare = len(render(report=_folded_figures(report, lambda picture: replace(picture, svg="", png=b""))).encode())
    left = LARGEST_PAGE - bare

    def fitting(picture: Picture) -> Picture:
        nonlocal left
        if picture.size > left:
            return replace(picture, svg="", png=b"")
        left -= picture.size
        return picture

    return render(report=_folded_figures(report, fitting))


def _folded_figures(report: Report, change: Callable[[Picture], Picture]) -> Report:
    """The report with its folded figures changed, those of questions first."""

    def part(one: Part | None) -> Part | None:
        return one and replace(one, pictures=tuple(map(change, one.pictures)))

    sections = tuple(
        replace(section, said=tuple(replace(one, more=part(one.more)) for one in section.said))
        for section in report.sections
    )
    shown = tuple(replace(s, parts=tuple(filter(None, map(part, s.parts)))) for s in report.shown)
    return replace(report, sections=sections, shown=shown)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
