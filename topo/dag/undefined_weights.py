"""Weights that masks make no numbers: a row of which nothing is kept and that the model divides by its own norm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import counted, warn
from ..weight_norms import norm_scales
from .dag import Dag
from .derived_weights import is_view, main_parameter
from .weight_table import parameter_uses

__all__ = ["undefined_weights", "warn_of_undefined_weights"]


def undefined_weights(dag: Dag, masks: Mapping[str, Tensor]) -> dict[str, int]:
    """Parameters from which a model itself computes what is no finite number once masks are applied to it.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> bool mask in the parameter's shape.

    Returns
    -------
    dict
        Name of a parameter -> how many elements of a weight computed from it are finite without masks and not with
        them. Those of torch's weight norms, of which `topo.Masks.apply` takes care, are left out.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> class Normalised(nn.Linear):
    ...     def forward(self, x):
    ...         return x @ (self.weight / self.weight.norm(dim=1, keepdim=True)).t()
    >>> mask = torch.tensor([[True, False], [False, False]])
    >>> undefined_weights(topo.trace(Normalised(2, 2), (2,)), {"weight": mask})
    {'weight': 2}
    """
    uses = {use.value for name in masks for use in parameter_uses(dag).get(name, ()) if use.role == "weight"}
    computed = [name for name in dag.constants if name in uses and not is_view(dag, name)]
    if not computed:
        return {}
    cared_for = {} if dag.model is None else norm_scales(dag.model)
    state = dict(dag.state)
    for name, mask in masks.items():
        state[name] = state[name].detach().masked_fill(~mask.to(state[name].device), 0.0)
    found: dict[str, int] = {}
    with torch.no_grad():
        before, after = dag.values(), dag.values(state)
        for name in computed:
            parameter = main_parameter(dag, name)
            if parameter is None or parameter in cared_for:
                continue
            lost = int((before[name].isfinite() & ~after[name].isfinite()).sum())
            if lost:
                found[parameter] = max(lost, found.get(parameter, 0))
    return found


def warn_of_undefined_weights(dag: Dag, masks: Mapping[str, Tensor]) -> None:
    """Warn where masks turn weights that the model computes from its parameters into what is no finite number.

    Parameters
    ----------
    dag
        The network.
    masks
        Parameter name -> bool mask in the parameter's shape.

    Warns
    -----
    UserWarning
        Names the parameters, why, and what to do.
    """
    found = undefined_weights(dag, masks)
    if not found:
        return
    parts = ", ".join(f"{counted(lost, 'weight')} computed from {name!r}" for name, lost in found.items())
    whole = all(_has_whole_rows(masks[name]) for name in found if name in masks)
    why = "rows of it that are pruned whole are divided by their own size, then zero" if whole else "by a division"
    warn(
        f"with these masks in force the model's own code makes {parts} NaN or infinite ({why}), and so its outputs; "
        "graphs and compacted networks count NaN weights as zero; to run the masked model, bound what it divides by "
        "from below, as by .clamp(min=1e-12), or exclude these parameters from pruning.",
    )


def _has_whole_rows(mask: Tensor) -> bool:
    return any(not bool(mask.movedim(axis, 0).flatten(1).any(1).all()) for axis in range(mask.ndim) if mask.ndim > 1)
