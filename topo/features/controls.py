"""Controls: the metrics of a sparse network against those of random masks with as many weights in every layer.

How many weights a pruner leaves in each layer moves nearly every metric. Random masks that keep as many weights of
every layer share that and nothing else. So a metric's z-score against them, (value - mean) / SD, is what the places of
the weights add: the wiring without the densities of the layers. Random graphs that share a property give z-scores in
Milo et al., *Network motifs: simple building blocks of complex networks*, Science 298 (2002).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan, nan, sqrt
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..dag import Dag, trace
from ..dag.example import Example
from ..encoding import ENCODINGS
from ..errors import InputError, counted
from ..masks import Masks
from ..validation import whole_number
from .measurement import measure
from .registry import select

__all__ = ["compared_columns", "compared_metrics", "measure_controls", "standard_scores", "z_scores"]

# Of a spread that is smaller, next to the mean, rounding is to blame.
LEAST_SPREAD = 1e-9


def z_scores(
    model: nn.Module | Dag,
    masks: Masks | Mapping[str, Any],
    *,
    example: Example | None = None,
    encoding: str = "multipartite",
    metrics: str | Iterable[str] | None = None,
    engine: str = "auto",
    device: str | torch.device = "auto",
    n: int = 20,
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Every metric of a sparse network against random masks that keep as many weights of every layer.

    Parameters
    ----------
    model, masks, example, encoding, options
        As for `topo.encode`; the masks are needed. The encoding must find edges from the masks alone, as those of
        `topo` do.
    metrics
        As for `topo.measure`. Metrics that read the sizes of weights have no z-score, since there is no telling which
        sizes weights at other places would have.
    engine, device
        As for `topo.measure`; the random masks are measured by the engine that measured the network.
    n
        How many random masks, at least 2.
    seed
        Seeds them. They depend on it and on the numbers of weights only.

    Returns
    -------
    DataFrame
        By metric (of layer-wise encodings its mean over layers, ``<metric>_mean``): ``value`` of the network; ``mean``
        and ``sd`` of the random masks, and ``n`` of them that have a value; ``z``, (value - mean) / sd; and the
        ``reason`` why there is none. A metric that the numbers of weights fix, such as the edges of rolled layers, has
        the same value for all random masks, and no z-score.

    Raises
    ------
    InputError
        As `topo.encode` and `topo.measure`; when `n` is less than 2, or no metric is left.

    Notes
    -----
    A network whose own mask is random has z-scores with mean 0; were the metric normal, z / sqrt(1 + 1/n) would follow
    Student's t with n - 1 degrees of freedom. Counts that are nearly always 0 are far from normal.

    Examples
    --------
    >>> import topo
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8), seed=0)
    >>> masks = topo.prune(net, "synflow", sparsity=0.9, example=(1, 8, 8), seed=0)
    >>> table = topo.z_scores(net, masks, example=(1, 8, 8), metrics=["local", "edges"], n=10)
    >>> table.columns.tolist()
    ['value', 'mean', 'sd', 'n', 'z', 'reason']
    >>> bool(table.loc["disconnected_nodes", "z"] > 10)  # far more than where as many weights lie at random
    True
    >>> table.loc["edges", "reason"]
    'the numbers of weights in the layers fix it'
    """
    whole_number("n", n, minimum=2)
    whole_number("seed", seed, minimum=0)
    if not isinstance(masks, Mapping):
        raise InputError("z-scores need masks, which say how many weights of each layer the random masks keep.")
    if example is None and not isinstance(model, Dag):
        raise InputError("topo.z_scores needs example, an input of the model or its shape, such as (3, 32, 32).")
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    layers = encoding in ENCODINGS and bool(ENCODINGS.entry(encoding).info["layers"])
    names = compared_metrics(metrics, layers=layers)
    if not names:
        raise InputError("all of these metrics read the sizes of weights, so none has a z-score against random masks.")
    masks = masks if isinstance(masks, Masks) else Masks(masks)
    dag = trace(model, example).single()
    how: dict[str, Any] = {"encoding": encoding, "options": options, "device": device}
    row = measure(dag, masks, metrics=names, engine=engine, **how)
    how["engine"] = row.attrs["engine"]
    return standard_scores(row, measure_controls(dag, masks, metrics=metrics, n=n, seed=seed, **how))


