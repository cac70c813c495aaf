"""Which parameters of a network are weights, of which layers, which are pruned by default, and why others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pandas as pd
from torch import Tensor, nn

from ..parameter_names import named_parameters
from .additive_graph import AdditiveGraph
from .dag import Dag
from .derived_weights import carried_elements, constants_behind, is_view
from .elements import Step
from .example import Example
from .operators import has_dynamic_weight, operator_of, summed_axes, value_uses
from .parameter_axes import shape_of
from .tracing import module_of, traced

__all__ = ["ParameterUse", "parameter_uses", "pruned_by_default", "summed_products", "weight_names", "weights"]

# Role of a parameter -> why it is not pruned by default, in the order in which one role outdoes another.
ROLES = {
    "weight": "",
    "factor": "the weight is a product of it and another parameter, so zeros of it are no zeros of the weight",
    "computed weight": "its elements are mixed where the weight is computed, so zeros of it are no zeros of the weight",
    "embedding": "a table of embeddings; name it in include to prune it",
    "weight scale": "it scales a weight",
    "bias": "it is added",
    "norm": "it scales or shifts what a normalisation gives",
    "slope": "it is a parameter of an activation function",
    "scale": "it multiplies activations element by element",
    "added": "it is added to activations",
    "joined": "it is put beside activations, as a token",
    "read": "no operation multiplies by it as by a matrix or a kernel",
    "unused": "the traced network does not use it",
}

DYNAMIC = "its weight is computed from the input"


@dataclass(frozen=True)
class ParameterUse:
    """One use of a parameter by an operation of a traced network.

    Attributes
    ----------
    role
        One of ``"weight"``, ``"computed weight"``, ``"factor"``, ``"embedding"``, ``"weight scale"``, ``"bias"``,
        ``"norm"``, ``"slope"``, ``"scale"``, ``"added"``, ``"joined"`` and ``"read"``.
    operation, module
        The operation that reads it, and the path of the module that runs it.
    value
        Name of what the operation reads: the parameter, or a constant that is computed from it.
    arc
        Names of the nodes that the operation lies between; empty where it computes a constant.
    """

    role: str
    operation: str
    module: str
    value: str
    arc: str = ""


def weights(model: nn.Module | Dag, example: Example | None = None) -> pd.DataFrame:
    """Every parameter of a network: whether it is a weight, of which layer, and whether it is pruned by default.

    A weight is a parameter that reaches a linear layer, a convolution, a product of matrices, an einsum, a bilinear or
    recurrent layer or an embedding, or is multiplied and the products added up, also through reshaping, slicing and
    casting and through parametrisations such as weight normalisation. It is pruned by default where zeros of it are
    zeros of what multiplies the activations, and
    where it is no table of embeddings, not even one that a layer shares.

    Parameters
    ----------
    model
        A module, or a traced network.
    example
        The model's input, as for `topo.trace`; not needed with a traced network.

    Returns
    -------
    DataFrame
        One row a parameter, a shared one under its first name: ``name`` (that of the plain module, whatever
        parametrisation is behind it), ``shape``, ``number`` of elements, ``role``, ``layers`` and ``operations`` that
        use it, the ``arcs`` that these lie on, whether it is ``pruned`` by default, and ``why_not``.

    Raises
    ------
    InputError
        When the model cannot be traced.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    >>> table = weights(net, (4,))
    >>> table[["name", "role", "pruned"]].head(3).values.tolist()
    [['0.weight', 'weight', True], ['0.bias', 'bias', False], ['1.weight', 'norm', False]]
    """
    dag = traced(model, example, "topo.weights")
    uses = parameter_uses(dag)
    rows = []
    for name, parameter in _first_names(dag).items():
        own = uses.get(name, ())
        role = _role(own)
        own = tuple(use for use in own if role != "weight" or use.role == role)
        rows.append(
            {
                "name": name,
                "shape": tuple(parameter.shape),
                "number": parameter.numel(),
                "role": role,
                "layers": _listed(use.module for use in own),
                "operations": _listed(use.operation for use in own),
                "arcs": _listed(use.arc for use in own),
                "pruned": role == "weight",
                "why_not": ROLES[role],
            }
        )
    columns = ["name", "shape", "number", "role", "layers", "operations", "arcs", "pruned", "why_not"]
    return pd.DataFrame(rows, columns=columns)


def pruned_by_default(dag: Dag) -> tuple[list[str], dict[str, str]]:
    """The parameters that pruning may remove unless told otherwise, and the weights that it leaves as they are.

    Parameters
    ----------
    dag
        Traced by `topo.trace`.

    Returns
    -------
    tuple
        Names, in the model's own order; and name of a weight, or of a layer whose weight is no parameter -> why it is
        left, tables of embeddings aside.
    """
    uses = parameter_uses(dag)
    roles = {name: _role(uses.get(name, ())) for name in _first_names(dag)}
    left = {name: ROLES[role] for name, role in roles.items() if role in ("computed weight", "factor")}
    left |= {step.module or step.name: DYNAMIC for step, _ in _steps(dag) if has_dynamic_weight(step)}
    return [name for name, role in roles.items() if role == "weight"], left


def weight_names(dag: AdditiveGraph) -> set[str]:
    """The parameters that multiply activations, as a network at any level of detail uses them.

    Parameters
    ----------
    dag
        The network.

    Returns
    -------
    set
        Names of those that are pruned by default.
    """
    return {name for name, uses in parameter_uses(dag).items() if _role(uses) == "weight"}


def parameter_uses(dag: AdditiveGraph) -> Mapping[str, tuple[ParameterUse, ...]]:
    """All uses of every parameter of a traced network, worked out once and kept as long as it.

    Parameters
    ----------
    dag
        Traced by `topo.trace`.

    Returns
    -------
    mapping
        Name of a parameter -> its uses, in the order in which they run.
    """
    if dag not in _KNOWN:
        _KNOWN[dag] = _found_uses(dag)
    return _KNOWN[dag]


_KNOWN: WeakKeyDictionary[AdditiveGraph, dict[str, tuple[ParameterUse, ...]]] = WeakKeyDictionary()


def _found_uses(dag: AdditiveGraph) -> dict[str, tuple[ParameterUse, ...]]:
    found: dict[str, list[ParameterUse]] = {}
    computing: dict[str, None] = {}
    summed = summed_products(dag)
    for step, arc in _steps(dag):
        for value, use in value_uses(step):
            use = "weight" if use == "scale" and step in summed else use
            for name, role in _roles_behind(dag, value.name, use, computing):
                found.setdefault(name, []).append(ParameterUse(role, step.name, step.module, value.name, arc))
    # Products of parameters, such as factors of a low rank, are computed in constants.
    for constant in computing:
        step = dag.constants[constant]
        uses = list(value_uses(step))
        of_parameters = sum(bool(dag.parameters_behind([value.name])) for value, _ in uses)
        for value, use in uses:
            if use in ("weight", "table") or (use == "factor" and of_parameters > 1):
                for name, role in _roles_behind(dag, value.name, use, {}):
                    found.setdefault(name, []).append(ParameterUse(role, step.name, step.module, value.name))
    return {name: tuple(dict.fromkeys(uses)) for name, uses in found.items()}


def summed_products(dag: AdditiveGraph) -> tuple[Step, ...]:
    """The products whose only reader adds them up along an axis along which the factors differ: layers written out.

    Parameters
    ----------
    dag
        Traced by `topo.trace`.

    Returns
    -------
    tuple
        Of steps, in order.
    """
    found = []
    for node, arcs in enumerate(dag.arcs_into):
        steps = arcs[0].steps if len(arcs) == 1 else ()
        readers = dag.arcs_from[node]
        following = readers[0].steps[0] if len(readers) == 1 and readers[0].steps else None
        axes = () if following is None else summed_axes(following)
        multiplied = steps and operator_of(steps[-1]).layer is None
        values = [] if not multiplied or not axes else [shape_of(dag, name) for name in steps[-1].values]
        if values and all(any(_length(shape, axis - len(steps[-1].shape)) > 1 for axis in axes) for shape in values):
            found.append(steps[-1])
    return tuple(found)


def _length(shape: tuple[int, ...], from_last: int) -> int:
    return shape[from_last] if -from_last <= len(shape) else 1


def _roles_behind(dag: AdditiveGraph, value: str, use: str, computing: dict[str, None]) -> Iterator[tuple[str, str]]:
    """The parameters behind a value that a step uses so, with their roles; notes the constants that compute it."""
    computing.update(dict.fromkeys(constants_behind(dag, value)))
    behind = {name: dag.state[name].numel() for name in dag.parameters_behind([value])}
    largest = max(behind.values(), default=0)
    taken: Tensor | None = None
    for name in sorted(behind, key=lambda name: -behind[name]):
        if use not in ("weight", "table"):
            yield name, use
        elif value == name:
            # A vector is one of the biases in the list of a recurrent layer's parameters.
            yield name, "embedding" if use == "table" else "weight" if dag.state[name].ndim > 1 else "bias"
        else:
            carried = carried_elements(dag, value, name)
            if behind[name] == largest and (carried is None or _is_mixed(dag, value, carried, largest)):
                yield name, "computed weight"
            elif carried is None or _is_scale(carried, behind[name] < largest, taken):
                yield name, "weight scale"
            else:
                taken = carried
                yield name, "weight" if use == "weight" else "embedding"


def _is_mixed(dag: AdditiveGraph, value: str, carried: Tensor, count: int) -> bool:
    """Whether few elements of a parameter each make many of a weight zero and the others none, as where an orthogonal
    matrix takes the signs of its columns from a diagonal."""
    followed = carried[carried >= 0]
    different = followed.unique().numel()
    return different < followed.numel() and different < count and not is_view(dag, value)


def _is_scale(carried: Tensor, is_smaller: bool, taken: Tensor | None) -> bool:
    """Whether a parameter that makes elements of a weight zero only scales another that does."""
    own = carried[carried >= 0]
    repeated = is_smaller and own.unique().numel() < own.numel()
    return repeated or (taken is not None and bool(((carried >= 0) & (taken >= 0)).any()))


def _role(uses: tuple[ParameterUse, ...]) -> str:
    """The role that decides; a table of embeddings stays one where a layer shares it."""
    roles = {use.role for use in uses}
    if "embedding" in roles:
        return "embedding"
    return next((role for role in ROLES if role in roles), "unused")


def _steps(dag: AdditiveGraph) -> Iterator[tuple[Step, str]]:
    """Every operation that reads activations, with the arc it lies on."""
    for arc in dag.arcs:
        ends = f"{dag.nodes[arc.source].name} -> {dag.nodes[arc.target].name}"
        for step in arc.steps:
            yield step, ends
    for node in dag.nodes:
        if node.combine is not None:
            yield node.combine, node.name
    for output in dag.outputs:
        for step in output.steps:
            yield step, ""


def _first_names(dag: Dag) -> dict[str, nn.Parameter]:
    return named_parameters(module_of(dag, "topo.weights"))


def _listed(values: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(value for value in values if value))
