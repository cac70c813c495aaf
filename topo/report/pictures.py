"""Figures as pictures of a report: inline SVG that follows the page's colours, or PNG."""

from __future__ import annotations

import colorsys
import html
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from ..errors import InputError
from ..plots.theme import GRID, INK, MUTED, PAPER, figure_of, palette, style
from .place import Place

__all__ = ["Picture", "dark_colors", "picture", "try_picture"]

# Of SVG, in characters; larger figures become PNG where that is smaller.
LARGEST_SVG = 200_000
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--figure)"}
# What stands in for a font that a reader does not have: of the same widths first.
FONTS = "'DejaVu Sans', Verdana, sans-serif"


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
class Picture:
    """A figure ready for a report, or the reason why there is none.

    Attributes
    ----------
    name
        Unique in the report.
    title
        What is seen in it.
    alt
        What it shows, for those who do not see it.
    width, height
        In CSS pixels.
    svg
        Markup of the page; empty where the picture is a file or a PNG.
    png
        The picture as a PNG of the page.
    file
        Where it lies, relative to the report; empty without files.
    missing
        Why there is none.
    number
        Of the figure in the report.
    """

    name: str
    title: str = ""
    alt: str = ""
    width: int = 0
    height: int = 0
    svg: str = ""
    png: bytes = b""
    file: str = ""
    missing: str = ""
    number: str = ""

    @property
    def shape(self) -> str:
        """``"tall"``, ``"wide"``, ``"broad"`` or ``"even"``: how a page lays it out."""
        if self.width > 610:
            return "wide" if self.width > 900 else "broad"
        return "tall" if self.height > 0.7 * self.width else "even"

    @property
    def size(self) -> int:
        """Characters that it takes on a page."""
        return len(self.svg) + len(self.png) * 4 // 3


def try_picture(
    name: str,
    draw: Callable[[], Axes | Figure],
    place: Place,
    *,
    title: str = "",
    describe: str = "",
    paper: bool = False,
) -> Picture:
    """Draw a figure; an `InputError` becomes the sentence that stands in its place.

    Parameters
    ----------
    name
        Unique in the report.
    draw
        Draws the figure.
    place
        Where it will stand.
    title
        Written above the figure.
    describe
        What the figure shows, for those who do not see it; the title when left out.
    paper
        Whether it is also written as PDF.

    Returns
    -------
    Picture
        Ready for the report.
    """
    try:
        drawn = draw()
    except InputError as error:
        return Picture(name, title, missing=str(error))
    figure = drawn if isinstance(drawn, Figure) else figure_of(drawn)
    return picture(figure, name, place, title, describe or title, paper)


def picture(figure: Figure, name: str, place: Place, title: str, describe: str, paper: bool = False) -> Picture:
    """A figure as a picture of a report, also written to the folder of files, if there is one.

    A page holds SVG, and its folder the same file; a Markdown report shows the PNG of its folder.

    Parameters
    ----------
    figure
        The figure.
    name
        Unique in the report: every id inside the SVG begins with a mark made of it.
    place
        Where it will stand.
    title
        Written above it.
    describe
        What the figure shows, for those who do not see it.
    paper
        Whether it is also written as PDF.

    Returns
    -------
    Picture
        Ready for the report.
    """
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    made = {"name": name, "title": title, "alt": describe, "width": width, "height": height}
    if place.kind == "md":
        return Picture(**made, file=place.write(f"{name}.png", _png(figure)))
    text = io.StringIO()
    # Words stay words, which are smaller than their outlines and can be searched, read aloud and copied.
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    file = place.write(f"{name}.svg", svg)
    if paper and place.files:
        pdf = io.BytesIO()
        with style():
            figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        place.write(f"{name}.pdf", pdf.getvalue())
    inline = _inline(svg, name, width, html.escape(describe, quote=True))
    if len(inline) > LARGEST_SVG:
        png = _png(figure)
        if len(png) * 4 / 3 < len(inline):
            return Picture(**made, png=png, file=file)
    return Picture(**made, svg=inline, file=file)


def _inline(svg: str, name: str, width: int, label: str) -> str:
    """SVG as part of a page: small, in the colours of its scheme, with ids that no other figure has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"font-family: [^;\"]+", f"font-family: {FONTS}", svg)
    svg = svg.replace(f" font-family: {FONTS};", "")  # the page's rule for figures
    # A tenth of a point is finer than most screens; numbers below ten may be scales and stay.
    svg = re.sub(r"(\d\d\.\d)\d+", r"\1", svg)
    mark = f"f{zlib.crc32(name.encode()):x}"
    used = dict.fromkeys(re.findall(r'href="#([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg))
    short = {name: f"{mark}-{i}" for i, name in enumerate(used)}
    svg = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{short[m[1]]}"' if m[1] in short else "", svg)
    svg = re.sub(r'href="#([^"]+)"', lambda m: f'href="#{short[m[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{short[m[1]]})", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    svg = re.sub(r">\s+<", "><", svg)
    for _ in range(4):
        svg = re.sub(r"<g></g>|<g/>|<defs></defs>|<defs/>", "", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    for color in TOO_DARK:
        svg = svg.replace(color, f"var(--c{color[1:]}, {color})")
    svg, rules = _shared_styles(svg, mark)
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" width="{width}" role="img">', svg)
    return svg.replace('role="img">', f'role="img" aria-label="{label}">{rules}', 1)


def _shared_styles(svg: str, mark: str) -> tuple[str, str]:
    """SVG with a class in place of every style that is there often, and the rules of the classes."""
    rules = ""
    for i, (written, count) in enumerate(Counter(re.findall(r'style="([^"]+)"', svg)).items()):
        if count > 3:
            svg = svg.replace(f'style="{written}"', f'class="{mark}{i}"')
            rules += f".{mark}{i}{{{written}}}"
    return svg, f"<style>{rules}</style>" if rules else ""


def _png(figure: Figure) -> bytes:
    """A figure as a PNG of at most 256 colours, a third of the size."""
    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, format="png", dpi=150)
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(drawn.getvalue(), small.getvalue(), key=len)
