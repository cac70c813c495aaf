"""What enters the layers of any model: second moments of the inputs that a weight is multiplied by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..dag.weight_table import parameter_uses
from ..datasets.inputs import Batch
from ..errors import InputError
from ..module_modes import evaluation_mode
from .samples import chunks
from .task import Task
from .weight_rows import Rows, covers, uses_of_elements
from .weight_uses import Use, WeightUses, separate_operations

__all__ = ["fan_ins", "find_rows", "gram", "rows_of_weights", "squares", "visit_layers"]


def gram(inputs: Tensor) -> Tensor:
    """X^T X of inputs X (groups, count, columns), in float64.

    Parameters
    ----------
    inputs
        (groups, count, columns).

    Returns
    -------
    Tensor
        (groups, columns, columns).
    """
    return (inputs.mT @ inputs).double()


def squares(inputs: Tensor) -> Tensor:
    """Squared norms of the columns of inputs X (groups, count, columns), in float64.

    Parameters
    ----------
    inputs
        (groups, count, columns).

    Returns
    -------
    Tensor
        (groups, columns).
    """
    return inputs.square().sum(1).double()


def visit_layers(
    task: Task,
    samples: Batch,
    visit: Callable[[str, Mapping[Rows, Tensor]], None],
    *,
    statistic: Callable[[Tensor], Tensor] = gram,
    sequential: bool = True,
    batch_size: int = 64,
) -> None:
    """Call ``visit(name, {rows: statistic of their inputs})`` for every weight, in the order in which layers run.

    Linear, bilinear, convolutional and recurrent layers count, products with a weight of any number of axes, as of
    experts, and tables of embeddings, wherever they are: what a weight is multiplied by is read off the operations that
    run, so that attention, which uses its weights without calling modules, is seen too, and so are weights that are
    stored transposed, moved, or computed from a parameter, as by weight normalisation. Inputs of convolutions are
    unfolded: a row of X is what one output position sees of one sample, so that the outputs are X W^T; a table of
    embeddings is multiplied by vectors that are 1 at a token and 0 elsewhere.

    Parameters
    ----------
    task
        The model and its weights.
    samples
        Inputs and targets; the targets do not matter.
    visit
        Called with the name of a weight, and a mapping from the `Rows` of it that read the same inputs to the statistic
        of these inputs.
    statistic
        Of a matrix of inputs (groups, count, columns); it is summed over all samples and all uses of the weight.
    sequential
        All samples go through the network together, and a weight is visited before it is used: what `visit` changes
        shapes the inputs of all later layers. A weight that is used several times, as at each step of a recurrent
        layer, is visited before its last use. Otherwise the samples go through in batches, and all weights are visited
        at the end.
    batch_size
        Samples of a batch where they do not go together.

    Raises
    ------
    InputError
        When a weight multiplies no input, or some of its elements none or several.
    """
    uses: Counter[str] = Counter()
    _run(task, next(chunks(samples, 2)), lambda rows, inputs: uses.update([rows.name]))
    seen: Counter[str] = Counter()
    sums: dict[str, dict[Rows, Tensor]] = {}
    visited = set()

    def finish(name: str) -> None:
        _check(name, task.weights[name], sums[name])
        visited.add(name)
        visit(name, sums.pop(name))

    def add(rows: Rows, inputs: Iterator[Tensor]) -> None:
        if rows.name in visited:
            return
        of_weight = sums.setdefault(rows.name, {})
        for part in inputs:
            part = part if part.dtype == torch.float64 else part.float()
            of_weight[rows] = of_weight.get(rows, 0.0) + statistic(part)
        seen[rows.name] += 1
        if sequential and seen[rows.name] == uses[rows.name]:
            finish(rows.name)

    for batch in [samples] if sequential else chunks(samples, batch_size):
        _run(task, batch, add)
    unused = [name for name in task.weights if name not in visited and name not in sums]
    if unused:
        raise InputError(
            f"no layer multiplies its inputs by {', '.join(unused[:5])}, "
            f"which pruner {task.name!r} needs; exclude such weights."
        )
    for name in list(sums):
        finish(name)


def rows_of_weights(task: Task, samples: Batch) -> dict[str, list[Rows]]:
    """The rows of every weight that read the same inputs, in the order in which they are used.

    Parameters
    ----------
    task
        The model and its weights.
    samples
        Inputs and targets; two of them are looked at.

    Returns
    -------
    dict
        Name -> rows, for weights that are used.
    """
    found: dict[str, dict[Rows, None]] = {}
    with evaluation_mode(task.model):  # batch norms in training refuse one sample
        _run(task, next(chunks(samples, 2)), lambda rows, inputs: found.setdefault(rows.name, {}).update({rows: None}))
    return {name: list(rows) for name, rows in found.items()}


def find_rows(task: Task) -> None:
    """Note in `Task.rows` the rows by output of the weights, where data or an example let see how these are used.

    Parameters
    ----------
    task
        The model and its weights; rows that are known already stay.
    """
    inputs: Any = task.given_example
    if inputs is None and task.given_samples is not None:
        inputs = task.given_samples.glimpse()
    if inputs is None or task.rows:
        return
    samples = inputs, torch.zeros(len(pytree.tree_leaves(inputs)[0]))
    for name, rows in rows_of_weights(task, samples).items():
        if covers(task.weights[name], rows):
            task.rows[name] = rows


def fan_ins(task: Task) -> dict[str, Tensor]:
    """With how many weights of its row each weight is summed, which random weights are scaled by (He et al. 2015).

    Parameters
    ----------
    task
        The model and its weights. Where neither data nor an example let see how one is used, and for tables of
        embeddings, its first axis runs over the rows.

    Returns
    -------
    dict
        Name -> float64 in the weight's shape, on its device.

    Examples
    --------
    >>> import topo
    >>> from topo.pruning.opening import open_task
    >>> call = {"sparsity": 0.5, "data": None, "seed": 0, "device": "cpu", "include": None, "exclude": None}
    >>> layer = torch.nn.ConvTranspose2d(6, 4, 3, groups=2)  # each output reads three inputs at nine places
    >>> with open_task(layer, "uniform", example=(6, 5, 5), **call) as task:
    ...     fan_ins(task)["weight"].unique()
    tensor([27.], dtype=torch.float64)
    """
    find_rows(task)
    uses = {} if task.dag is None else parameter_uses(task.dag)
    found = {}
    for name, weight in task.weights.items():
        first = prod(weight.shape[1:]) if weight.ndim > 1 else 1
        found[name] = torch.full(weight.shape, float(max(1, first)), dtype=torch.float64, device=weight.device)
        if not any(use.role == "embedding" for use in uses.get(name, ())):
            for rows in task.rows.get(name, ()):
                rows.write(found[name], found[name].new_full(rows.shape, float(prod(rows.shape[2:]))))
    return found


def _run(task: Task, batch: Batch, on_use: Use) -> None:
    with torch.no_grad(), separate_operations(task.model), WeightUses(task.model, task.weights, on_use):
        task.forward(batch[0])


def _check(name: str, weight: Tensor, used: Iterable[Rows]) -> None:
    """The rows must be the whole weight, each element once."""
    uses = uses_of_elements(weight, list(used))
    if not (uses == 1).all():
        missing, several = (uses == 0).any(), (uses > 1).any()
        how = " and ".join(["only in part"] * bool(missing) + ["in different ways, as by a tied layer"] * bool(several))
        raise InputError(f"{name} is used {how}, so that its elements have no one input; exclude it.")
