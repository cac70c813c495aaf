"""What the record of `topometrics.py` says, as a figure on logarithmic axes and as a table of Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.ticker import NullFormatter

from topo.plots import theme

__all__ = ["draw", "markdown", "routes"]


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
            at_the_end = case["edges"] > cases[-1]["edges"] / 10
            ax.annotate(
                case["case"],
                (case["edges"], case["seconds"]),
                xytext=(-7, 5) if at_the_end else (6, -9),
                textcoords="offset points",
                ha="right" if at_the_end else "left",
                fontsize=7,
                color=theme.MUTED,
            )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.set_xlabel("edges of the multipartite graph")
        ax.set_ylabel("seconds of the processor, one thread")
        ax.legend(fontsize=7, frameon=False, loc="best")
        figure.savefig(path)


def markdown(record: dict[str, Any]) -> str:
    """The cost of every metric of whole networks with at least 100,000 edges, in products, dearest first.

    Parameters
    ----------
    record
        Its content.
    """
    cases = [c for c in record["cases"] if c["encoding"] == "multipartite" and c["edges"] >= 100_000]
    cases.sort(key=lambda case: case["edges"])
    costs = [
        {"encode": case["products_encode"]} | {row["metric"]: row["products"] for row in case["metrics"]}
        for case in cases
    ]
    metrics = sorted(costs[0] if costs else [], key=lambda metric: -sum(cost[metric] for cost in costs))
    shown = [metric for metric in metrics if max(cost[metric] for cost in costs) >= 1]
    rest = len(metrics) - len(shown)
    lines = [
        ["products", *(f"{case['model'].removeprefix('torchvision:')} {case['sparsity']:.0%}" for case in cases)],
        ["---", *("---:" for _ in cases)],
        *([metric, *(_number(cost[metric]) for cost in costs)] for metric in shown),
        [f"{rest} others", *(_number(sum(cost[m] for m in metrics if m not in shown)) for cost in costs)],
        ["**encode and all metrics**", *(f"**{_number(sum(cost.values()))}**" for cost in costs)],
        ["edges", *(f"{case['edges'] / 1e6:,.1f} million" for case in cases)],
        ["a product, ms", *(f"{1e3 * case['seconds_product']:.3g}" for case in cases)],
        ["encode and all metrics, s", *(_number(case["seconds"] + case["seconds_encode"]) for case in cases)],
        ["peak memory, GiB", *(f"{case['peak_mib'] / 1024:.1f}" for case in cases)],
    ]
    return _table(lines)


def routes(record: dict[str, Any]) -> str:
    """What all metrics of every network and encoding cost by compiled kernels and without, where both were measured.

    Parameters
    ----------
    record
        Its content.
    """
    lines = [
        ["network", "encoding", "edges", "products without", "products", "ms without", "ms"],
        ["---", "---", *["---:"] * 5],
    ]
    for case in record["cases"]:
        if "products_without" in case:
            lines.append(
                [
                    f"{case['model']} {case['sparsity']:.0%}",
                    case["encoding"],
                    f"{case['edges']:,}",
                    *(f"{case[name]:,.0f}" for name in ("products_without", "products")),
                    *(f"{1e3 * case[name]:,.0f}" for name in ("seconds_without", "seconds")),
                ]
            )
    return _table(lines)


def _table(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
