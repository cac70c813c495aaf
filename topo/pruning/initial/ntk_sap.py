"""NTK-SAP: tangent-kernel-spectrum aware pruning (Wang, Li and Sun, ICLR 2023, arXiv 2304.02840)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...training.predictions import tensors_of
from ...validation import real_number, whole_number
from ..input_statistics import fan_ins
from ..linearized_model import whole_numbers
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score, in_double

__all__ = ["ntk_sap"]


@PRUNERS.register(
    "ntk-sap", family="initial", stage="initial", paper="Wang et al. 2023", needs_data=False, needs_example=True
)
@by_score(allocation="global", rounds=20)
def ntk_sap(task: Task, *, draws: int = 5, batch_size: int = 100, perturbation: float = 0.01) -> dict[str, Tensor]:
    """Influence of a weight on the trace of the tangent kernel, over random weights and random inputs.

    The score is |d/dm sum ||f(x; theta * m) - f(x; (theta + delta) * m)||^2|: for a small normal delta the expected
    distance is, but for a factor, the squared norm of the Jacobian by the kept weights, and with it the trace of the
    kernel. The mask stands in both networks. Theta are not the weights of the model: each draw takes new ones, normal
    with variance 2 / inputs of an output (He et al. 2015), new inputs, standard normal, and a new delta; biases, norms
    and what is not scored stay as they are. Batch norms take the statistics of theta * m on these inputs, as constants,
    in both networks. The gradients of all draws are summed before the absolute value is taken. Inputs that are whole
    numbers, such as tokens, are those of the data, or else of the example. Given the same draws the authors' code has
    the same scores. Everything is done in float64: which weights go depends on which went, so that differences of
    rounding grow from round to round.

    Parameters
    ----------
    draws
        How many random networks are looked at in each round, from 1 up.
    batch_size
        How many random inputs each of them sees, from 1 up.
    perturbation
        Standard deviation of delta, above 0.
    """
    draws = whole_number("draws", draws, minimum=1)
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    perturbation = real_number("perturbation", perturbation, above=0)
    in_double(task)
    known = {**task.within, **task.cleared}
    masks = {
        name: (known[name].to(weight) if name in known else torch.ones_like(weight)).requires_grad_()
        for name, weight in task.weights.items()
    }
    # Of a row that is pruned whole a weight norm keeps the direction, and scales it by zero.
    held = {name: weight.detach() * (masks[name].detach() == 0) for name, weight in task.weights.items()}

    def outputs(theta: Mapping[str, Tensor], inputs: Any) -> list[Tensor]:
        pruned = {name: theta[name] * mask + held[name] for name, mask in masks.items()}
        return tensors_of(task.with_tensors(pruned).forward(inputs))

    norms = [module for module in task.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    gradients = [torch.zeros_like(mask) for mask in masks.values()]
    form = _form(task, batch_size)
    spreads = {name: (2 / count).sqrt() for name, count in fan_ins(task).items()}
    for _ in range(draws):
        inputs, theta, delta = _drawn(task, form, spreads)
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        with torch.no_grad():
            outputs(theta, inputs)
        for norm in norms:
            norm.eval()
        moved = {name: theta[name] + perturbation * delta[name] for name in theta}
        pairs = zip(outputs(theta, inputs), outputs(moved, inputs), strict=True)
        distance = torch.stack([(first - second).square().sum() for first, second in pairs]).sum()
        of_draw = torch.autograd.grad(distance, list(masks.values()), allow_unused=True)
        gradients = [a + b for a, b in zip(gradients, task.by_name(of_draw).values(), strict=True)]
    return {name: gradient.abs() for name, gradient in zip(masks, gradients, strict=True)}


def _form(task: Task, batch_size: int) -> Any:
    """Inputs whose floating-point numbers do not matter; whole numbers are the data's, or the example's."""
    example = task.example
    if whole_numbers(example) and task.given_samples is not None:
        return task.on_device(task.samples.batch(batch_size)[0])
    return pytree.tree_map_only(Tensor, lambda t: t[:1].expand(batch_size, *t.shape[1:]), example)


def _drawn(task: Task, form: Any, spreads: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """Random inputs of a form, weights, and directions in which to move these."""
    numbers = [t for t in pytree.tree_leaves(form) if isinstance(t, Tensor) and t.is_floating_point()]
    shapes = [t.shape for t in (*numbers, *task.weights.values(), *task.weights.values())]
    sizes = [shape.numel() for shape in shapes]
    # One copy to the device brings them all.
    normal = torch.randn(sum(sizes), generator=task.generator, dtype=torch.float64).to(task.device)
    parts = (part.view(shape) for part, shape in zip(normal.split(sizes), shapes, strict=True))
    inputs = pytree.tree_map_only(Tensor, lambda t: next(parts) if t.is_floating_point() else t, form)
    drawn = {name: next(parts) for name in task.weights}
    # Vectors, such as biases, are the model's own.
    theta = {
        name: drawn[name] * spreads[name] if weight.ndim > 1 else weight.detach()
        for name, weight in task.weights.items()
    }
    return inputs, theta, dict(zip(theta, parts, strict=True))
