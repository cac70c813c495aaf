"""The task of a call of a pruner: its arguments checked, the model traced and copied, chance seeded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..dag import Dag, trace
from ..dag.example import Example, example_arguments
from ..dag.prunable import prunable_weights
from ..dag.tracing import module_of
from ..device import resolve_device
from ..errors import InputError, counted
from ..mask_provenance import SPARSITY_OF
from ..masks import prunable_parameters
from ..parameter_names import copied, masks_within, named_parameters
from ..randomness import own_randomness
from ..training import Recipe
from ..training import recipe as find_recipe
from ..training.losses import LOSSES, AskedLoss
from ..training.memory_format import leave_channels_last
from ..validation import one_of, real_number, whole_number
from .needs import NotGiven
from .registry import PRUNERS
from .samples import Samples
from .task import Task

__all__ = ["open_task"]


@contextmanager
def open_task(
    model: nn.Module,
    name: str,
    *,
    sparsity: float,
    data: Any,
    example: Example | None,
    seed: int,
    device: str | torch.device,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    sparsity_of: str = "included",
    recipe: Recipe | str | None = None,
    loss: AskedLoss = None,
) -> Iterator[Task]:
    """The `Task` of a call of `topo.pruning.prune`, whose arguments it checks; it is good within the `with` block.

    Meanwhile gradients are on and exact, and random choices follow the seed; afterwards the global random states are
    those of before.

    Parameters
    ----------
    model
        Network to prune; it is copied, and stays as it is.
    name
        Name of the pruner.
    sparsity
        Share of the weights that go, from 0 to below 1.
    data, example, seed, device, include, exclude, sparsity_of, recipe, loss
        As for `topo.pruning.prune`.

    Yields
    ------
    Task
        The copy and what the pruner may ask of it.

    Raises
    ------
    InputError
        When an argument is out of range, data are missing that the pruner needs, or nothing would be kept.
    """
    sparsity, seed = real_number("sparsity", sparsity, minimum=0, below=1), whole_number("seed", seed)
    if data is None and PRUNERS.entry(name).info.get("needs_data"):
        raise NotGiven(name, "data")
    if data is None and example is None and PRUNERS.entry(name).info.get("needs_example"):
        raise NotGiven(name, "example")
    plan = None if recipe is None else find_recipe(recipe) if loss is None else find_recipe(recipe, loss=loss)
    if isinstance(loss, str):
        LOSSES.entry(loss)
    target = resolve_device(device)
    generator = torch.Generator().manual_seed(seed)
    samples = None if data is None else Samples(data, generator)
    shown = example if samples is None or example is not None else _example_of(samples, model)
    dag = _traced(model, shown)
    names = prunable_parameters(dag or model, include, exclude, example=shown)
    total = sum(weight.numel() for weight in names.values())
    prunable = _prunable(dag or model, shown, names) if include is not None or exclude is not None else names
    one_of("sparsity_of", sparsity_of, SPARSITY_OF)
    is_structured = PRUNERS.entry(name).family == "structured"
    of = prunable if sparsity_of == "all" else names
    kept = _kept(sparsity, total, sum(weight.numel() for weight in of.values()), is_structured)
    within = {name: mask for name, mask in masks_within(model).items() if name in names}
    unpruned = total - sum(int((~mask).sum()) for mask in within.values())
    kept = kept if sparsity else unpruned
    if unpruned < kept:
        raise InputError(
            f"the masks within the model keep {unpruned} of its {counted(total, 'weight')}, and sparsity {sparsity} "
            f"asks for {kept}; ask for more sparsity than they have."
        )
    # Attention's fused kernels have no second derivative, which some algorithms need.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with (
        own_randomness(seed, target),
        torch.inference_mode(False),
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
        exact if target.type == "cuda" else nullcontext(),
    ):
        copy = _working_copy(model, target, PRUNERS.entry(name).info["stage"] == "initial")
        parameters = named_parameters(copy)
        weights = {key: parameters[key] for key in names}
        with torch.no_grad():
            for key, mask in within.items():
                weights[key].masked_fill_(~mask.to(target), 0.0)
        for weight in weights.values():
            weight.requires_grad_(True)
        positional, named = ((), {}) if example is None else example_arguments(example, copy, verb="topo.prune")
        yield Task(
            copy,
            weights,
            kept,
            samples,
            generator,
            target,
            name=name,
            data=data,
            recipe=plan,
            asked_loss=loss if plan is None else plan.loss,
            seed=seed,
            # Of what is counted; where that is more than single weights are removed from, the share of these that goes.
            sparsity=sparsity if is_structured or sparsity_of == "included" else 1 - kept / total,
            sparsity_of=sparsity_of,
            counted=tuple(of),
            prunable=sum(weight.numel() for weight in prunable.values()),
            given_example=named or positional or None,
            frozen=[parameters[name] for name, p in named_parameters(model).items() if not p.requires_grad],
            within=within,
            dag=None if dag is None else dag.bind(copy),
        )


def _prunable(
    model: nn.Module | Dag, example: Example | None, selected: dict[str, nn.Parameter]
) -> dict[str, nn.Parameter]:
    """What would be pruned without patterns, and what these select beside."""
    parameters = named_parameters(module_of(model, "topo.prune"))
    by_default = prunable_weights(model, example).names
    return {name: parameters[name] for name in dict.fromkeys([*by_default, *selected])}


def _kept(sparsity: float, total: int, n_counted: int, is_structured: bool) -> int:
    """How many of `total` weights stay so that a share of those counted, `n_counted`, which hold them, goes."""
    left = round((1 - sparsity) * n_counted)
    if left == 0:
        of_all = "the one weight" if n_counted == 1 else f"the {counted(n_counted, 'weight')}"
        raise InputError(f"sparsity {sparsity} leaves none of {of_all}; lower it.")
    kept = left - (n_counted - total)
    if kept <= 0 and not is_structured:
        closed = f"{n_counted - total} {'is' if n_counted - total == 1 else 'are'}"
        raise InputError(
            f"sparsity {sparsity} of all weights leaves {left} of {n_counted}, and {closed} not open to "
            f"pruning; lower it below {total / n_counted:.4g}, let the patterns leave more open, or give "
            'sparsity_of="included".'
        )
    return max(kept, 1)


def _example_of(samples: Samples, model: nn.Module) -> Any:
    """Arguments of the model for one sample of the data, as `topo.trace` takes them; None where none can be seen.

    Data are not used up by it, and the random numbers that they are drawn by stay as they are.
    """
    inputs = samples.glimpse()
    if inputs is None:
        return None
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    inputs = pytree.tree_map_only(Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, inputs)
    return (inputs,) if isinstance(inputs, Tensor) else inputs


def _traced(model: nn.Module, example: Example | None) -> Dag | None:
    """The traced model; None without an example, and where tracing fails, which whoever needs it will say."""
    if example is None:
        return None
    try:
        return trace(model, example)
    except InputError:
        return None


def _working_copy(model: nn.Module, device: torch.device, batch_statistics: bool) -> nn.Module:
    copy = copied(model).to(device).eval().requires_grad_(False)
    leave_channels_last(copy)
    for module in copy.modules():
        if batch_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return copy
