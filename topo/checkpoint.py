"""The weights of a model on disk: safetensors written and read, PyTorch's own files read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import safe_open
from torch import Tensor, nn

from .errors import InputError, described, warn
from .safe_files import check_sealed, replacing, require_file, seal, unsealed
from .torch_files import read_torch_file, unusual_tensor
from .wrapped_names import matched_names

__all__ = ["checkpoint_shapes", "load_checkpoint", "save_checkpoint"]

_TORCH_SUFFIXES = (".pt", ".pth", ".pth.tar", ".bin", ".ckpt")
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
        safetensors.torch.save_file(tensors, name, metadata=unsealed({"content": "topo checkpoint"}))
        seal(name)
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
        model, or it holds kinds of numbers that the model's would not keep, such as complex ones; the model is then
        left as it was.

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
    lossy = [
        f"{name} of {_kind(state[name])} where the model has {_kind(own[name])}"
        for name in own
        if isinstance(own[name], Tensor) and name in state and not _kept_by(state[name], own[name])
    ]
    if lossy:
        problems.append(f"it holds {'; '.join(lossy[:5])}{_more(lossy)}")
    if problems:
        raise InputError(f"{path} does not fit the model: {'; '.join(problems)}.")
    try:
        # First, for the model stays as it was where a value cannot be converted.
        state = {name: _converted(tensor, own.get(name)) for name, tensor in state.items()}
        model.load_state_dict(state)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise InputError(f"{path} does not fit the model: {described(error).rstrip('.')}.") from error
    if done:
        warn(f"{path} was loaded, but not as it is: {'; '.join(done)}.")
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
    if pruned and not any(name.endswith(ORIGINAL) for name in own) and all(_is_masked(state, name) for name in pruned):
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


def _is_masked(state: Mapping[str, Tensor], name: str) -> bool:
    """Whether a weight and its mask are there, of one shape."""
    original, mask = state[name + ORIGINAL], state.get(name + MASK)
    return mask is not None and mask.shape == original.shape


def _read_state(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The names and tensors that a checkpoint file holds, and where in it they were found."""
    require_file(path)
    if path.suffix == ".safetensors":
        return _checked(path, _safetensors(path)), []
    if not path.name.endswith(_TORCH_SUFFIXES):
        known = ", ".join([".safetensors", *sorted(_TORCH_SUFFIXES)])
        raise InputError(f"{path} is not a checkpoint by its name; names end in one of {known}.")
    state = read_torch_file(path)
    found: list[str] = []
    while isinstance(state, dict) and not all(isinstance(value, Tensor) for value in state.values()):
        key = next((key for key in PLACES if isinstance(state.get(key), dict)), None)
        if key is None or len(found) == len(PLACES):  # a dictionary may hold itself
            break
        state = state[key]
        found.append(repr(key))
    return _checked(path, state), [f"only what is under {' in '.join(reversed(found))} was read"] if found else []


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            check_sealed(path, file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    except Exception as error:  # whatever the reader trips over in bytes that anybody may have written
        raise InputError(
            f"{path} is not a whole safetensors file ({described(error).rstrip('.')}); it may be cut short or of "
            "another kind."
        ) from error


def _checked(path: Path, state: Any) -> dict[str, Tensor]:
    """A state dict of plain tensors by name, or one sentence."""
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} does not hold a state dict (names and tensors).")
    odd = next((name for name in state if not isinstance(name, str)), None)
    if odd is not None:
        raise InputError(f"{path} does not hold a state dict: {odd!r:.60} is the name of no parameter.")
    for name, tensor in state.items():
        unusual = unusual_tensor(tensor)
        if unusual:
            raise InputError(f"{path} holds {name!r:.60} {unusual}; save plain tensors, as of model.state_dict().")
    return dict(state)


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _kept_by(tensor: Tensor, own: Tensor) -> bool:
    """Whether the kind of `own` holds what a tensor says, but for digits."""
    if tensor.is_complex():
        return own.is_complex()
    if tensor.is_floating_point() and not (own.is_floating_point() or own.is_complex()):
        return bool((tensor == tensor.to(own.dtype)).all())
    return True


def _converted(tensor: Tensor, own: Any) -> Tensor:
    return tensor.to(own.dtype) if isinstance(own, Tensor) else tensor


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + _more(names)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
