"""The pruner `variational`: nu is steered to the sparsity asked for, so that it compares with all other pruners."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from ...dag import trace
from ...dag.channel_coupling import coupled_channels
from ...dag.costs import BUDGETS
from ...dag.prunable import prunable_weights
from ...errors import InputError
from ...masks import Masks
from ...training import TrainingState
from ...validation import one_of
from ..registry import PRUNERS
from ..sparse_training import SparseTrainingCallback
from ..structured.refilling import warn_of_shortfall
from ..structured.unreachable import excluded
from ..task import Task
from .budget_target import BudgetTarget
from .callback import VariationalCallback
from .config import VariationalConfig
from .gates import Gates, place_gates

__all__ = ["VariationalPruner"]


@PRUNERS.register(
    "variational",
    family="structured",
    stage="training",
    paper="after Guenter & Sideris 2024",
    needs_data=False,
    needs_example=True,
)
class VariationalPruner(SparseTrainingCallback):
    """Random gates on units and branches, their probabilities trained with the weights, aware of what they cost.

    The network shrinks while it is trained; at the end its trained values are written back into the full network, with
    masks.

    Parameters
    ----------
    task
        What to prune.
    budget
        What `sparsity` is the removed share of: ``"weights"``, those that the patterns include or, with
        ``sparsity_of="all"``, those of all layers; ``"parameters"`` (biases and norms too) or ``"macs"`` of the whole
        network.
    nu
        Accuracy against pruning, where it begins: the weight of the full network's complexity, in nats of the mean
        loss. It is then steered, up where the network is larger than it should be by now and down where it is smaller.
    kappa
        Layers against units, from 0 (units only) to 1 (layers only).
    alpha
        Computation against parameters, from 0 (parameters only) to 1 (multiply-accumulates only).
    estimator
        How the change of the loss when a gate closes is estimated, see `topo.pruning.variational.VariationalConfig`.
    matching
        How the regulariser follows the complexity, ``"gradient"`` or ``"value"``.
    settle
        Share of all steps after which the remaining gates are decided. That is earlier than with a fixed nu, which
        closes most of them in the beginning: on the way to a target they close steadily, and the network needs time
        afterwards.

    Raises
    ------
    InputError
        When the model has nothing to gate that is not excluded.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        task: Task,
        *,
        budget: str = "weights",
        nu: float = 0.5,
        kappa: float = 0.5,
        alpha: float = 0.5,
        estimator: str = "uniform",
        matching: str = "gradient",
        settle: float = 0.5,
    ) -> None:
        super().__init__(task)
        one_of("budget", budget, BUDGETS)
        self._example = task.example
        self._excluded = set(prunable_weights(task.model, self._example).names) - set(self.names)
        self.masks = Masks.dense(task.model, self._example)
        self.inner = VariationalCallback(
            self._find_gates,
            nu,
            kappa,
            alpha,
            config=VariationalConfig(estimator=estimator, matching=matching, settle=settle),
            target=BudgetTarget(1 - task.sparsity, budget, task.counted),
        )
        # An error in the network or the settings is raised before anything is trained.
        gates = self._find_gates(task.model)
        if not gates.count:
            raise InputError(
                "pruner 'variational' finds nothing to gate: every layer not excluded writes to an output or to a "
                "sum, or is tied to others by a norm of weights, and no branch has another path beside it."
            )
        self.inner.selected_gates(gates)

    def _find_gates(self, model: nn.Module) -> Gates:
        channels = coupled_channels(trace(model, self._example))
        return place_gates(model, channels, ~excluded(self.names, channels), self._excluded.isdisjoint, self.names)

    def on_start(self, state: TrainingState) -> None:
        self._optimizer, held = state.optimizer, state.masks
        state.hold(None)
        self.inner.on_start(state)
        state.masks = held

    def on_gradients(self, state: TrainingState) -> None:
        self.inner.on_gradients(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        held, before = self.held(state), self.inner.is_open
        state.masks = None
        self.inner.on_epoch_end(state)
        # The masks are shown and not held: what is masked is no longer part of the network in training.
        changed = not torch.equal(before, self.inner.is_open)
        state.masks = held.replaced(self.inner.gates.masks(self.inner.is_open)) if changed else held

    def on_end(self, state: TrainingState) -> None:
        held = state.masks
        state.masks = None
        self.inner.on_end(state)
        state.replace(self.inner.write_back(), self._optimizer)
        state.masks = held
        self.change(state, self.inner.gates.masks(self.inner.is_open))
        selection = self.inner.selection
        if selection is not None:
            left = selection.share(self.inner.is_open)
            warn_of_shortfall("variational", left, selection.target.share, 1.0, selection.target.budget)
