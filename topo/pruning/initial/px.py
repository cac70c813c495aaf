"""PX: path exclusion (Iurada, Ciccone and Tommasi, CVPR 2024, arXiv 2406.01820)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ...dag.operators import Composer, operator_called
from ...parameter_names import copied, named_parameters
from ...training.predictions import tensors_of
from ...validation import whole_number
from ..linearized_model import LinearizedOperations, linearize_parameters, ones_for, whole_numbers
from ..registry import PRUNERS
from ..task import Task
from ..weight_scoring import by_score, in_double

__all__ = ["px"]


@PRUNERS.register("px", family="initial", stage="initial", paper="Iurada et al. 2024", needs_data=True)
@by_score(allocation="global", rounds=100)
def px(task: Task, *, batch_size: int = 128) -> dict[str, Tensor]:
    """Share of a weight in the squared products along paths, outputs weighed by the paths that data open.

    In terms of paths the trace of the tangent kernel is at most a product of two factors, one of data and one of
    weights. Two networks without biases stand for them. In g every kept weight is 1, inputs are squared, and an
    activation multiplies by its squared slope on the data, which of a ReLU is 1 or 0, so that g sums the squared inputs
    over the open paths. In h weights are squared, inputs are 1 and activations pass all, so that h sums the squared
    products along all paths. The score is |theta^2 * dR/dtheta^2|, R = sum over samples and outputs of g * h, g being
    held constant.

    As in the authors' code the last layer, here the last weight of the model, keeps its weights in both networks, so
    that g differs between outputs from the first round on. Without norms, and without a last bias, which that code
    leaves in place, scores are the same. It also leaves batch norms in place, which in h take what passes out again:
    of a ResNet-20 its scores are rounding errors. Here norms only scale, in g by 1 and in h by the square, and slopes
    are those of training, under the statistics of the batch. Operations that are no activations, such as gates and
    attention, are treated as by `synflow`. Everything is done in float64.

    Parameters
    ----------
    batch_size
        About how many samples each round looks at, from 1 up, as many of each class; given batches, one of them is
        used.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    in_double(task)
    inputs = task.on_device(task.samples.batch(batch_size)[0])
    for module in task.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0  # what this looks at leaves no trace in the statistics
    slopes = _Slopes()
    with torch.no_grad(), slopes:
        task.forward(inputs)
    squares = pytree.tree_map_only(
        Tensor, lambda t: t.square().requires_grad_() if t.is_floating_point() else t, inputs
    )
    with _Open(slopes.seen, *whole_numbers(squares)):
        opened = tensors_of(replace(task, model=_network(task, _ones)).forward(squares))
    paths, ones = _network(task, torch.square), ones_for(inputs)
    with LinearizedOperations(*whole_numbers(ones)):
        weighed = tensors_of(replace(task, model=paths).forward(ones))
    total = torch.stack([(g.detach() * h).sum() for g, h in zip(opened, weighed, strict=True)]).sum()
    weights = named_parameters(paths)
    gradients = torch.autograd.grad(total, [weights[name] for name in task.weights], allow_unused=True)
    return {name: task.weights[name].detach().square() * g.abs() for name, g in task.by_name(gradients).items()}


def _ones(values: Tensor) -> Tensor:
    return (values != 0).to(values)


def _network(task: Task, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of the network with changed weights and scales of norms, but for its last weight."""
    own = named_parameters(task.model)
    last = [name for name, parameter in own.items() if parameter.ndim > 1][-1:]
    model = copied(task.model)
    linearize_parameters(model, task.weights)
    with torch.no_grad():
        for name, parameter in named_parameters(model).items():
            parameter.copy_(own[name] if name in last else change(parameter))
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
                # It divides by the root of variance + eps.
                scale = change((module.running_var + module.eps).rsqrt())
                module.running_var.copy_(scale**-2 - module.eps)
    return model


class _Slopes(TorchFunctionMode):
    """Context in which activations note their squared slopes, and whether they change their input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, bool]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        record = operator_called(function)
        if record is not None and record.composition is not None:
            with self:
                results = record.composition(Composer(), *args, **kwargs)
            if results is not NotImplemented:
                return results
        given = _bent(function, args, kwargs)
        if given is None:
            return function(*args, **kwargs)
        others = {name: value for name, value in kwargs.items() if name != "input"}
        with torch.enable_grad():
            point = given.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(function(point.clone(), *args[1:], **others).sum(), point)
        result = function(*args, **kwargs)
        self.seen.append((slope.square(), result is given))
        return result


class _Open(LinearizedOperations):
    """The same with activations that multiply by the slopes noted, in the order in which they are called."""

    def __init__(self, slopes: list[tuple[Tensor, bool]], *tokens: Tensor) -> None:
        super().__init__(*tokens)
        self._slopes: Iterator[tuple[Tensor, bool]] = iter(slopes)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _bent(function, args, kwargs or {})
        if given is None:
            return super().__torch_function__(function, types, args, kwargs)
        slope, in_place = next(self._slopes)
        if not in_place:
            return given * slope
        with torch.no_grad():
            return given.mul_(slope)


def _bent(function: Any, args: Any, kwargs: Any) -> Tensor | None:
    """The input of an activation of floating-point numbers."""
    record = operator_called(function)
    if record is None or not record.activation:
        return None
    given = args[0] if args else kwargs["input"]
    return given if isinstance(given, Tensor) and given.is_floating_point() else None
