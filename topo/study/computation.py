"""The work of one cell: build, prune, train, evaluate, encode, measure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..checkpoint import load_checkpoint
from ..dag import Dag, compact, cost, coupled_channels, trace
from ..dag.example import sample_shapes
from ..dag.structure import is_connected, weight_counts
from ..datasets import DATASETS, Dataset
from ..datasets import load as load_dataset
from ..datasets.inputs import Inputs, map_inputs
from ..device import resolve_device
from ..encoding import LayerGraphs, encode
from ..errors import InputError
from ..features import measure, measure_layers, over_layers
from ..features.controls import standard_scores
from ..features.preparation import prepare_kernels
from ..masks import Masks
from ..models import MODELS, build
from ..pruning import narrowed, prune, sparse_training_callback
from ..training import Callback, Diverged, evaluate, measure_targets, train
from .controls import controls_of
from .entries import PrunerChoice
from .grid import Cell
from .layer_metrics import layer_facts
from .provenance import provenance
from .store import CellResult
from .table import undefined_text
from .trajectory import MaskTrajectory

__all__ = ["build_model", "compute", "example_of", "load_data"]


def compute(
    cell: Cell,
    device: str = "auto",
    dense_weights: Path | None = None,
    controls: Path | None = None,
    tracker: Callback | None = None,
) -> CellResult:
    """The result of a cell; a pruner of stage ``"trained"`` starts from the file `dense_weights`.

    Parameters
    ----------
    cell
        What to compute.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    dense_weights
        Checkpoint of the trained dense network; None when the cell needs none.
    controls
        Folder where the metrics of random masks are kept for other cells.
    tracker
        A callback that follows the training.

    Returns
    -------
    CellResult
        Its row and whatever the cell is to save; one that diverges has that as its status.
    """
    target = resolve_device(device)
    seconds: dict[str, float] = {}
    dataset = load_data(cell, target)
    model = build_model(cell, dataset)
    if cell.needs_dense and dense_weights is not None:
        load_checkpoint(model, dense_weights)
    model.to(target)

    facts = provenance(cell, dataset, target)
    row: dict[str, Any] = {"status": "finished", "reason": ""}
    masks: Masks | None = None
    callbacks: list[Callback] = []
    if cell.pruner is not None:
        try:
            with _timed(seconds, "prune"):
                masks, callbacks = _pruned(cell, cell.pruner, model, dataset, target)
        except Diverged as error:
            row |= {"status": "diverged", "reason": str(error), "device": target.type}
            return CellResult(row | _seconds_columns(seconds), provenance=facts)
    trained_for = cell.recipe.epochs * (1 + cell.needs_dense + (masks is not None and masks.state is not None))
    trajectory = MaskTrajectory() if cell.save_trajectory and masks is not None else None
    if trajectory is not None:
        callbacks.append(trajectory)
    if tracker is not None:
        callbacks.append(tracker)
    with _timed(seconds, "train"):
        training = train(
            model,
            dataset,
            cell.recipe,
            masks=masks,
            seed=cell.seed,
            device=target,
            progress=False,
            callbacks=callbacks,
        )
    masks = training.masks
    row |= _columns(cell, model, dataset, masks)
    metrics: dict[str, Any] = {}
    layers: dict[str, pd.DataFrame] = {}
    if training.status == "diverged":
        row |= {"status": "diverged", "reason": training.reason}
    else:
        row |= evaluate(model, dataset, device=target, loss=cell.recipe.loss)
        if cell.targets:
            asked = {choice.name: choice.settings for choice in cell.targets}
            with _timed(seconds, "targets"):
                row |= measure_targets(
                    model, dataset, training.history, targets=asked, loss=cell.recipe.loss, device=target
                )
        model.cpu()
        measured, layers = _measured(cell, model, dataset, masks, seconds, controls)
        metrics = _compact_columns(cell, model, dataset, masks) | measured
        if cell.dense_of_equal_cost:
            with _timed(seconds, "small_dense"):
                row |= _small_dense_columns(cell, dataset, metrics["compact_macs"], trained_for, target)
    row |= {"device": target.type} | _seconds_columns(seconds)
    whole = training.status != "diverged"
    kept = model if cell.save_weights and whole else None
    weights = {name: value.numpy() for name, value in model.state_dict().items()} if masks and whole else None
    facts_of_layers = None if masks is None else layer_facts(masks, weights)
    return CellResult(
        row | metrics,
        masks,
        training.history,
        kept,
        trajectory=trajectory,
        layers=layers,
        layer_facts=facts_of_layers,
        provenance=facts,
    )


def _pruned(
    cell: Cell, pruner: PrunerChoice, model: nn.Module, dataset: Dataset, device: torch.device
) -> tuple[Masks, list[Callback]]:
    """Prune the model; the masks to train it with and the callbacks that will change them."""
    options = {"sparsity": cell.sparsity, "data": dataset, "seed": cell.seed, "device": device, **pruner.arguments}
    if pruner.applied_at == "training":
        callback = sparse_training_callback(model, pruner.name, loss=cell.recipe.loss, **options)
        assert isinstance(callback.masks, Masks)
        return callback.masks, [callback]
    masks = prune(model, pruner.name, recipe=cell.recipe, allow_empty_layers=pruner.allow_empty_layers, **options)
    masks.install(model)
    return masks, []


def _columns(cell: Cell, model: nn.Module, dataset: Dataset, masks: Masks | None) -> dict[str, Any]:
    """What the results say of the sparse network itself, measurements aside: its size, and whether it collapsed."""
    columns = _dataset_columns(dataset) | _mask_columns(masks or Masks.dense(model, example_of(dataset)))
    empty = [] if masks is None else masks.empty_layers()
    if empty and cell.pruner is not None and not cell.pruner.allow_empty_layers:
        raise InputError(
            f"pruner {cell.pruner.name!r} at sparsity {cell.sparsity} left no weight in {', '.join(empty)} by the end "
            "of training; lower the sparsity, exclude these layers or allow empty layers."
        )
    if empty:
        columns["reason"] = f"no weight is left in {', '.join(empty)}"
    if masks is not None:
        with suppress(InputError):  # where paths cannot be followed it is not known
            columns["connected"] = int(is_connected(_dag(cell, model, dataset), masks))
    if masks is not None and _is_cut(cell, model, dataset, masks, unknown=bool(empty)):
        columns["status"] = "collapsed"
        columns.setdefault("reason", "no kept weight connects the input to the output")
    elif empty:
        columns["reason"] += ", which other branches bypass"
    return columns


def _is_cut(cell: Cell, model: nn.Module, dataset: Dataset, masks: Masks, unknown: bool) -> bool:
    """Whether no kept weight is on a path from the input to the output; `unknown` where paths cannot be followed.

    Paths are those of `topo.dag.is_connected`.
    """
    try:
        return weight_counts(_dag(cell, model, dataset), masks, reads="values").effective == 0
    except InputError:
        return unknown


def _measured(
    cell: Cell,
    model: nn.Module,
    dataset: Dataset,
    masks: Masks | None,
    seconds: dict[str, float],
    controls: Path | None,
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """The metric columns of every encoding and why some have no value, and the metrics of layers by encoding."""
    columns: dict[str, Any] = {}
    layers: dict[str, pd.DataFrame] = {}
    reasons: dict[str, str] = {}
    if not cell.encodings:
        return columns, layers
    dag = _dag(cell, model, dataset)
    prepare_kernels()
    for encoding in cell.encodings:
        with _timed(seconds, "encode"):
            graph = encode(dag, masks, encoding=encoding.name, **encoding.options)
        with _timed(seconds, "measure"):
            if isinstance(graph, LayerGraphs):
                table = measure_layers(graph, metrics=cell.metrics, on_failure="undefined")
                layers[encoding.prefix.removesuffix("__")] = table
                row = over_layers(table, graph)
            else:
                row = measure(graph, metrics=cell.metrics, on_failure="undefined")
        columns |= {f"{encoding.prefix}{name}": float(value) for name, value in row.items()}
        reasons |= {f"{encoding.prefix}{name}": reason for name, reason in row.attrs["undefined"].items()}
        if encoding.controls and masks is not None:
            with _timed(seconds, "controls"):
                scores = standard_scores(row, controls_of(cell, dag, masks, encoding, controls))
            scores.index = [f"{encoding.prefix}{name}_z" for name in scores.index]
            columns |= scores["z"].to_dict()
            reasons |= scores.loc[scores["z"].isna(), "reason"].to_dict()
    return columns | {"undefined": undefined_text(reasons)}, layers


def _compact_columns(cell: Cell, model: nn.Module, dataset: Dataset, masks: Masks | None) -> dict[str, int]:
    """What the smaller module without the dead units costs, for pruners that remove whole units."""
    if cell.pruner is None or not cell.pruner.removes_units:
        return {}
    smaller = compact(model, masks, channels=coupled_channels(_dag(cell, model, dataset)))
    costs = cost(smaller, example_of(dataset))
    return {"compact_parameters": costs["parameters"], "compact_macs": costs["macs"]}


def _small_dense_columns(
    cell: Cell, dataset: Dataset, macs: int, epochs: int, device: torch.device
) -> dict[str, float]:
    """What a dense network of so few multiply-accumulates reaches in so many epochs; nothing where none is as small."""
    example = example_of(dataset)
    try:
        small = narrowed(build_model(cell, dataset), macs, example, seed=cell.seed)
    except InputError:
        return {}
    facts: dict[str, float] = {"epochs": epochs, **cost(small, example)}
    plan = replace(cell.recipe, epochs=epochs)
    if train(small, dataset, plan, seed=cell.seed, device=device, progress=False).status == "finished":
        reached = evaluate(small, dataset, device=device, loss=cell.recipe.loss)
        facts |= {name: reached[name] for name in ("accuracy", "loss") if name in reached}
    return {f"small_dense_{name}": value for name, value in facts.items()}


def _dataset_columns(dataset: Dataset) -> dict[str, Any]:
    """What an accuracy has to be read with: the number of answers that it is a share of, of classes, and chance."""
    split = dataset.train if dataset.test is None else dataset.test
    if not split.has_classes:
        return {"test_samples": split.n_answers}
    counts, answers = split.class_counts, split.n_answers
    return {"classes": dataset.n_classes, "test_samples": answers, "chance": int(counts.max()) / answers}


def _mask_columns(masks: Masks) -> dict[str, Any]:
    counts = masks.counts()
    return {
        "reached_sparsity": masks.reached(masks.sparsity_of),
        "reached_of_included": masks.reached("included"),
        "reached_of_all": masks.reached("all"),
        "kept_weights": int(counts["kept"].sum()),
        "total_weights": int(counts["total"].sum()),
        "layer_density_min": float(counts["density"].min()),
        "layer_density_max": float(counts["density"].max()),
    }


def _seconds_columns(seconds: dict[str, float]) -> dict[str, float]:
    return {f"seconds_{name}": value for name, value in seconds.items()}


def load_data(cell: Cell, device: torch.device | str = "cpu") -> Dataset:
    """The cell's dataset, loaded once per worker.

    Parameters
    ----------
    cell
        Names the dataset.
    device
        Where it is kept.

    Returns
    -------
    Dataset
        On the device.
    """
    choice, root = cell.dataset, cell.dataset_root
    key = ("dataset", DATASETS[choice.name], repr(choice), str(root), str(device))
    return _kept(
        key,
        lambda: load_dataset(
            choice.name,
            root=root,
            device=device,
            download=choice.download,
            subset=choice.subset,
            **choice.settings,
        ),
    )


def build_model(cell: Cell, dataset: Dataset) -> nn.Module:
    """The cell's network with its initial weights.

    Parameters
    ----------
    cell
        Names the model and the seed.
    dataset
        Gives the shape of the inputs and the number of classes.

    Returns
    -------
    Module
        On the CPU.
    """
    return build(
        cell.model.name,
        input_shape=sample_shapes(dataset.example),
        n_classes=dataset.n_outputs,
        seed=cell.seed,
        example=example_of(dataset),
        **cell.model.settings,
    )


def example_of(dataset: Dataset) -> Inputs:
    """One sample of a dataset, its floating-point numbers zero, on the CPU; whole numbers, such as tokens, stay.

    Parameters
    ----------
    dataset
        Gives the form.

    Returns
    -------
    Tensor, tuple or dict
        One sample.
    """

    def blank(tensor: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(tensor, device="cpu") if tensor.is_floating_point() else tensor.cpu()

    return map_inputs(blank, dataset.example)


def _dag(cell: Cell, model: nn.Module, dataset: Dataset) -> Dag:
    """The Dag of a model with its own weights; networks of one kind are traced once per worker."""
    key = (
        "dag",
        MODELS.get(cell.model.name),
        repr(cell.model),
        repr(sample_shapes(dataset.example)),
        dataset.n_outputs,
    )
    return _kept(key, lambda: trace(model, example_of(dataset)).single()).bind(model)


_worker = threading.local()


def _kept(key: tuple, make: Any) -> Any:
    """What `make` returns, kept for the cells this worker computes next; only the newest few stay in memory."""
    cache = _worker.__dict__.setdefault("cache", {})
    if key not in cache:
        while len(cache) >= 4:
            del cache[next(iter(cache))]
        cache[key] = make()
    return cache[key]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
