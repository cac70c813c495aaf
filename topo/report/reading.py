"""How to read what a report folds, and how its numbers came about."""

from __future__ import annotations

import pandas as pd

from ..results.labels import percent
from ..stats.pruners import accuracy_summary
from ..stats.significance import FALSE_DISCOVERY_RATE

__all__ = [
    "ACCURACY_TABLE", "GRAPH", "HEATMAPS", "LAYERS", "LAYER_HEATMAPS", "METHOD", "PERPLEXITY", "SCATTER", "accuracy",
]  # fmt: skip

ACCURACY_TABLE = (
    "The table has the mean over seeds in percent, and after ± half the distance between the lowest and the highest "
    "seed."
)
PERPLEXITY = (
    "Of networks that foretell the tokens of a text, accuracy is the share of tokens that are foretold rightly, and "
    "perplexity the exponential of the mean cross-entropy of a token: among how many equally likely tokens a network "
    "would be as uncertain. The smaller, the better."
)
HEATMAPS = (
    "Spearman’s rank correlation ρ of a metric (row) with test accuracy over the networks of one pruner family at one "
    "sparsity (column): blue where accuracy rises with the metric, orange where it falls. Bold: clear at a "
    f"false-discovery rate of {percent(FALSE_DISCOVERY_RATE)}. Hatched: undefined, for one of the reasons listed under "
    "“Undefined values”. The columns “all families” pool networks made in different ways; where they disagree with the "
    "columns of single families, the family and not the topology is likely what is seen. “norm.” is the published "
    "normalisation by nodes or edges."
)
LAYER_HEATMAPS = (
    "As the heat maps of the whole network, without the metrics that have no correlation in any column. Minimum, "
    "maximum and weighted mean over layers are columns of the full table."
)
SCATTER = (
    "One point is one network: colour tells the pruner, the marker the sparsity. Shown is, for each category, the "
    "metric with the largest median |ρ| within groups of one pruner family and sparsity (over all networks where those "
    "groups are too small): they were chosen for looking good, so judge them by the heat map, not by these panels. A "
    "trend across markers of different shape is the effect of sparsity; look for a trend within one shape."
)
LAYERS = (
    "A cell is a layer (column) of the networks of one pruner (row), with the percentage of its weights that is kept "
    "where there is room, the mean over seeds: blue where the layer is denser than the network, brown where it is "
    "sparser. A line is the share of weights that each layer keeps, from input to output, one line per sparsity "
    "(darker is sparser); the band spans the seeds. The axis is logarithmic; a layer that keeps nothing lies at its "
    "foot."
)
GRAPH = (
    "Columns are the parts of the graph from input to output. A dot is an element; in large graphs a square is a "
    "channel, or the position of a token, or several of similar degree, its elements shaded by their degree; orange "
    "ones have no edge. Hidden squares are sorted by degree. A ribbon joins two squares, wider and darker the denser "
    "their edges are within that layer. Arcs are skip connections, wider with more edges."
)
METHOD = (
    (
        "Correlation.",
        "Spearman’s ρ over networks with both values; at least five, else it is left undefined. Seeds of one pruner "
        "are no independent evidence, so where groups hold at least four pruners p-values take the pruners as the "
        f"sample. A correlation is called clear at a false-discovery rate of {percent(FALSE_DISCOVERY_RATE)} "
        "(Benjamini–Hochberg) over all metrics and groups of its table.",
    ),
    (
        "Family.",
        "Pruners that act before, during and after training differ in much beside topology, in how long and how the "
        "weights were trained first of all. Correlations are therefore shown within a family, and pooled ones beside "
        "them.",
    ),
    (
        "Edges.",
        "Where a pruner leaves its weights decides how often they are unrolled, so that networks of equal sparsity "
        "have graphs of different size. A metric that follows the number of edges explains no more than that number.",
    ),
    (
        "Trained weights.",
        "Strength and the spectral metrics use the absolute weights after training; they describe the training as well "
        "as the mask.",
    ),
    (
        "Accuracy",
        "is that of the last epoch on the test set. Differences smaller than the spread over seeds are not "
        "differences.",
    ),
    ("Numbers", "were all computed from the tables when this report was written."),
)


def accuracy(table: pd.DataFrame) -> str:
    """How to read accuracy against sparsity, of this table.

    Parameters
    ----------
    table
        Results table.

    Returns
    -------
    str
        Sentences.
    """
    summary = accuracy_summary(table)
    one_seed = bool(len(summary)) and int(summary["n"].max()) == 1
    spread = ", from a single seed, so no spread is known" if one_seed else "; bars span its lowest to its highest seed"
    dense = (
        "The dashed line is the mean of the dense networks."
        if (table["pruner"] == "dense").any()
        else "The table holds no dense network, so no baseline is drawn."
    )
    return (
        f"Each line is the mean test accuracy of one pruner{spread}. {dense} The sparsity axis is the logarithm of "
        "density. Lines are shifted sideways a little so that bars do not hide each other."
    )
