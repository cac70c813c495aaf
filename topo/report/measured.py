"""What was measured: accuracy against sparsity for the first screen, and all else that is folded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd

from ..errors import InputError, counted
from ..plots import (
    accuracy_grid,
    accuracy_overview,
    correlation_heatmap,
    draw_graph,
    layer_allocation,
    layer_density_grid,
    scatter_panels,
)
from ..plots.overview import networks_of, telling_pairs
from ..results.copies import copies_sentence
from ..results.evidence import Evidence
from ..results.labels import listed, percent
from ..results.schema import PAIR, encoding_label, metric_columns, ordered_metrics
from ..stats.family_correlations import CORRELATION_COLUMNS, correlations_by_family, strongest_metrics
from ..stats.pruners import accuracy_summary
from ..tables import csv_text
from . import findings, reading
from .accuracy_table import accuracy_table, perplexity_table
from .cells import Table, table_of
from .content import Part, Shown
from .full_table import full_table
from .networks import Drawn
from .pictures import Picture, try_picture
from .place import Place

__all__ = ["measured"]

# Most pairs of dataset and model that figures are drawn of, and of which layer-wise ones are; of more pairs, one is.
MOST_PAIRS = 4
MOST_LAYER_PAIRS = 2


def measured(evidence: Evidence, drawn: Drawn, layers: pd.DataFrame | None, place: Place, source: str = "") -> Shown:
    """What a report shows of one piece of evidence beside the questions.

    Parameters
    ----------
    evidence
        The networks.
    drawn
        The graph to draw.
    layers
        Density of every layer, where it is known.
    place
        Where it will stand.
    source
        Whose evidence it is, where there are several.

    Returns
    -------
    Shown
        Accuracy, findings, and the folded parts.
    """
    return _Measured(evidence, drawn, layers, place, source).shown()


class _Measured:
    """The parts of one piece of evidence, which share its tables and correlations."""

    def __init__(
        self, evidence: Evidence, drawn: Drawn, layers: pd.DataFrame | None, place: Place, source: str
    ) -> None:
        self.evidence, self.drawn, self.layer_table, self.place, self.source = evidence, drawn, layers, place, source
        self.table = evidence.networks.drop(columns="study", errors="ignore")
        self.columns = metric_columns(self.table)
        self.metrics = ordered_metrics(c for c in self.columns if "__" not in c)
        self.slim = self.table.drop(columns=self.columns)
        self.trained = self.table[(self.table["pruner"] != "dense") & self.table["accuracy"].notna()]
        self.pairs = [(str(d), str(m)) for d, m in self.trained[[*PAIR]].drop_duplicates().sort_values([*PAIR]).values]
        self.layer_pairs = MOST_LAYER_PAIRS if len(self.pairs) <= MOST_LAYER_PAIRS else 1
        self.few = telling_pairs(self.trained, MOST_PAIRS) if self.pairs else []
        self.shown_metrics, self.twins = findings.without_twins(self.trained, self.metrics)
        self.correlations = (
            correlations_by_family(self.trained, self.metrics)
            if self.metrics
            else pd.DataFrame(columns=CORRELATION_COLUMNS)
        )
        self.summary = accuracy_summary(self.table)

    def shown(self) -> Shown:
        best = findings.accuracy_findings(self.summary)
        shown = self.correlations[self.correlations["metric"].isin(self.shown_metrics)]
        size = findings.size_finding(self.table)
        lost = findings.lost_sentence(self.table)
        parts = [self.accuracy(best), self.failures(), self.heatmaps(), self.layer_heatmaps(), self.networks()]
        parts += [self.layers(), self.graph(), self.whole_table(), self.undefined(), self.issues(), self.settings()]
        return Shown(
            self.source,
            findings.run_sentence(self.table, int((self.evidence.copies != "").sum())),
            self.overview(),
            (*self.evidence.notes, *filter(None, [lost, findings.collapsed_sentence(self.table)])),
            self.left_out(),
            (*best[:MOST_PAIRS], *findings.correlation_findings(shown), *([size] if size else [])),
            tuple(part for part in parts if part is not None),
        )

    def ident(self, name: str) -> str:
        return f"{self.source}-{name}" if self.source else name

    def draw(self, name: str, draw: Callable[[], Any], title: str, describe: str = "") -> Picture:
        return try_picture(self.ident(name), draw, self.place, title=title, describe=describe, paper=name == "accuracy")

    def each(self, name: str, draw: Callable[[tuple[str, str]], Any], describe: str, most: int) -> list[Picture]:
        return [
            self.draw(f"{name}{i}", partial(draw, pair), " · ".join(pair), f"{describe} {' · '.join(pair)}.")
            for i, pair in enumerate(self.few[:most])
        ]

    def left_out(self, most: int = MOST_PAIRS, how: str = "") -> str:
        """Which pairs figures are not drawn of, as a sentence; empty where there is none."""
        shown = self.few[:most]
        if len(self.pairs) <= len(shown):
            return ""
        left = len(self.pairs) - len(shown)
        return (
            f"Of {counted(len(self.pairs), 'pair')} of dataset and model {len(shown)} "
            f"{'is' if len(shown) == 1 else 'are'} shown, chosen for covering the most names and differing most "
            f"between pruners; {left} more {'is' if left == 1 else 'are'} "
            f"{how or 'below under “Accuracy of every pruner”'}."
        )

    def overview(self) -> Picture:
        pairs = len(self.few) or len(self.table[[*PAIR]].drop_duplicates())
        title = "Accuracy against sparsity" + ("" if pairs == 1 else ", by dataset and model")
        return self.draw("accuracy", lambda: accuracy_overview(self.slim), title, reading.accuracy(self.table))

    def accuracy(self, best: Sequence[str]) -> Part:
        pictures = []
        if len(self.pairs) > len(self.few):
            pictures = [self.draw("accuracy-all", lambda: accuracy_grid(self.slim), "All datasets and models")]
        tables = [accuracy_table(self.summary, self.place)]
        texts = [("How to read this.", reading.accuracy(self.table)), ("", reading.ACCURACY_TABLE)]
        if "perplexity" in self.table and self.table["perplexity"].notna().any():
            tables.append(perplexity_table(accuracy_summary(self.table, "perplexity"), self.place))
            texts.append(("Perplexity.", reading.PERPLEXITY))
        return Part(
            self.ident("accuracy-table"),
            "Accuracy of every pruner",
            tuple(texts),
            tuple(best),
            tuple(pictures),
            tuple(table for table in tables if table is not None),
        )

    def failures(self) -> Part:
        lost = findings.failures(self.table)
        count = int(lost["networks"].sum())
        return Part(
            self.ident("failures"),
            f"Failed and collapsed networks: {count or 'none'}",
            (("", findings.no_failures(self.table)),) if lost.empty else (),
            tables=() if lost.empty else (table_of("failures", lost, file=self.place.write_table("failures", lost)),),
        )

    def heatmaps(self) -> Part:
        texts = [("", self.twins)] if self.twins else []
        if not self.pairs:
            missing = "No sparse network has an accuracy, so nothing can be correlated with it."
        elif self.correlations.empty:
            missing = "The table has no metric columns, so there is nothing to correlate."
        else:
            missing = ""
        pictures = [Picture("heatmap", missing=missing)] if missing else self._heatmaps()
        rest = "drawn by topo.plots.spearman_heatmap"
        texts += [("", self.left_out(how=rest))] if self.left_out() and not missing else []
        texts += [("How to read this.", reading.HEATMAPS)]
        return Part(
            self.ident("correlation"), "Metrics against accuracy, by dataset and model", tuple(texts), (),
            tuple(pictures),
        )  # fmt: skip

    def _heatmaps(self) -> list[Picture]:
        shown = self.correlations[self.correlations["metric"].isin(self.shown_metrics)]

        def draw(pair: tuple[str, str]) -> Any:
            return _heatmap(networks_of(shown, pair), " · ".join(pair))

        return self.each("heatmap", draw, "Spearman correlation of metrics with accuracy on", MOST_PAIRS)

    def layer_heatmaps(self) -> Part | None:
        """Heat maps of the layer-wise metrics, averaged over layers, for each bipartite encoding in the table."""
        pictures: list[Picture] = []
        texts = [("", "Each layer as a bipartite graph of its own, metrics averaged over layers.")]
        for prefix in dict.fromkeys(c.rpartition("__")[0] for c in self.columns if "__" in c):
            metrics = ordered_metrics(c for c in self.columns if c.startswith(f"{prefix}__") and c.endswith("_mean"))
            metrics = [c for c in metrics if self.trained[c].notna().any()]
            if not metrics:
                continue
            metrics, twins = findings.without_twins(self.trained, metrics)
            name = encoding_label(prefix).capitalize()
            texts += [(f"{name}.", twins)] if twins else []

            def draw(pair: tuple[str, str], metrics: list[str] = metrics) -> Any:
                correlations = correlations_by_family(networks_of(self.trained, pair), metrics)
                defined = correlations.groupby("metric")["r"].transform("count") > 0
                return _heatmap(correlations[defined] if defined.any() else correlations, " · ".join(pair))

            for i, pair in enumerate(self.few[: self.layer_pairs]):
                title = f"{name} encoding, {' · '.join(pair)}"
                pictures.append(
                    self.draw(f"{prefix.replace('_', '-')}{i}", partial(draw, pair), title, f"Layer-wise {title}.")
                )
        if not pictures:
            return None
        rest = "drawn by topo.plots.spearman_heatmap(table, metrics=[...])"
        left = self.left_out(self.layer_pairs, rest)
        texts += [("", left)] if left else []
        texts += [("How to read this.", reading.LAYER_HEATMAPS)]
        return Part(self.ident("layerwise"), "Layer-wise metrics", tuple(texts), (), tuple(pictures), printed=False)

    def networks(self) -> Part:
        if not self.pairs:
            pictures = [Picture("scatter", missing="No sparse network has an accuracy, so there is nothing to draw.")]
        else:
            slim = self.trained.drop(columns=set(self.columns) - set(self.shown_metrics))

            def draw(pair: tuple[str, str]) -> Any:
                networks = networks_of(slim, pair)
                chosen = strongest_metrics(networks)
                if not chosen:
                    raise InputError(f"no metric of {' · '.join(pair)} varies over enough networks for a panel.")
                return scatter_panels(networks, chosen, title=" · ".join(pair))

            pictures = self.each("scatter", draw, "Accuracy against selected metrics on", MOST_PAIRS)
        left = self.left_out(how="drawn by topo.plots.scatter_panels") if self.pairs else ""
        texts = [("", left)] if left else []
        texts += [("How to read this.", reading.SCATTER)]
        return Part(self.ident("scatter"), "Networks one by one", tuple(texts), (), tuple(pictures))

    def layers(self) -> Part:
        layers = self.layer_table
        texts = [("How to read this.", reading.LAYERS)]
        if layers is None:
            pictures = [Picture("layers", missing="The source keeps no masks, so layer densities are not known.")]
        elif not set(PAIR) <= set(layers.columns):
            pictures = [self.draw("layers", lambda: layer_density_grid(layers), "Density of every layer")]
        else:
            known = set(layers[[*PAIR]].itertuples(index=False, name=None))
            pairs = [pair for pair in self.few if pair in known][: self.layer_pairs]
            left = len(known & set(self.pairs)) - len(pairs)
            if left > 0:
                rest = "topo.plots.layer_density_grid draws the others"
                texts.insert(
                    0, ("", f"Shown is {len(pairs)} of {left + len(pairs)} pairs of dataset and model; {rest}.")
                )
            pictures = []
            for i, pair in enumerate(pairs):
                own, name = networks_of(layers, pair), " · ".join(pair)
                if {"kept", "weights"} <= set(layers.columns):
                    known_sparsities = sorted(own["sparsity"].unique())
                    sparsity = known_sparsities[len(known_sparsities) // 2]
                    drawn = partial(layer_allocation, own, sparsity=sparsity, title="")
                    title = f"{name}, {percent(sparsity)} sparsity: where each pruner left its weights"
                    pictures.append(self.draw(f"allocation{i}", drawn, title))
                title = f"Density of every layer, {name}."
                pictures.append(self.draw(f"layers{i}", partial(layer_density_grid, own), name, title))
        return Part(self.ident("layers"), "Layer densities", tuple(texts), (), tuple(pictures))

    def graph(self) -> Part:
        drawn = self.drawn
        if drawn.graph is None:
            return Part(self.ident("graph"), "A graph", (), (), (Picture("graph", missing=drawn.reason),))
        describe = f"Drawing of {drawn.title or 'a multipartite graph'}."
        network = drawn.graph
        graph = self.draw("graph", lambda: draw_graph(network), drawn.title or "A multipartite graph", describe)
        return Part(self.ident("graph"), "A graph", (("How to read this.", reading.GRAPH),), (), (graph,))

    def whole_table(self) -> Part:
        file = self.place.write("results.csv", csv_text(self.table)) if self.place.files else ""
        full = full_table(self.table, self.columns, file)
        return Part(self.ident("table"), f"The full table: {counted(len(self.table), 'row')}", full=full, printed=False)

    def undefined(self) -> Part:
        values = findings.undefined_values(self.trained, self.columns, self.evidence.undefined)
        missing = findings.undefined_correlations(self.correlations)
        tables: list[Table] = [table_of("metrics without a value", values)] if len(values) else []
        tables += [table_of("correlations without a value", missing)] if len(missing) else []
        texts = () if len(values) else (("", "Every metric has a value in every trained sparse network."),)
        return Part(self.ident("undefined"), "Undefined values", texts, tables=tuple(tables), printed=False)

    def issues(self) -> Part:
        issues = self.evidence.data_issues
        copies = copies_sentence(self.evidence.networks, self.evidence.copies)
        met = (
            "Met while the tables were read; nothing else was changed." if len(issues) else "None was met in the files."
        )
        return Part(
            self.ident("data-issues"),
            "Data issues",
            tuple(("", text) for text in (copies, met) if text),
            tables=(table_of("data-issues", issues, file=self.place.write_table("data-issues", issues)),)
            if len(issues)
            else (),
        )

    def settings(self) -> Part | None:
        text = self.evidence.settings
        return Part(self.ident("settings"), "Settings of the study", code=text, printed=False) if text else None


def _heatmap(correlations: pd.DataFrame, title: str) -> Any:
    if correlations["r"].isna().all():
        reasons = listed(sorted(set(correlations["reason"])))
        raise InputError(f"no correlation is defined on {title}, because {reasons}.")
    return correlation_heatmap(correlations, title=title)
