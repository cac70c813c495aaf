"""The weights of a model on disk: safetensors written and read, PyTorch's own files read."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from .errors import InputError
from .safe_files import replacing
from .wrapped_names import matched_names

__all__ = ["checkpoint_shapes", "load_checkpoint", "save_checkpoint"]

_TORCH_SUFFIXES = (".pt", ".pth", ".pth.tar", ".bin", ".ckpt")
# How torch names the class or function that an object in a file needs, and what it writes before its reasons.
_OTHER_OBJECT = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+\w)")
_PREFACE = "WeightsUnpickler error: "
# Where training code puts the state dict beside the optimizer's and the epoch.
PLACES = ("state_dict", "model_state_dict", "model", "net")
# Endings of names: what pruning by torch makes of a weight, and the counter of a batch norm.
ORIGINAL, MASK, COUNTER = "_orig", "_mask", ".num_batches_tracked"


def save_checkpoint(model: nn.Module, path: str | Path) -> Path:
    """Write the parameters and buffers of a model to a ``.safetensors`` file, whole or not at all.

    Parameters
    ----------
    model
        The network whose state is written.
    path
        A file name that ends in ``.safetensors``; missing folders are made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        When the file name ends otherwise, the file cannot be written, or the state holds something not a tensor.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"{path} must end in .safetensors, the kind of checkpoint that is written.")
    state = model.state_dict()
    other = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise InputError(f"the state of the model holds {', '.join(other)}, which are not tensors and cannot be saved.")
    # Clones, because the format refuses tensors that share memory (tied weights).
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with replacing(path) as name:
        safetensors.torch.save_file(tensors, name, metadata={"content": "topo checkpoint"})
    return path


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """Copy the weights of a checkpoint file into a model, and return the model.

    A ``.safetensors`` file, or a PyTorch file (``.pt``, ``.pth``, ``.pth.tar``, ``.bin``, ``.ckpt``) with a state dict,
    bare or under ``state_dict``, ``model_state_dict``, ``model`` or ``net``; no code in a file is ever run. Names may
    have what `nn.DataParallel`, `torch.compile` and training classes put before them (``module.``, ``_orig_mod.``,
    ``model.``, ``net.``); weights pruned by `torch.nn.utils.prune` are multiplied by their masks; the counters of batch
    norms may be missing, and so may tied weights under all names but one.

    Parameters
    ----------
    model
        The network, changed in place.
    path
        The checkpoint file.

    Returns
    -------
    Module
        `model` itself.

    Raises
    ------
    InputError
        When the file is missing, damaged or of another kind, or its names or shapes are not those of the
        model; the model is then left as it was.

    Warns
    -----
    UserWarning
        Where the file is not as the model has it: what was done.
    """
    state, done = _fitted(path, model)
    own = model.state_dict()
    problems = []
    missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
    if missing:
        problems.append(f"it lacks {_listed(missing)}")
    if extra:
        problems.append(f"it has {_listed(extra)}, which the model has not")
    wrong = [
        f"{name} {tuple(state[name].shape)} where the model has {tuple(own[name].shape)}"
        for name in own
        if isinstance(own[name], Tensor) and name in state and state[name].shape != own[name].shape
    ]
    if wrong:
        problems.append(f"it holds {'; '.join(wrong[:5])}{_more(wrong)}")
    if problems:
        raise InputError(f"{path} does not fit the model: {'; '.join(problems)}.")
    model.load_state_dict(state)
    if done:
        warnings.warn(f"{path} was loaded, but not as it is: {'; '.join(done)}.", stacklevel=2)
    return model


def checkpoint_shapes(path: str | Path, model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes that a checkpoint file has for the tensors of a model, whether they fit or not.

    Parameters
    ----------
    path
        The checkpoint file.
    model
        Gives the names, as for `load_checkpoint`.

    Returns
    -------
    dict
        Name -> shape.

    Raises
    ------
    InputError
        When the file is missing, damaged or of another kind.
    """
    return {name: tuple(tensor.shape) for name, tensor in _fitted(path, model)[0].items()}


def _fitted(path: str | Path, model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """What a file holds under the names of the model, as far as they can be told, and what was done for that."""
    state, done = _read_state(Path(path))
    own = model.state_dict()
    pruned = [name[: -len(ORIGINAL)] for name in state if name.endswith(ORIGINAL)]
    if pruned and not any(name.endswith(ORIGINAL) for name in own) and all(name + MASK in state for name in pruned):
        masked = {name: state[name + ORIGINAL] * state[name + MASK] for name in pruned}
        state = {name: tensor for name, tensor in state.items() if not name.endswith((ORIGINAL, MASK))} | masked
        done.append(f"{_listed(pruned)} {'is' if len(pruned) == 1 else 'are'} multiplied by the masks of pruning")
    names = matched_names(state, own)
    changed = [name for name, known in names.items() if name != known]
    if changed:
        state = {known: state[name] for name, known in names.items()}
        done.append(f"{changed[0]!r} is taken for {names[changed[0]]!r}, and so on")
    counters = [name for name in own if name.endswith(COUNTER) and name not in state]
    if counters:
        state |= {name: own[name] for name in counters}
        done.append(f"the model keeps its own {_listed(counters)}, which the file lacks")
    first: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in state:
            first.setdefault(id(tensor), name)
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in state and id(tensor) in first:
            state[name] = state[first[id(tensor)]]
            done.append(f"{name}, which the file lacks, is tied to {first[id(tensor)]}")
    return state, done


def _read_state(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The names and tensors that a checkpoint file holds, and where in it they were found."""
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path), []
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(
                f"{path} is not a whole safetensors file ({error}); it may be cut short or of another kind."
            ) from error
    if not path.name.endswith(_TORCH_SUFFIXES):
        known = ", ".join([".safetensors", *sorted(_TORCH_SUFFIXES)])
        raise InputError(f"{path} is not a checkpoint by its name; names end in one of {known}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        other = _OTHER_OBJECT.search(str(error))
        if other is not None:
            raise InputError(
                f"{path} holds an object of {other[1]} beside tensors, which only code in the file could make again, "
                "and no code in a file is ever run; save the state dict alone, by torch.save(model.state_dict(), path)."
            ) from None
        reason = str(error).rpartition(_PREFACE)[2].strip().split("\n")[0]
        raise InputError(f"{path} is not a whole PyTorch file of plain tensors ({reason}).") from error
    found: list[str] = []
    while isinstance(state, dict) and not all(isinstance(value, Tensor) for value in state.values()):
        key = next((key for key in PLACES if isinstance(state.get(key), dict)), None)
        if key is None:
            break
        state = state[key]
        found.append(repr(key))
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} does not hold a state dict (names and tensors).")
    return dict(state), [f"only what is under {' in '.join(reversed(found))} was read"] if found else []


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + _more(names)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