def compared_metrics(metrics: str | Iterable[str] | None, *, layers: bool) -> list[str]:
    """The metrics among those named that random masks can have: those that do not read the sizes of weights.

    Parameters
    ----------
    metrics
        As for `measure`.
    layers
        Whether of a layer-wise encoding.

    Returns
    -------
    list
        Names of metrics.

    Examples
    --------
    >>> compared_metrics(["strength", "local"], layers=False)[:2]
    ['sink_nodes', 'source_nodes']
    """
    entries = select(metrics, layers=layers)
    return [entry.name for entry in entries if set(entry.info["columns"]) - entry.info["reads_weights"]]


def compared_columns(metrics: str | Iterable[str] | None, *, layers: bool) -> list[str]:
    """The columns of `measure` that have z-scores: raw ones without sizes of weights; of layers, their means.

    Parameters
    ----------
    metrics, layers
        As for `compared_metrics`.

    Returns
    -------
    list
        Names of columns.

    Examples
    --------
    >>> compared_columns(["k_core", "strength"], layers=True)
    ['k_core_mean']
    """
    entries = select(metrics, layers=layers)
    columns = [c for entry in entries for c in entry.info["columns"] if c not in entry.info["reads_weights"]]
    return [f"{column}_mean" for column in columns] if layers else columns


def measure_controls(
    dag: Dag,
    masks: Masks,
    encoding: str = "multipartite",
    options: Mapping[str, Any] | None = None,
    metrics: str | Iterable[str] | None = None,
    *,
    engine: str = "edges",
    device: str | torch.device = "auto",
    n: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """The metrics of random masks that keep as many weights of every layer as `masks`.

    Parameters
    ----------
    dag
        Of one sample.
    masks
        Give the numbers of weights; nothing else of them matters.
    encoding, options
        An encoding and its options.
    metrics, engine, device
        As for `measure`.
    n, seed
        As for `z_scores`.

    Returns
    -------
    DataFrame
        One row a random mask; columns as of `compared_columns`, NaN where a metric is undefined.
    """
    layers = bool(ENCODINGS.entry(encoding).info["layers"])
    metrics = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    names, columns = (chosen(metrics, layers=layers) for chosen in (compared_metrics, compared_columns))
    how: dict[str, Any] = {"encoding": encoding, "options": options, "engine": engine, "device": device}
    rows = []
    for index in range(n):
        row = measure(dag, masks.random_like((seed, index)), metrics=names, on_failure="undefined", **how)
        rows.append(row[columns])
    return pd.DataFrame([row.to_dict() for row in rows], columns=columns, dtype="float64")


def standard_scores(row: pd.Series, controls: pd.DataFrame) -> pd.DataFrame:
    """The z-scores of a network's metrics against those of random masks.

    Parameters
    ----------
    row
        What `measure` returned of the network.
    controls
        What `measure_controls` returned.

    Returns
    -------
    DataFrame
        As of `z_scores`.

    Examples
    --------
    >>> row = pd.Series({"k_core": 5.0, "edges": 9.0, "two_hop": 2.0})
    >>> controls = pd.DataFrame({"k_core": [1.0, 2.0, 3.0], "edges": [9.0] * 3, "two_hop": [0.0] * 3})
    >>> scores = standard_scores(row, controls)
    >>> scores["z"].tolist(), scores["reason"].tolist()[1:]
    ([3.0, nan, nan], ['the numbers of weights in the layers fix it',
                       'all random masks have 0, so there is no spread to compare with'])
    """
    undefined = row.attrs.get("undefined", {})
    rows = {}
    for column in controls.columns:
        value, values = float(row[column]), controls[column].dropna().to_numpy()
        n, mean, sd, z, reason = len(values), nan, nan, nan, ""
        if n:
            mean = float(values.mean())
        if n > 1:
            sd = sqrt(float(((values - mean) ** 2).sum()) / (n - 1))
        if isnan(value):
            reason = undefined.get(column, "undefined for this network")
        elif n < 2:
            reason = f"undefined in {len(controls) - n} of {counted(len(controls), 'random mask')}"
        elif sd > LEAST_SPREAD * abs(mean):
            z = (value - mean) / sd
        elif abs(value - mean) <= LEAST_SPREAD * abs(mean):
            reason = "the numbers of weights in the layers fix it"
        else:
            reason = f"all random masks have {mean:.6g}, so there is no spread to compare with"
        rows[column] = (value, mean, sd, n, z, reason)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "mean", "sd", "n", "z", "reason"])
