"""What the words of a report mean: its metrics, its encodings, and the terms of statistics."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..encoding import ENCODINGS
from ..features import METRICS
from ..results.evidence import Evidence
from ..results.schema import layer_encodings, metric_column, metric_columns, metric_label, ordered_metrics
from ..stats.significance import FALSE_DISCOVERY_RATE
from .cells import table_of
from .content import Part

__all__ = ["glossary"]

TERMS = (
    ("Group.", "The networks of one dataset, model and sparsity, which are compared with each other."),
    ("Unseen.", "Left out whole, with all its networks, while a prediction or a score is learned."),
    ("Sparsity, density.", "The share of the weights that is removed, and the share that is kept."),
    ("Norm., / size.", "Divided by the number of nodes or edges of the graph, or of each layer's graph."),
    ("ρ.", "Spearman's rank correlation: 1 where accuracy rises with a metric throughout, 0 where it does not follow."),
    ("τ.", "Kendall's τ-b of an order with the true one: 1 is the true order, 0 none of it, −1 the reverse."),
    ("R².", "Share of the variance that is explained; below 0, worse than one number for all. Adjusted: less what any "
     "columns would explain."),
    ("p, q.", "How often chance alone gives as much; q is p adjusted for the number of tests. Clear: q below "
     f"{FALSE_DISCOVERY_RATE:.2f}".replace("0.", ".") + "."),
    ("Would have been found.", "The size from which an effect would have been called clear in four of five such "
     "tables; smaller ones may well be there."),
    ("Points.", "Hundredths of accuracy."),
    ("NNSTD.", "Distance between two sparse networks after their units are matched: the share of edges that only one "
     "of the two has."),
)  # fmt: skip


def glossary(evidence: Sequence[Evidence]) -> Part:
    """Every metric of the tables with what it counts, the encodings, and the terms of a report.

    Parameters
    ----------
    evidence
        What is reported on.

    Returns
    -------
    Part
        To be folded.
    """
    columns = list(dict.fromkeys(column for one in evidence for column in metric_columns(one.networks)))
    summaries = {column: entry.summary for entry in METRICS.entries() for column in entry.info["columns"]}
    rows = []
    described = {c.metric: c for column in ordered_metrics(columns) if (c := metric_column(column)) is not None}
    for name, column in described.items():
        if name in summaries:
            read = "edges and weights" if column.reads_weights else "edges"
            rows.append([metric_label(name), column.category, summaries[name].rstrip("."), read])
    metrics = pd.DataFrame(rows, columns=["name", "category", "what it is", "read from"])
    known = {name.replace("-", "_"): name for name in ENCODINGS}
    there = [known[e] for e in ("multipartite", *layer_encodings(columns)) if e in known]
    encodings = tuple((f"{name}.", ENCODINGS.entry(name).summary) for name in there)
    return Part(
        "words",
        "What the metrics and words mean",
        (*encodings, *TERMS),
        tables=(table_of("metrics", metrics),) if len(metrics) else (),
    )
