"""A training run on disk after every epoch, from which it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..masks import Masks
from ..safe_files import replacing
from ..torch_files import read_torch_file
from .callback import Callback, TrainingState

__all__ = ["resume", "save"]


_STATE = ("epoch", "step", "history", "model", "optimizer", "masks", "callbacks", "generator", "random", "cuda")


def save(state: TrainingState, callbacks: Sequence[Callback], path: str | Path) -> None:
    """Write all that decides how the run goes on, atomically.

    Parameters
    ----------
    state
        The run.
    callbacks
        Its callbacks, in their order.
    path
        The file to write or replace.
    """
    device = state.dataset.device
    checkpoint = {
        **_identity(state),
        "epoch": state.epoch,
        "step": state.step,
        "history": state.history,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "masks": None if state.masks is None else dict(state.masks),
        "callbacks": [callback.state_dict() for callback in _remembering(callbacks)],
        "generator": state.generator.get_state(),
        "random": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    with replacing(path) as name:
        torch.save(checkpoint, name)


def resume(state: TrainingState, callbacks: Sequence[Callback], path: str | Path) -> bool:
    """Take up the run that `path` holds; False when the file does not exist.

    Parameters
    ----------
    state
        A fresh run, changed in place.
    callbacks
        Its callbacks; those that a checkpoint holds something of are those of the saved run, in its order.
    path
        What `save` has written.

    Returns
    -------
    bool
        Whether there was a run to take up.

    Raises
    ------
    InputError
        The file is damaged, or of another run: another recipe, seed, number of samples or other callbacks.
    """
    path = Path(path)
    if not path.exists():
        return False
    device = state.dataset.device
    checkpoint, own = read_torch_file(path, device), _identity(state)
    if not isinstance(checkpoint, dict) or not {*own, *_STATE} <= checkpoint.keys():
        raise InputError(f"{path} is no checkpoint of a training run; give another file, or delete it.")
    other = [name for name, value in own.items() if checkpoint[name] != value]
    remembering = _remembering(callbacks)
    if other or len(checkpoint["callbacks"]) != len(remembering):
        differs = ", ".join(other) or "its callbacks"
        raise InputError(
            f"{path} is the checkpoint of another run: it differs in {differs}; ask for the same, give another file, "
            "or delete it."
        )
    for callback, held in zip(remembering, checkpoint["callbacks"], strict=True):
        # They come first, for they may put another network in the place of the model.
        callback.load_state_dict(state, held)
    try:
        state.model.load_state_dict(checkpoint["model"])
        state.optimizer.load_state_dict(checkpoint["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is the checkpoint of another model: {str(error).splitlines()[0]}") from error
    if checkpoint["masks"] is not None:
        state.hold(Masks(checkpoint["masks"]) if state.masks is None else state.masks.replaced(checkpoint["masks"]))
    state.epoch, state.step, state.history = checkpoint["epoch"], checkpoint["step"], checkpoint["history"]
    state.generator.set_state(checkpoint["generator"].cpu())
    torch.set_rng_state(checkpoint["random"].cpu())
    if checkpoint["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(checkpoint["cuda"].cpu(), device)
    return True


def _remembering(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that a checkpoint holds something of; the others may differ where a run goes on."""
    return [callback for callback in callbacks if type(callback).state_dict is not Callback.state_dict]


def _identity(state: TrainingState) -> dict[str, Any]:
    recipe = {name: list(v) if isinstance(v, tuple) else v for name, v in state.recipe.decides().items()}
    samples = [0 if split is None else len(split) for split in (state.dataset.train, state.dataset.test)]
    return {"recipe": recipe, "seed": state.seed, "samples": samples, "masked": state.masks is not None}
