"""The tables of docs/comparison.md, from the record: ``python docs/comparison_tables.py`` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from marked_tables import with_tables

HERE = Path(__file__).resolve().parent
PAGE = HERE / "comparison.md"
RECORD = HERE.parent / "benchmarks" / "results" / "other_tools.json"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    heads = list(heads)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def seconds(value: float) -> str:
    return f"{value:.2g} s" if value < 1 else f"{value:.1f} s"


def removal(record: dict[str, Any]) -> str:
    rows = [
        (
            row["network"],
            row["channels_removed"],
            f"{row['parameters'][0]:,} to {row['parameters'][1]:,} and {row['parameters'][2]:,}",
            f"{row['largest_difference_compact_torch_pruning']:.0e}",
            f"{seconds(row['torch_pruning_graph_s'])} + {seconds(row['torch_pruning_removal_s'])}",
            f"{seconds(row['trace_and_groups_s'])} + {seconds(row['compact_s'])}",
        )
        for row in record["removal"]
    ]
    heads = ("network", "channels", "parameters (topo, Torch-Pruning)", "outputs differ by", "Torch-Pruning", "topo")
    return table(heads, rows)


def models(record: dict[str, Any]) -> str:
    rows = []
    for row in record["models"]:
        cells = []
        for tool in ("torch_pruning", "topo"):
            result = row[f"{tool}_result"]
            if result == "prunes":
                left = row[f"{tool}_parameters"] / row["parameters"]
                result = f"{left:.0%} left, {seconds(row[f'{tool}_seconds'])}"
                if row[f"{tool}_relative_difference"] > 1e-9:
                    result += " (*)" if row["layer_norm"] else f", differs by {row[f'{tool}_relative_difference']:.0e}"
            cells.append(result)
        rows.append((row["model"], *cells))
    return table(("model", "Torch-Pruning", "topo"), rows)


def errors(record: dict[str, Any]) -> str:
    """What each tool said of the models that it did not prune."""
    lines = []
    for row in record["models"]:
        for tool, name in (("torch_pruning", "Torch-Pruning"), ("topo", "topo")):
            if said := row[f"{tool}_error"]:
                lines.append(f"- {name}, {row['model']}: `{said[:160].replace('`', chr(39)).strip()}`")
    return "\n".join(lines)


def graph_metrics(record: dict[str, Any]) -> str:
    rows = [
        (
            row["metric"],
            f"{row['scikit_network']:.6g}",
            f"{row['topo']:.6g}",
            seconds(row["scikit_network_s"]),
            seconds(row["topo_s"]),
        )
        for row in record["graph_metrics"]
    ]
    return table(("metric", "scikit-network", "topo", "scikit-network", "topo"), rows)


def graphs(record: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['network']}, {row['weights']}",
            "{:,} / {:,}".format(*row["deepstruct"]),
            "{:,} / {:,}".format(*row["topo"]),
            seconds(row["deepstruct_s"]),
            seconds(row["topo_s"]),
        )
        for row in record["graphs_of_networks"]
    ]
    return table(("network", "nodes / edges, deepstruct", "nodes / edges, topo", "deepstruct", "topo"), rows)


def masks(record: dict[str, Any]) -> str:
    rows = [
        (
            row["tool"],
            f"{row['kept'][0]:,}",
            f"{row['kept'][1]:,}",
            f"{row['kept_by_both']:,}",
            seconds(row["tool_s"]),
            seconds(row["topo_s"]),
        )
        for row in record["magnitude_masks"]
    ]
    return table(("tool", "keeps", "topo keeps", "both keep", "time", "time, topo"), rows)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "removal": removal,
    "models": models,
    "errors": errors,
    "graph_metrics": graph_metrics,
    "graphs": graphs,
    "masks": masks,
}


def page(text: str, record: dict[str, Any]) -> str:
    """The page with each table as the record has it."""
    return with_tables(text, {name: made(record) for name, made in TABLES.items()})


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), json.loads(RECORD.read_text())))
