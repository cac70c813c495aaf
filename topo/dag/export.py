"""Running `torch.export`: with a free number of samples where possible, and with one sentence when it fails."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from ..errors import InputError
from .composition import write_compositions
from .example import unfit_inputs_named, unfit_keywords
from .exported_nodes import is_symbol
from .functionalisation import functionalised
from .grouped_attention import repeat_grouped_heads
from .output_classes import only_tensors_returned, registered

__all__ = ["export"]


def export(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> torch.export.ExportedProgram:
    """Export with a free number of samples where the model allows it, else for the number at hand.

    Parameters
    ----------
    model
        Network to export, in evaluation mode.
    args
        Positional arguments of its forward.
    kwargs
        Keyword arguments of its forward.

    Returns
    -------
    ExportedProgram
        Free of operations that write into a tensor.

    Raises
    ------
    InputError
        When torch cannot export the model; the message names the module where it stopped.
    """
    inputs = (args, kwargs or {})
    leaves = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    attempts = []
    if len({leaf.shape[0] for leaf in leaves}) == 1:
        # Sizes 0 and 1 are always specialised, so one sample is doubled to keep the number free.
        doubled = pytree.tree_map_only(Tensor, lambda t: torch.cat([t, t]) if t.shape[0] == 1 else t, inputs)
        free = pytree.tree_map(lambda t: {0: Dim.AUTO} if isinstance(t, Tensor) else None, inputs)
        # As a mapping of the forward's arguments where there are keywords, else one entry a positional argument.
        attempts.append((doubled, _by_name(model, *free) if kwargs or _takes_any_number(model) else free[0]))
    attempts.append((inputs, None))
    failure: tuple[Exception, list[str]] | None = None
    for (positional, keywords), dynamic_shapes in attempts:
        entered: list[str] = []
        hooks = _record_entries(model, entered)
        try:
            with warnings.catch_warnings(), _quiet_export(), only_tensors_returned(model):
                warnings.simplefilter("ignore")
                program = torch.export.export(model, positional, keywords, dynamic_shapes=dynamic_shapes, strict=False)
                repeat_grouped_heads(program.graph)
                if not functionalised(program.graph):
                    program = program.run_decompositions({})
                samples = leaves[0].shape[0] if dynamic_shapes is None else None
                write_compositions(program.graph, samples, program.graph_signature.user_inputs)
            if dynamic_shapes is None or _is_free(program):
                return program
        except InputError:
            raise
        except Exception as error:
            failure = (error, list(entered))
        finally:
            for hook in hooks:
                hook.remove()
    assert failure is not None
    try:
        with unfit_inputs_named(kwargs or inputs), only_tensors_returned(model):
            output = model(*args, **(kwargs or {}))
    except InputError:
        raise
    except Exception:
        output = None  # the model's own code fails
    if registered(output):
        return export(model, args, kwargs)
    raise InputError(_explain(model, *failure)) from failure[0]


def _takes_any_number(model: nn.Module) -> bool:
    parameters = inspect.signature(model.forward).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)


def _by_name(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(model.forward).bind(*args, **kwargs).arguments)
    except TypeError as error:
        taken = ", ".join(inspect.signature(model.forward).parameters)
        raise unfit_keywords(kwargs, error, f"forward({taken})") from error


@contextmanager
def _quiet_export() -> Iterator[None]:
    """Keep export from printing its view of a failure: the error raised says it in one sentence."""
    # Only the loggers of torch: another thread may have something to say meanwhile.
    known = logging.root.manager.loggerDict.items()
    loud = [
        log
        for name, log in known
        if name.split(".")[0] == "torch" and isinstance(log, logging.Logger) and not log.disabled
    ]
    for log in loud:
        log.disabled = True
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        for log in loud:
            log.disabled = False


def _record_entries(model: nn.Module, entered: list[str]) -> list[Any]:
    """Hooks that keep, in `entered`, the names of the modules whose forward has begun and not ended."""

    def leave(*_: Any) -> None:
        entered.pop()

    def enter(module: nn.Module, args: tuple[Any, ...], name: str) -> None:
        entered.append(name)
        if any(isinstance(given, PackedSequence) for given in args):
            raise InputError(
                f"cannot trace module {name!r} ({type(module).__name__}): it reads a packed sequence, whose size at "
                "every time step depends on the lengths; leave pack_padded_sequence out and give padded sequences."
            )

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(enter, name=name)))
        hooks.append(module.register_forward_hook(leave))
    return hooks


def _explain(model: nn.Module, error: Exception, entered: list[str]) -> str:
    name = entered[-1] if entered else ""
    module = model.get_submodule(name)
    library = torch.__path__[0]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((library, __file__))]
    line = f"`{frames[-1].line}`" if frames and frames[-1].line else "its forward"
    reason = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
    where = f"module {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
    return (
        f"cannot trace {where}: {line} failed with {type(error).__name__}: {reason[:300].rstrip('.')}. "
        "Control flow that depends on tensor values cannot be traced; replace that operation."
    )


def _is_free(program: torch.export.ExportedProgram) -> bool:
    names = set(program.graph_signature.user_inputs)
    values = [n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    return all(is_symbol(v.shape[0]) for v in values if isinstance(v, Tensor))
