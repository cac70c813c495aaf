"""The weights of a model on disk: safetensors written and read, PyTorch's own files read."""

from __future__ import annotations

import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from .errors import InputError
from .safe_files import replacing

__all__ = ["load_checkpoint", "read_state", "save_checkpoint"]

_TORCH_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt"}


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

    A ``.safetensors`` file, or a PyTorch file (``.pt``, ``.pth``, ``.bin``, ``.ckpt``) with a state dict, bare or
    under ``state_dict``, ``model_state_dict`` or ``model``; no code in a file is ever run.

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
    """
    state = read_state(path)
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
    return model


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The names and tensors that a checkpoint file holds, of the kinds that `load_checkpoint` takes.

    Raises
    ------
    InputError
        When the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise InputError(
                f"{path} is not a whole safetensors file ({error}); it may be cut short or of another kind."
            ) from error
    if path.suffix not in _TORCH_SUFFIXES:
        known = ", ".join([".safetensors", *sorted(_TORCH_SUFFIXES)])
        raise InputError(f"{path} is not a checkpoint by its name; names end in one of {known}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path} is not a whole PyTorch file of plain tensors ({reason}).") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} does not hold a state dict (names and tensors).")
    return dict(state)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + _more(names)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
