"""Figures as HTML: inline SVG that follows the page's colours, or an embedded PNG where that is smaller."""

from __future__ import annotations

import base64
import colorsys
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ..errors import InputError
from ..plots.theme import GRID, INK, MUTED, PAPER, figure_of, palette, style

__all__ = ["FigureHtml", "dark_colors", "figure_html", "try_figure"]

LARGEST_SVG = 250_000
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--figure)"}


def _brighter(color: str) -> str:
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return to_hex(colorsys.hls_to_rgb(hue, light + (1 - light) * 0.18, saturation))


def _contrast_on_dark(color: str) -> float:
    """WCAG contrast ratio with the dark page (relative luminance 0.0085)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) / 0.0585


# Pruner colours with too little contrast on the dark page, and their replacements.
TOO_DARK = {color: _brighter(color) for color in palette() if _contrast_on_dark(color) < 3}


def dark_colors() -> str:
    """Style rules that brighten the darkest pruner colours in the dark scheme."""
    rules = "".join(f"--c{color[1:]}:{bright};" for color, bright in TOO_DARK.items())
    return (
        f'@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {rules} }} }}\n'
        f'@media screen {{ :root[data-theme="dark"] {{ {rules} }} }}'
    )


@dataclass(frozen=True)
class FigureHtml:
    """A figure ready for the page, or the reason why there is none.

    Attributes
    ----------
    name
        Unique on the page.
    body
        The markup.
    width
        In CSS pixels.
    caption
        Written above it.
    missing
        Why there is none.
    """

    name: str
    body: str = ""
    width: int = 0
    caption: str = ""
    missing: str = ""


def try_figure(
    name: str,
    draw: Callable[[], Axes | Figure],
    caption: str = "",
    describe: str = "",
    folder: Path | None = None,
    largest: int = LARGEST_SVG,
) -> FigureHtml:
    """Draw and embed a figure; an `InputError` becomes the sentence that stands in its place.

    With a folder the figure is also written there, as SVG and PDF.

    Parameters
    ----------
    name
        Unique on the page.
    draw
        Draws the figure.
    caption
        Written above the figure.
    describe
        What the figure shows, for those who do not see it; the caption when left out.
    folder
        Where the figures are also written; nowhere when left out.
    largest
        Characters of SVG from which an embedded PNG is tried.

    Returns
    -------
    FigureHtml
        Ready for the page.
    """
    try:
        drawn = draw()
    except InputError as error:
        return FigureHtml(name, missing=str(error))
    figure = drawn if isinstance(drawn, Figure) else figure_of(drawn)
    body, width = figure_html(figure, name, describe or caption, folder, largest)
    return FigureHtml(name, body, width, caption)


def figure_html(
    figure: Figure, name: str, describe: str, folder: Path | None = None, largest: int = LARGEST_SVG
) -> tuple[str, int]:
    """A figure as markup, and its natural width in CSS pixels; with a folder also written there as SVG and PDF.

    Parameters
    ----------
    figure
        The figure.
    name
        Unique on the page: every id inside the SVG is prefixed with it.
    describe
        What the figure shows, for those who do not see it.
    folder
        Where the figures are also written; nowhere when left out.
    largest
        Characters of SVG from which an embedded PNG is tried, and taken where it is smaller.

    Returns
    -------
    tuple
        The markup, and the width.
    """
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        with style():
            figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    width = round(figure.get_size_inches()[0] * 96)
    label = html.escape(describe, quote=True)
    # A hundredth of a point is finer than any screen; numbers below ten may be scales and stay.
    svg = re.sub(r"(\d\d\.\d\d)\d+", r"\1", svg)
    if len(svg) > largest:
        data = base64.b64encode(_png(figure)).decode()
        if len(data) < len(svg):
            return f'<img class="picture" alt="{label}" width="{width}" src="data:image/png;base64,{data}">', width
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    for color in TOO_DARK:
        svg = svg.replace(color, f"var(--c{color[1:]}, {color})")
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" width="{width}" role="img">', svg)
    return svg.replace('role="img">', f'role="img" aria-label="{label}">', 1), width


def _png(figure: Figure) -> bytes:
    """A figure as a PNG of at most 256 colours, a third of the size."""
    picture = io.BytesIO()
    with style():
        figure.savefig(picture, format="png", dpi=170)
    small = io.BytesIO()
    Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(picture.getvalue(), small.getvalue(), key=len)
