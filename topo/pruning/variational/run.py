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

from ...dag import Dag, compact
from ...dag.example import Example
from ...dag.tracing import module_of
from ...datasets import as_dataset
from ...masks import Masks
from ...parameter_names import named_parameters
from ...training import Callback, Diverged, Recipe, Training
from ...training import recipe as find_recipe
from ...training import train as train_network
from ...training.evaluation import dtype_of
from ...training.losses import AskedLoss
from .callback import VariationalCallback
from .computed_weights import computed_weights
from .config import VariationalConfig
from .gates import Gates, check_unwrapped, find_gates

__all__ = ["VariationalRun", "train"]


@dataclass(frozen=True, eq=False)
class VariationalRun:
    """The result of training with variational pruning.

    Attributes
    ----------
    model
        The small network: a plain module without gates, in the mode of the one it came from.
    full_model
        The network that was given, with the trained values of all that stays.
    record
        One row before the first and after every epoch: epoch, seconds, training_macs, expected_parameters,
        expected_macs, parameters, macs, units, layers, nu.
    thetas
        The probabilities of all gates to be open at these times, float32 (rows, gates).
    gates
        The gates of the full network, in whose order `thetas` are.
    is_open
        Which of them stayed, bool (gates,).
    training
        History and status of the training run.
    settings
        nu, kappa, alpha and all other settings.
    """

    model: nn.Module
    full_model: nn.Module
    record: pd.DataFrame
    thetas: Tensor
    gates: Gates
    is_open: Tensor
    training: Training
    settings: dict[str, Any]

    def masks(self) -> Masks:
        """Masks of the full network that leave the small one, to encode and compare it like any other.

        The weights of the full network go along as `Masks.state`, so that `Masks.install` writes them, too.
        """
        masks = self.gates.masks(self.is_open)
        found = Masks(masks, algorithm="variational", settings=self.settings, included=self.gates.prunable)
        found.state = {name: value.detach().cpu().clone() for name, value in self.full_model.state_dict().items()}
        return found

    def __repr__(self) -> str:
        first, last = self.record.iloc[0], self.record.iloc[-1]
        parts = [
            f"{name} {last[name]:,.0f} of {first[name]:,.0f}" for name in ("units", "layers", "parameters", "macs")
        ]
        return f"VariationalRun({', '.join(parts)})"


def train(
    model: nn.Module | Dag,
    data: Any,
    recipe: Recipe | str = "reference",
    *,
    nu: float = 1.0,
    kappa: float = 0.5,
    alpha: float = 0.5,
    config: VariationalConfig | None = None,
    example: Example | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    loss: AskedLoss = None,
) -> VariationalRun:
    """Train a network and prune its units and layers meanwhile; no trained network is needed to begin with.

    All settings but nu, kappa and alpha follow from the network and the recipe, or have a default that was measured
    (`VariationalConfig`); all of them are logged and returned.

    Parameters
    ----------
    model
        Any module that can be traced, or a traced network. It is trained in place: in the end it has the trained values
        of all that stays, so that the masks of the run fit it.
    data
        What to train on, in any of the forms that `topo.training.train` takes.
    recipe
        How to train, a `topo.training.Recipe` or its name.
    nu
        Accuracy against pruning: the weight of the full network's complexity, in nats of the mean loss.
    kappa
        Layers against units, from 0 (units only) to 1 (layers only).
    alpha
        Computation against parameters, from 0 (parameters only) to 1 (multiply-accumulates only).
    config
        All other settings.
    example
        An input of the model, or its shape, to trace it with; by default the first sample of the data.
    seed
        Order of the batches, augmentation, dropout and the draws of the gates.
    device
        Where to train: ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    progress
        Show a progress bar; by default on a terminal.
    callbacks
        Called after every step and epoch, in order, behind the one of the gates.
    checkpoint
        A file, written after every epoch. Where it exists, the run goes on from it, and ends as it would have without
        the interruption; one of another recipe, seed or setting is refused.
    loss
        As for `topo.training.train`.

    Returns
    -------
    VariationalRun
        The small network, and how it came about.

    Raises
    ------
    InputError
        When there is nothing to gate, a setting is out of range, everything would be pruned, the training diverges
        (`topo.training.Diverged`), or the model is compiled or wrapped for several devices.

    Examples
    --------
    >>> import topo
    >>> data = topo.datasets.load("digits", subset=20)
    >>> net = topo.models.build("digits-cnn", input_shape=(1, 8, 8))
    >>> run = topo.pruning.variational.train(net, data, topo.training.recipe("digits", epochs=2), device="cpu")
    >>> run.record["epoch"].tolist()
    [0, 1, 2]
    """
    model = module_of(model, "topo.pruning.variational.train", values=True)
    check_unwrapped(model)
    plan = find_recipe(recipe) if loss is None else find_recipe(recipe, loss=loss)
    dataset = as_dataset(data)
    example = dataset.to(dataset.device, dtype_of(model)).example if example is None else example
    callback = VariationalCallback(partial(find_gates, example=example), nu, kappa, alpha, config=config)
    was_training = model.training
    training = train_network(
        model,
        dataset,
        plan,
        seed=seed,
        device=device,
        progress=progress,
        callbacks=[callback, *callbacks],
        checkpoint=checkpoint,
    )
    if training.status != "finished":
        raise Diverged(f"{training.reason[0].upper()}{training.reason[1:]}")
    full_model = callback.write_back()
    # A recipe may have frozen some parameters while it lasted; by now those of the full network are as they were.
    full = named_parameters(model)
    for name, parameter in named_parameters(callback.model).items():
        full_name = name if callback.transfer is None else callback.transfer.full_names[name]
        parameter.requires_grad_(full[full_name].requires_grad)
    small = callback.model
    if callback.transfer is not None and any(computed_weights(callback.gates.network)):
        # As long as it is trained, a weight that is computed from parameters is cut to zero and not out.
        masks = callback.gates.masks(callback.is_open)
        small = compact(full_model, masks, example=example)
    if plan.channels_last:
        small.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as `train` leaves a network
    return VariationalRun(
        model=small if small is model else small.train(was_training),
        full_model=full_model,
        record=callback.record.table(),
        thetas=callback.record.theta_table(),
        gates=callback.gates,
        is_open=callback.is_open,
        training=training,
        settings=callback.settings(),
    )
