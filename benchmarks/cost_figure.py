"""Seconds against edges, on logarithmic axes: what encoding and measuring cost, and what no way can undercut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from topo.plots import theme

__all__ = ["draw"]


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw the record that `topometrics.py` writes.

    Parameters
    ----------
    record
        Its content.
    path
        Of the figure.
    """
    cases = sorted((c for c in record["cases"] if c["encoding"] == "multipartite"), key=lambda c: c["edges"])
    reference = sorted(record["reference"], key=lambda c: c["edges"])
    lines = {
        "reference, encode and all metrics": (
            [(c["edges"], c["seconds"] + c["seconds_encode"]) for c in reference],
            theme.HUES[3],
        ),
        "all metrics, without kernels": (
            [(c["edges"], c["seconds_without"]) for c in cases if "seconds_without" in c],
            theme.HUES[1],
        ),
        "all metrics": ([(c["edges"], c["seconds"]) for c in cases], theme.HUES[0]),
        "encode": ([(c["edges"], c["seconds_encode"]) for c in cases], theme.HUES[2]),
        "one product": ([(c["edges"], c["seconds_product"]) for c in cases], theme.MUTED),
        "floor: one pass over the arrays": ([(c["edges"], c["seconds_pass"]) for c in cases], theme.INK),
    }
    with theme.style():
        figure = theme.figure(6.8, 4.6)
        ax = figure.add_axes((0.1, 0.1, 0.87, 0.87))
        for name, (points, color) in lines.items():
            if points:
                edges, seconds = zip(*points, strict=True)
                ax.loglog(edges, seconds, marker="o", markersize=4, color=color, label=name, linewidth=1.4)
        for case in cases:
            ax.annotate(
                case["case"],
                (case["edges"], case["seconds"]),
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=theme.MUTED,
            )
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xlabel("edges of the multipartite graph")
        ax.set_ylabel("seconds of the processor, one thread")
        ax.legend(fontsize=7, frameon=False, loc="upper left")
        figure.savefig(path)
