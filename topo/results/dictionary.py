"""What every column of a table of results says, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ..features.registry import METRICS, Metric, columns_of
from ..registry import Entry
from .schema import SAID, encoding_label, metric_column, metric_label

__all__ = ["MEASURED_SUFFIXES", "RUN_COLUMNS", "describe_columns"]

RUN_COLUMNS = {
    "study": "Name of the study, where a table has several.",
    "file": "The file of masks that was measured.",
    "cell": "Key of the network in its study: the name of its folder.",
    "date": "When the result was written, in UTC.",
    "provenance": "Digest of what it was computed with: versions, machine, data.",
    "network": "Name of the network, where it comes from no study.",
    "dataset": "What it was trained on.",
    "model": "Its architecture.",
    "pruner": "The algorithm that pruned it; `dense` for a baseline.",
    "family": "What the algorithm prunes and when: `initial`, `dynamic`, `trained`, `structured`, or your own.",
    "sparsity": "Share of weights that was asked to be removed.",
    "seed": "Of initial weights, data order, and whatever the algorithm draws.",
    "layer": "Name of the layer, in tables of layers.",
    "status": "`finished`; `collapsed`: no kept weight connects the input to the output; `diverged`; `failed`.",
    "reason": "Why a network failed, diverged or collapsed; also names empty layers that others bypass.",
    "accuracy": "Share of test answers that are right; none where targets are numbers.",
    "loss": "Mean loss on the test samples.",
    "perplexity": "Exponential of the mean loss of a token, for language models.",
    "mean_iou": "Intersection over union of the classes of a map, averaged over those that occur.",
    "rmse": "Root of the mean squared error on the test samples, where targets are numbers.",
    "r2": "Share of the variance of the test targets that the outputs explain (R^2), where targets are numbers.",
    "calibration_error": "Expected calibration error on the test samples: how far confidence is from accuracy.",
    "accuracy_noise": "Accuracy on test samples with normal noise added.",
    "accuracy_blur": "Accuracy on test images that are blurred.",
    "accuracy_contrast": "Accuracy on test images of less contrast.",
    "epochs_to_share": "Epochs until the test accuracy first is 90% (or the share asked for) of that in the end.",
    "dense_accuracy": "Accuracy of the dense network of the same dataset, model and seed.",
    "accuracy_drop": "`dense_accuracy - accuracy`.",
    "classes": "Number of classes.",
    "test_samples": "Answers that the accuracy is a share of: test samples, or their positions.",
    "chance": "Share of the test answers that are of the most frequent class.",
    "reached_sparsity": "Share of weights that is removed, of those that `sparsity` is a share of.",
    "reached_of_included": "The same, of the weights that `include` and `exclude` leave open to pruning.",
    "reached_of_all": "The same, of all weights that are prunable without such patterns.",
    "connected": "1 where kept weights and skips connect an input to an output, 0 where the output is constant.",
    "kept_weights": "Weights that are kept.",
    "total_weights": "Weights that may be pruned.",
    "weights": "Weights of the layer, in tables of layers.",
    "kept": "Weights of the layer that are kept.",
    "layer_density_min": "Smallest share of weights that a layer keeps.",
    "layer_density_max": "Largest share of weights that a layer keeps.",
    "layer_density_mean": "Mean over layers of the share of weights that they keep, in published tables.",
    "mean_abs_weight": "Mean absolute value of the layer's kept weights.",
    "compact_parameters": "Parameters of the smaller module without the removed units.",
    "compact_macs": "Multiply-accumulates of that module for one sample.",
    "small_dense_accuracy": "Accuracy of a dense network of at most `compact_macs`, trained from scratch as long.",
    "small_dense_loss": "Mean loss on the test samples of the dense network of equal cost.",
    "small_dense_parameters": "Parameters of the dense network of equal cost.",
    "small_dense_macs": "Multiply-accumulates of the dense network of equal cost for one sample.",
    "small_dense_epochs": "Epochs of the dense network of equal cost: those of the pruned one, from its beginning.",
    "device": "Where it was computed: `cpu` or `cuda`.",
    "engine": "How the graph was measured: from its edges or from the structure of the network.",
    "seconds": "Wall time of the whole cell.",
    "seconds_train": "Wall time of training, in seconds.",
    "seconds_prune": "Wall time of pruning, in seconds; of training too, where it prunes while training.",
    "seconds_encode": "Wall time of encoding, in seconds.",
    "seconds_measure": "Wall time of measuring, in seconds.",
    "seconds_small_dense": "Wall time of the dense network of equal cost, in seconds.",
    "seconds_targets": "Wall time of what is asked beside accuracy, in seconds.",
    "seconds_controls": "Wall time of the random masks that z-scores compare with, in seconds.",
    "undefined": "Which metrics have no value on this network, and why.",
}
"""Column -> what it says, for all columns that are no metrics."""

FACTS = ["description", "metric", "category", "encoding", "reads_weights"]

MEASURED_SUFFIXES = {
    "norm": "The value divided by the number of nodes or edges, as the metric says.",
    "mean": "Mean over the layers.",
    "min": "Smallest of the layers.",
    "max": "Largest of the layers.",
    "weighted": "Mean over the layers, weighted by their numbers of weights.",
    "z": "Standard deviations above the mean of random masks with as many weights in every layer (`topo.z_scores`).",
}
"""Suffix of a metric's column -> what it says."""


def describe_columns(columns: pd.DataFrame | Iterable[str]) -> pd.DataFrame:
    """What each column of a table says.

    Parameters
    ----------
    columns
        A table of results, or names of its columns.

    Returns
    -------
    DataFrame
        A row a column: its `description`; for metrics also the `metric`'s own name, its `category`, the `encoding`
        (``"multipartite"`` for columns without a prefix), and whether it `reads_weights`. Columns that nothing here
        fills have an empty description.

    Examples
    --------
    >>> told = describe_columns(["accuracy", "rolled__k_core_norm_max", "mine"])
    >>> told.loc["rolled__k_core_norm_max", ["metric", "category", "encoding"]].tolist()
    ['k_core', 'strength', 'rolled']
    >>> for text in told["description"]:
    ...     print(text)
    Share of test answers that are right; none where targets are numbers.
    Mean coreness over nodes, direction ignored; divided by the number of edges; largest of the layers.
    <BLANKLINE>
    """
    names = [str(name) for name in (columns.columns if isinstance(columns, pd.DataFrame) else columns)]
    entries = {column: entry for entry in METRICS.entries() for column in columns_of(entry)}
    told = [_described(name, entries) for name in names]
    return pd.DataFrame(told, index=pd.Index(names, name="column"), columns=FACTS)


def _described(name: str, entries: Mapping[str, Entry[Metric]]) -> dict[str, Any]:
    column = None if name in RUN_COLUMNS else metric_column(name)
    if column is None:
        return {
            "description": RUN_COLUMNS.get(name, ""),
            "metric": "",
            "category": "",
            "encoding": "",
            "reads_weights": None,
        }
    entry = entries.get(column.metric)
    words = [entry.summary if entry else SAID.get(column.metric, f"{metric_label(column.metric)}.")]
    for suffix in column.suffixes:
        said = (
            f"divided by the number of {entry.info['per']}" if suffix == "norm" and entry else MEASURED_SUFFIXES[suffix]
        )
        words.append(said[:1].lower() + said[1:])
    return {
        "description": "; ".join(word.rstrip(".") for word in words) + ".",
        "metric": column.metric,
        "category": column.category,
        "encoding": encoding_label(column.encoding) if column.encoding else "multipartite",
        "reads_weights": column.reads_weights,
    }
