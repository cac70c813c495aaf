"""The calls `topo.prune(...)`, `topo.pruning.score(...)` and `topo.pruning.sparse_training_callback(...)`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ..dag.dag import Dag
from ..dag.example import Example
from ..dag.operators.probing import rules_alone
from ..dag.structure import is_connected
from ..dag.tracing import module_of
from ..dag.undefined_weights import warn_of_undefined_weights
from ..errors import InputError, failures_named, warn
from ..masks import Masks
from ..parameter_names import named_parameters
from ..training import Recipe
from ..training.losses import AskedLoss, loss_name
from ..validation import check_settings
from .masks_within import kept_within
from .needs import NotGiven, needs_of
from .opening import open_task
from .registry import PRUNERS, settings_of
from .results import checked_masks, checked_tensors
from .sparse_training import SparseTrainingCallback
from .task import Task
from .weight_scoring import WeightScoring

__all__ = ["Task", "prune", "score", "sparse_training_callback"]


def prune(
    model: nn.Module | Dag,
    name: str,
    *,
    sparsity: float,
    data: Any = None,
    example: Example | None = None,
    recipe: Recipe | str | None = None,
    loss: AskedLoss = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    sparsity_of: str = "included",
    allow_empty_layers: bool = True,
    **settings: Any,
) -> Masks:
    """Find which weights of a model to keep; the model itself is not changed.

    Parameters
    ----------
    model
        Any module, or one as `topo.trace` has traced it; only a copy is worked on.
    name
        An algorithm of `PRUNERS`.
    sparsity
        Share of the weights to remove, from 0 up to but not including 1, the same for all algorithms: of the weights
        that may be pruned, see `sparsity_of`. Exactly ``round((1 - sparsity) * total)`` of them are kept; structured
        algorithms remove the worst units until it is reached, and nothing that they removed could stay within it.
    data
        For the algorithms that look at data or train: (inputs, targets) of tensors or NumPy arrays, where inputs are
        one, a tuple of them or a dict of them by argument name; a dataset of `topo.datasets`; a map-style
        ``torch.utils.data.Dataset`` or a list of such pairs of one sample; or a ``DataLoader`` or list of batches.
    example
        An example of the model's input, for the algorithms that trace the network: a tensor, a tuple or a dict of
        tensors with samples along their first axis, or the shape of one sample such as ``(3, 32, 32)``; made from
        `data` unless given.
    recipe
        How algorithms that train do it, a `topo.training.Recipe` or its name.
    loss
        What algorithms minimise or take gradients of: a name of `topo.training.LOSSES`, or a function of outputs and
        targets that returns their mean loss. Unless given that of the recipe, and without one that of the targets:
        cross-entropy for whole numbers, mse for numbers, bce-with-logits for bools; targets that may be several are
        refused.
    seed
        Seed of every random choice; the global random states stay as they were.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    include, exclude
        Patterns on parameter names, see `topo.masks.prunable_parameters`.
    sparsity_of
        What `sparsity` is a share of where there are patterns: ``"included"``, the weights that they leave open to
        pruning, as papers count that keep the first or the last layer dense; or ``"all"`` weights that are prunable
        without them, so that the included ones are pruned the more. Structured algorithms count in the same way where
        their budget are weights; parameters and multiply-accumulates are always those of the whole network.
        `Masks.reached` gives what was reached of either.
    allow_empty_layers
        Whether a layer may lose all its weights; `Masks.empty_layers` names those that did.
    settings
        Settings of the algorithm, see `topo.pruning.settings_of`.

    Returns
    -------
    Masks
        On the CPU, with the algorithm, its settings, the seed and the sparsity asked for.

    Raises
    ------
    InputError
        When the name, a setting or a pattern is unknown, the sparsity impossible, data or an example missing or unfit,
        a score not a number, a layer emptied where that is not allowed, or what an algorithm returns is no masks.

    Warns
    -----
    UserWarning
        Where the model itself computes NaN with the masks in force, as of a row pruned whole and divided by its norm,
        and where no kept weight connects an input to an output, so that the output is the same for all inputs
        (`Masks.connected`); both as far as data or an example of the input let it see. Where a structured algorithm
        leaves less than nine tenths of what may stay, since what it could keep beside comes in large pieces only.

    Examples
    --------
    >>> import topo
    >>> net = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 4))
    >>> masks = topo.prune(net, "erk", sparsity=0.75)
    >>> masks.counts()[["name", "kept", "total"]].values.tolist()
    [['0.weight', 32, 160], ['2.weight', 28, 80]]
    """
    example = _example_of(model, example)
    model = module_of(model, f"pruner {name!r}", values=True)
    algorithm = PRUNERS[name]
    check_settings(algorithm, settings, f"pruner {name!r}", caller=prune)
    # One that trains before it has masks may have settings with which it does not: then it asks by itself.
    trains = PRUNERS.entry(name).info.get("stage") == "training"
    if needs_of(name) == "recipe" and (data is None or (trains and recipe is None)):
        raise NotGiven(name, "recipe")
    with open_task(
        model,
        name,
        sparsity=sparsity,
        data=data,
        example=example,
        seed=seed,
        device=device,
        include=include,
        exclude=exclude,
        sparsity_of=sparsity_of,
        recipe=recipe,
        loss=loss,
    ) as task:
        with _failures_named(name):
            result: Any = algorithm(task, **settings)
        if isinstance(result, SparseTrainingCallback):
            start = checked_masks(result.masks, name, task.weights, named_parameters(model))
            start = kept_within(start, task.within, result.exact, task.generator)
            result = task.train(Masks(start), callbacks=[result]).masks
            task.keep_state = True
        found = checked_masks(result, name, task.weights, named_parameters(model))
        exact = PRUNERS.entry(name).family != "structured"
        masks = Masks(
            kept_within(found, task.within, exact, task.generator),
            algorithm=name,
            settings=_all_settings(name, settings, include, exclude, loss),
            seed=seed,
            sparsity=float(sparsity),
            **task.share(found),
        )
        if task.dag is not None:
            dag = task.dag.bind(model)
            warn_of_undefined_weights(dag, masks)
            _warn_of_disconnection(dag, masks)
        masks.record = task.record
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
    model: nn.Module | Dag,
    name: str,
    *,
    data: Any = None,
    example: Example | None = None,
    loss: AskedLoss = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    **settings: Any,
) -> dict[str, Tensor]:
    """The scores of the dense model's weights, the largest of which a score-based algorithm keeps.

    Parameters
    ----------
    model, name, data, example, loss, seed, device, include, exclude
        As in `prune`.
    settings
        Settings of the algorithm's score.

    Returns
    -------
    dict
        Parameter name -> tensor of the parameter's shape, on the CPU. With a structured algorithm every weight has
        the score of the unit that it writes, infinity where it writes none that could go.

    Raises
    ------
    InputError
        As `prune`, and when the algorithm does not score weights.

    Examples
    --------
    >>> import topo
    >>> net = nn.Linear(2, 1)
    >>> bool((topo.pruning.score(net, "magnitude")["weight"] == net.weight.abs()).all())
    True
    """
    example = _example_of(model, example)
    model = module_of(model, f"pruner {name!r}", values=True)
    scores_of = getattr(PRUNERS[name], "score", None)
    if scores_of is None:
        known = ", ".join(n for n in PRUNERS if hasattr(PRUNERS[n], "score"))
        raise InputError(f"pruner {name!r} does not score weights; those that do: {known}.")
    check_settings(scores_of, settings, f"the score of pruner {name!r}", caller=score)
    with open_task(
        model,
        name,
        sparsity=0.0,
        data=data,
        example=example,
        loss=loss,
        seed=seed,
        device=device,
        include=include,
        exclude=exclude,
    ) as task:
        # A structured algorithm scores what it could remove, whatever the patterns.
        required = task.weights if isinstance(PRUNERS[name], WeightScoring) else {}
        others = named_parameters(task.model)
        with _failures_named(name):
            scored = scores_of(task, **settings)
        scores = checked_tensors(scored, "score", name, required, others)
        return {key: value.detach().cpu() for key, value in scores.items()}


def sparse_training_callback(
    model: nn.Module | Dag,
    name: str,
    *,
    sparsity: float,
    data: Any = None,
    example: Example | None = None,
    loss: AskedLoss = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    sparsity_of: str = "included",
    **settings: Any,
) -> SparseTrainingCallback:
    """The callback with which an algorithm of stage ``"training"`` changes the masks while the model is trained.

    Hand its `masks` and itself to `topo.training.train`; `Training.masks` are then the masks it ends with.

    Parameters
    ----------
    model, name, sparsity, data, example, loss, seed, device, include, exclude, sparsity_of, settings
        As in `prune`.

    Returns
    -------
    SparseTrainingCallback
        Its `masks` are those in force from the first step.

    Raises
    ------
    InputError
        As `prune`, and when the algorithm does not work during training.

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
    example = _example_of(model, example)
    model = module_of(model, f"pruner {name!r}", values=True)
    algorithm = PRUNERS[name]
    if PRUNERS.entry(name).info["stage"] != "training":
        known = ", ".join(n for n in PRUNERS if PRUNERS.entry(n).info["stage"] == "training")
        raise InputError(f"pruner {name!r} does not work during training; those that do: {known}.")
    check_settings(algorithm, settings, f"pruner {name!r}", caller=sparse_training_callback)
    with open_task(
        model,
        name,
        sparsity=sparsity,
        data=data,
        example=example,
        loss=loss,
        seed=seed,
        device=device,
        include=include,
        exclude=exclude,
        sparsity_of=sparsity_of,
    ) as task:
        with _failures_named(name):
            callback: Any = algorithm(task, **settings)
        if not isinstance(callback, SparseTrainingCallback):
            raise InputError(
                f"pruner {name!r} is of stage 'training' and must return a topo.pruning.SparseTrainingCallback, not a "
                f"{type(callback).__name__}."
            )
        start = checked_masks(callback.masks, name, task.weights, named_parameters(model))
        start = kept_within(start, task.within, callback.exact, task.generator)
        share = task.share(start)
    callback.masks = Masks(
        start,
        algorithm=name,
        settings=_all_settings(name, settings, include, exclude, loss),
        seed=seed,
        sparsity=float(sparsity),
        **share,
    )
    return callback


