"""The calls `topo.prune(...)`, `topo.pruning.score(...)` and `topo.pruning.sparse_training_callback(...)`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..masks import Masks
from ..training import Recipe
from ..validation import check_settings
from .registry import PRUNERS
from .sparse_training import SparseTrainingCallback
from .task import Task, open_task

__all__ = ["Task", "prune", "score", "sparse_training_callback"]


def prune(
    model: nn.Module,
    name: str,
    *,
    sparsity: float,
    data: Any = None,
    recipe: Recipe | str | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    allow_empty_layers: bool = True,
    **settings: Any,
) -> Masks:
    """Find which weights of a model to keep; the model itself is not changed.

    Parameters
    ----------
    model
        Any module; only a copy is worked on.
    name
        An algorithm of `PRUNERS`.
    sparsity
        Share of the prunable weights to remove, from 0 up to but not including 1. Exactly
        ``round((1 - sparsity) * total)`` weights are kept.
    data
        (inputs, targets) tensors, a dataset, or an iterable of batches, for the algorithms that need them; those that
        train need a dataset.
    recipe
        How algorithms that train do it, a `topo.training.Recipe` or its name.
    seed
        Seed of every random choice; the global random states stay as they were.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    include, exclude
        Patterns on parameter names, see `topo.masks.prunable_parameters`.
    allow_empty_layers
        Whether a layer may lose all its weights; `Masks.empty_layers` names those that did.
    settings
        Settings of the algorithm.

    Returns
    -------
    Masks
        On the CPU, with the algorithm, its settings, the seed and the sparsity asked for.

    Raises
    ------
    InputError
        When the name, a setting or a pattern is unknown, the sparsity impossible, data missing or unfit, a score
        not a number, or a layer emptied where that is not allowed.

    Examples
    --------
    >>> import topo
    >>> net = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 4))
    >>> masks = topo.prune(net, "erk", sparsity=0.75)
    >>> masks.counts()[["name", "kept", "total"]].values.tolist()
    [['0.weight', 32, 160], ['2.weight', 28, 80]]
    """
    algorithm = PRUNERS[name]
    check_settings(algorithm, settings, f"pruner {name!r}")
    with open_task(model, name, sparsity, data, seed, device, include, exclude, recipe) as task:
        found = algorithm(task, **settings)
        if isinstance(found, SparseTrainingCallback):
            found = task.train(Masks(found.masks), callbacks=[found]).masks
            task.keep_state = True
        masks = Masks(
            found,
            algorithm=name,
            settings=_all_settings(algorithm, settings, include, exclude),
            seed=seed,
            sparsity=float(sparsity),
        )
        if task.keep_state:
            masks.state = {key: value.detach().cpu().clone() for key, value in task.model.state_dict().items()}
    empty = masks.empty_layers()
    if empty and not allow_empty_layers:
        raise InputError(
            f"pruner {name!r} at sparsity {sparsity} leaves no weight in {', '.join(empty)}; "
            "lower the sparsity, exclude these layers or allow empty layers."
        )
    return masks


def score(
    model: nn.Module,
    name: str,
    *,
    data: Any = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    **settings: Any,
) -> dict[str, Tensor]:
    """The scores of the dense model's weights, the largest of which a score-based algorithm keeps.

    Arguments are those of `prune`.

    Returns
    -------
    dict
        Parameter name -> tensor of the parameter's shape, on the CPU. With a structured algorithm every weight has
        the score of the unit that it writes, infinity where it writes none that could go.

    Examples
    --------
    >>> import topo
    >>> net = nn.Linear(2, 1)
    >>> bool((topo.pruning.score(net, "magnitude")["weight"] == net.weight.abs()).all())
    True
    """
    scores_of = getattr(PRUNERS[name], "score", None)
    if scores_of is None:
        known = ", ".join(n for n in PRUNERS if hasattr(PRUNERS[n], "score"))
        raise InputError(f"pruner {name!r} does not score weights; those that do: {known}.")
    check_settings(scores_of, settings, f"the score of pruner {name!r}")
    with open_task(model, name, 0.0, data, seed, device, include, exclude) as task:
        return {key: value.detach().cpu() for key, value in scores_of(task, **settings).items()}


def sparse_training_callback(
    model: nn.Module,
    name: str,
    *,
    sparsity: float,
    data: Any = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    **settings: Any,
) -> SparseTrainingCallback:
    """The callback with which an algorithm of stage ``"training"`` changes the masks while the model is trained.

    Arguments are those of `prune`. Hand its `masks` and itself to `topo.training.train`; `Training.masks` are then
    the masks it ends with.

    Examples
    --------
    >>> import topo
    >>> from topo.training import recipe, train
    >>> data = topo.datasets.load("digits", subset=20)
    >>> net = topo.models.build("digits-mlp", input_shape=(1, 8, 8))
    >>> rigl = topo.pruning.sparse_training_callback(net, "rigl", sparsity=0.9)
    >>> run = train(net, data, recipe("digits", epochs=2), masks=rigl.masks, callbacks=[rigl], device="cpu")
    >>> round(run.masks.sparsity, 2)
    0.9
    """
    algorithm = PRUNERS[name]
    if PRUNERS.entry(name).info.get("stage") != "training":
        known = ", ".join(n for n in PRUNERS if PRUNERS.entry(n).info.get("stage") == "training")
        raise InputError(f"pruner {name!r} does not work during training; those that do: {known}.")
    check_settings(algorithm, settings, f"pruner {name!r}")
    with open_task(model, name, sparsity, data, seed, device, include, exclude) as task:
        found = algorithm(task, **settings)
    found.masks = Masks(
        found.masks,
        algorithm=name,
        settings=_all_settings(algorithm, settings, include, exclude),
        seed=seed,
        sparsity=float(sparsity),
    )
    return found


def _all_settings(algorithm: Any, settings: dict[str, Any], include: Any, exclude: Any) -> dict[str, Any]:
    defaults = {p.name: p.default for p in inspect.signature(algorithm).parameters.values() if p.kind is p.KEYWORD_ONLY}
    patterns = {
        key: [value] if isinstance(value, str) else list(value)
        for key, value in (("include", include), ("exclude", exclude))
        if value is not None
    }
    return {**defaults, **settings, **patterns}
