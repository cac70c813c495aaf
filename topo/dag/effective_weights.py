"""What multiplies the activations, where it is computed from a weight: its size at each element of the weight."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .dag import Dag
from .derived_weights import carried_elements, is_view
from .weight_table import parameter_uses

__all__ = ["computed_magnitudes"]


def computed_magnitudes(dag: Dag, names: Iterable[str]) -> dict[str, Tensor]:
    """The largest absolute value that is computed from each element of weights, where more than moves is done to them.

    Parameters
    ----------
    dag
        The network, which reads the tensors of the model as they are now.
    names
        Names of parameters.

    Returns
    -------
    dict
        Name of a parameter whose weights are computed -> absolute values in its shape; of no others.

    Examples
    --------
    >>> import topo
    >>> from torch import nn
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    >>> magnitudes = computed_magnitudes(topo.trace(layer, (4,)), ["weight"])
    >>> bool(torch.allclose(magnitudes["weight"], layer.weight.abs()))
    True
    """
    found: dict[str, Tensor] = {}
    values = dag.values()
    for name in names:
        computed = {use.value for use in parameter_uses(dag).get(name, ()) if use.role == "weight"} - {name}
        shape = dag.state[name].shape if name in dag.state else ()
        if all(is_view(dag, value) for value in computed):
            continue
        for value in sorted(computed):
            index = carried_elements(dag, value, name)
            if index is None:
                continue
            with torch.no_grad():
                size = values[value].detach().abs().nan_to_num().reshape(-1)
            total = found.setdefault(name, torch.zeros(shape, dtype=size.dtype, device=size.device))
            places = index.reshape(-1).to(size.device)
            total.view(-1).scatter_reduce_(0, places[places >= 0], size[places >= 0], "amax")
    return found
