"""Training with variational pruning, from a network to a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ...datasets import Dataset
from ...device import resolve_device
from ...masks import Masks
from ...training import Callback, Diverged, Recipe, Training
from ...training import train as train_network
from .config import Choices
from .gates import Gates, gates
from .optimiser import Variational
from .plain import check_plain

__all__ = ["Pruned", "train"]


@dataclass(frozen=True, eq=False)
class Pruned:
    """What came out of a run.

    Attributes
    ----------
    model
        The small network: a plain module without gates, in the mode of the one it came from.
    record
        One row before the first and after every epoch: epoch, seconds, training_macs, expected_parameters,
        expected_macs, parameters, macs, units, layers, nu.
    thetas
        The chances of all gates to be open at these times, float32 (rows, gates).
    gates
        The gates of the whole network, in whose order `thetas` are.
    open
        Which of them stayed, bool (gates,).
    training
        History and status of the training run.
    settings
        The knobs and all other coefficients.
    """

    model: nn.Module
    record: pd.DataFrame
    thetas: Tensor
    gates: Gates
    open: Tensor
    training: Training
    settings: dict[str, Any]

    def masks(self) -> Masks:
        """Masks of the whole network that leave the small one, to encode and compare it like any other."""
        return Masks(self.gates.masks(self.open), algorithm="variational", settings=self.settings)


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe | str = "reference",
    *,
    nu: float = 1.0,
    kappa: float = 0.5,
    alpha: float = 0.5,
    choices: Choices | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
) -> Pruned:
    """Train a network and prune its units and layers meanwhile; no trained network is needed to begin with.

    Everything that is neither of the three knobs follows from the network and the recipe, or has a default that was
    measured (`Choices`); all of it is logged and returned.

    Parameters
    ----------
    model
        Returns logits (N, classes); it is trained in place until something goes, and is then left behind.
    dataset, recipe, seed, device, progress, callbacks, checkpoint
        As in `topo.training.train`.
    nu
        Accuracy against pruning: what the complexity of the whole network weighs, in nats of the mean loss.
    kappa
        Layers against units, from 0 (units only) to 1 (layers only).
    alpha
        Computation against parameters, from 0 (parameters only) to 1 (multiply-accumulates only).

    Raises
    ------
    InputError
        When there is nothing to gate, a knob is out of range, everything would be pruned, the training diverges
        (`topo.training.Diverged`), or the model is compiled or wrapped for several devices.

    Examples
    --------
    >>> import topo
    >>> data = topo.datasets.load("digits", subset=20)
    >>> net = topo.models.build("digits-cnn", input_shape=(1, 8, 8))
    >>> small = topo.pruning.variational.train(net, data, topo.training.recipe("digits", epochs=2), device="cpu")
    >>> small.record["epoch"].tolist()
    [0, 1, 2]
    """
    check_plain(model)
    example = torch.zeros(1, *dataset.input_shape, device=resolve_device(device))
    callback = Variational(partial(gates, example=example), nu, kappa, alpha, choices=choices)
    mode = model.training
    run = train_network(
        model,
        dataset,
        recipe,
        seed=seed,
        device=device,
        progress=progress,
        callbacks=[callback, *callbacks],
        checkpoint=checkpoint,
    )
    if run.status != "finished":
        raise Diverged(f"{run.reason[0].upper()}{run.reason[1:]}")
    # A recipe may have frozen some parameters while it lasted; by now those of the whole network are as they were.
    for name, parameter in callback.model.named_parameters():
        parameter.requires_grad_(model.get_parameter(callback.origins.names[name]).requires_grad)
    return Pruned(
        model=callback.model.train(mode),
        record=callback.record.table(),
        thetas=callback.record.chances(),
        gates=callback.whole,
        open=callback.open,
        training=run,
        settings=callback.settings(),
    )