def _failures_named(name: str) -> AbstractContextManager[None]:
    """Say of an exception that it arose in the pruner's code; a lack of memory is none of its failures."""
    return failures_named(f"pruner {name!r}", torch.OutOfMemoryError)


def _warn_of_disconnection(dag: Dag, masks: Masks) -> None:
    # Of an operation whose elements are not known nothing is said, and a call that only prunes probes none.
    with suppress(InputError), rules_alone():
        if not is_connected(dag, masks):
            warn(
                f"the masks of {masks.algorithm!r} at sparsity {masks.asked_sparsity:g} connect no input to an output, "
                "so that the output is the same for all inputs; lower the sparsity, exclude the layers that empty, or "
                "choose another allocation or pruner.",
            )


def _example_of(model: nn.Module | Dag, example: Example | None) -> Example | None:
    """The example given, or else the one that a traced network was traced with."""
    return model.example if example is None and isinstance(model, Dag) else example


def _all_settings(
    name: str,
    settings: dict[str, Any],
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    loss: AskedLoss,
) -> dict[str, Any]:
    """The settings of a call with the defaults of all others, and its patterns and the loss that it names."""
    patterns = {
        key: [value] if isinstance(value, str) else list(value)
        for key, value in (("include", include), ("exclude", exclude))
        if value is not None
    }
    named = {} if loss is None else {"loss": loss_name(loss)}
    return {**{setting.name: setting.default for setting in settings_of(name)}, **settings, **patterns, **named}
