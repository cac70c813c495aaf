"""Which weights pruning may remove: as the traced network uses them or, without a trace, by the classes of modules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn
from torch.nn.parameter import UninitializedParameter

from ..errors import InputError, listed, warn
from ..parameter_names import matching_names, named_parameters, plain_owners
from ..weight_norms import norm_scales
from .dag import Dag
from .example import Example
from .operators import embedding_modules, trained_modules
from .tracing import module_of, traced
from .unreadable_models import quantised_layers
from .weight_table import pruned_by_default

__all__ = ["Prunable", "prunable_parameters", "prunable_weights"]

# Torch's modules that hold parameters or modules and compute nothing by themselves.
_HOLDERS = ("torch.nn.modules.module", "torch.nn.modules.container")


@dataclass(frozen=True)
class Prunable:
    """The weights that pruning may remove unless told otherwise, and those that it leaves as they are.

    Attributes
    ----------
    names
        Of the prunable weights, in the model's own order.
    left
        Name of a weight or of a layer -> why it is left, half a sentence.
    advice
        What to do about those that are left.
    """

    names: list[str]
    left: dict[str, str] = field(default_factory=dict)
    advice: str = ""

    def sentence(self, left: Iterable[str]) -> str:
        """What is left and why, as one sentence.

        Parameters
        ----------
        left
            The names among `self.left` that matter.

        Returns
        -------
        str
            For a warning or an error; empty where nothing is left.
        """
        by_reason: dict[str, list[str]] = {}
        for name in left:
            by_reason.setdefault(self.left[name], []).append(name)
        if not by_reason:
            return ""
        parts = [f"{listed(names)} ({why})" for why, names in by_reason.items()]
        return f"pruning does not touch {', '.join(parts)}; {self.advice}."


def prunable_weights(model: nn.Module | Dag, example: Example | None = None) -> Prunable:
    """The weights of a model that pruning may remove.

    Parameters
    ----------
    model
        A module, or a traced network.
    example
        The model's input, as for `topo.trace`; without it a module's weights are told by the classes of modules.

    Returns
    -------
    Prunable
        Their names, and what is left.

    Raises
    ------
    InputError
        When the model is none, or the example does not suit it.
    """
    module = module_of(model, "topo.masks.prunable_parameters")
    # In a chain of torch's own layers every parameter is used, and as its class says.
    if isinstance(model, nn.Module) and (example is None or _is_plain_chain(model)):
        return _by_classes(model)
    try:
        dag = traced(model, example, "topo.masks.prunable_parameters")
    except InputError as error:
        found = _by_classes(module)
        why = f"whether they are weights cannot be seen, for {str(error).rstrip('.')}; name them in include"
        return Prunable(found.names, found.left, why)
    names, left = pruned_by_default(dag)
    advice = "topo.weights lists all parameters, and include prunes those that it names"
    return Prunable(names, {**left, **_packed(module)}, advice)


def prunable_parameters(
    model: nn.Module | Dag,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    *,
    example: Example | None = None,
) -> dict[str, nn.Parameter]:
    """The weights of a model that pruning may remove, by name, in the model's own order.

    With a traced network, or an example of the input to trace it with, these are the parameters that multiply
    activations as a matrix or a kernel, whatever module holds them; `topo.weights` lists them, and why others are none.
    Otherwise they are told by the classes of modules: the weights, of two or more dimensions, of torch's convolutions
    (transposed ones too), linear and recurrent layers and attention projections. Biases, norms and embeddings are not
    pruned; a weight shared by several modules appears once, under its first name, and not at all when an embedding uses
    it. Names are those of the plain module, ``0.weight`` whatever parametrisation computes it.

    Parameters
    ----------
    model
        The network, or one as `topo.trace` has traced it.
    include, exclude
        Shell-style patterns on parameter names. A pattern selects among the prunable weights; one that matches
        none of them selects among all parameters, so ``include=["*.weight", "head.bias"]`` prunes a bias too.
    example
        The model's input, as for `topo.trace`.

    Returns
    -------
    dict
        Name -> parameter of the model itself.

    Raises
    ------
    InputError
        When a pattern matches no parameter or nothing is left to prune.

    Warns
    -----
    UserWarning
        Unless `include` says what to prune: names what may be a weight and is left as it is.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    >>> list(prunable_parameters(net)), list(prunable_parameters(net, exclude="3.*"))
    (['0.weight', '3.weight'], ['0.weight'])
    """
    found = prunable_weights(model, example)
    module = module_of(model, "topo.masks.prunable_parameters")
    parameters = named_parameters(module)
    uninitialised = [name for name, p in parameters.items() if isinstance(p, UninitializedParameter)]
    if uninitialised:
        raise InputError(f"{listed(uninitialised)} has no shape yet; run the model once on an input before pruning it.")
    by_default = {*found.names}
    selected = by_default if include is None else matching_names(module, include, by_default)
    excluded = matching_names(module, exclude, by_default)
    left = found.sentence(name for name in found.left if include is None and name not in excluded)
    selected = selected - excluded
    if not selected:
        why = left or "name the parameters to prune in include, or exclude fewer."
        raise InputError(f"nothing is left to prune; {why}")
    if left:
        warn(left)
    return {name: p for name, p in parameters.items() if name in selected}


def _by_classes(model: nn.Module) -> Prunable:
    names, unknown = [], {}
    owners = plain_owners(model)
    scales = {id(scale) for scale, _ in norm_scales(model).values()}
    embedded = {id(p) for p, used_by in owners.values() if any(isinstance(m, embedding_modules()) for m in used_by)}
    for name, parameter in named_parameters(model).items():
        # bias_k and bias_v of attention have three dimensions but are added, not multiplied.
        if parameter.ndim < 2 or id(parameter) in embedded | scales or name.rpartition(".")[2].startswith("bias"):
            continue
        _, used_by = owners[id(parameter)]
        if any(isinstance(module, trained_modules()) for module in used_by):
            names.append(name)
        elif not any(_is_layer_of_torch(module) for module in used_by) and sum(n > 1 for n in parameter.shape) > 1:
            unknown[name] = "of a class of modules that is not torch's"
    advice = "give example=, the model's input or its shape, to see which of them are weights, or name them in include"
    return Prunable(names, {**unknown, **_packed(model)}, advice)


def _is_layer_of_torch(module: nn.Module) -> bool:
    return any(
        c.__module__.startswith("torch.nn.modules.") and c.__module__ not in _HOLDERS for c in type(module).mro()
    )


def _is_plain_chain(model: nn.Module) -> bool:
    """Whether a model is layers of torch one after the other, without parametrisations, hooks or an own forward."""
    return all(
        type(module).__module__.startswith("torch.nn.modules.")
        and (type(module) is nn.Sequential or type(module).__module__ not in _HOLDERS)
        and (type(module) is nn.Sequential or not any(module.children()))
        and not module._forward_pre_hooks
        and not module._forward_hooks
        and "forward" not in vars(module)
        for module in model.modules()
    )


def _packed(model: nn.Module) -> dict[str, str]:
    """Layers whose weights are no parameters, since they are quantised."""
    return dict.fromkeys(quantised_layers(model), "quantised, its weights are no parameters")
