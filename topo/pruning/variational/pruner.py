"""The pruner `variational`: knob nu steered to the sparsity that is asked for, so that it compares with all others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ...dag import trace
from ...dag.channel_coupling import coupled_channels
from ...errors import InputError, unknown_name
from ...masks import Masks, prunable_parameters
from ...training import TrainingState
from ..registry import PRUNERS
from ..samples import input_shapes
from ..sparse_training import SparseTrainingCallback
from ..structured.unit_scoring import BUDGETS, excluded
from ..task import Task
from .budget_target import Target
from .config import Choices
from .gates import Gates, place
from .optimiser import Variational

__all__ = ["VariationalPruner"]


@PRUNERS.register(
    "variational", family="structured", stage="training", paper="after Guenter & Sideris 2024", needs_data=False
)
class VariationalPruner(SparseTrainingCallback):
    """Random gates on units and branches, whose chances to be open are trained with the weights, aware of their cost.

    The network shrinks while it is trained; in the end what is left is put back into the whole network, with masks.

    budget
        What `sparsity` is the removed share of: ``"weights"``, ``"parameters"`` (biases and norms too) or ``"macs"``.
    nu
        Accuracy against pruning, where it begins: what the whole network's complexity weighs, in nats of the mean
        loss. It is then steered, up where the network is larger than it should be by now and down where it is smaller.
    kappa
        Layers against units, from 0 (units only) to 1 (layers only).
    alpha
        Computation against parameters, from 0 (parameters only) to 1 (multiply-accumulates only).
    estimator, matching, settle
        See `topo.pruning.variational.Choices`. What is left is decided earlier than with a fixed nu, which closes most
        gates in the beginning: on the way to a target they close steadily, and the network needs time afterwards.
    input_shape
        Shape of one input, without the batch dimension; taken from the data where there are some.
    """

    def __init__(
        self,
        task: Task,
        *,
        budget: str = "weights",
        nu: float = 0.5,
        kappa: float = 0.5,
        alpha: float = 0.5,
        estimator: str = Choices.estimator,
        matching: str = Choices.matching,
        settle: float = 0.5,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(task)
        if budget not in BUDGETS:
            raise unknown_name("value of budget", budget, BUDGETS)
        self._example = tuple(torch.zeros(1, *shape) for shape in input_shapes(task, input_shape))
        self._excluded = set(prunable_parameters(task.model)) - set(self.names)
        self.masks = Masks.dense(task.model)
        self.inner = Variational(
            self._find,
            nu,
            kappa,
            alpha,
            choices=Choices(estimator=estimator, matching=matching, settle=settle),
            target=Target(1 - task.sparsity, budget),
        )
        # What is wrong with the network or the knobs is said before anything is trained.
        found = self._find(task.model)
        if not found.count:
            raise InputError(
                "pruner 'variational' finds nothing to gate: every layer not excluded writes to an output or to a "
                "sum, and no branch has another path beside it."
            )
        self.inner.asked(found)

    def _find(self, model: nn.Module) -> Gates:
        parameter = next(model.parameters())
        example = tuple(value.to(parameter.device, parameter.dtype) for value in self._example)
        found = coupled_channels(trace(model, example))
        return place(model, found, ~excluded(self.names, found), self._excluded.isdisjoint)

    def on_start(self, state: TrainingState) -> None:
        self._optimizer, held = state.optimizer, state.masks
        state.hold(None)
        self.inner.on_start(state)
        state.masks = held

    def on_gradients(self, state: TrainingState) -> None:
        self.inner.on_gradients(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        held, before = state.masks, self.inner.open
        state.masks = None
        self.inner.on_epoch_end(state)
        # They are to be seen, and not to be held: what is masked is no longer there.
        changed = not torch.equal(before, self.inner.open)
        state.masks = held.replaced(self.inner.whole.masks(self.inner.open)) if changed else held

    def on_end(self, state: TrainingState) -> None:
        held = state.masks
        state.masks = None
        self.inner.on_end(state)
        state.replace(self.inner.put_back(), self._optimizer)
        state.masks = held
        self.change(state, self.inner.whole.masks(self.inner.open))
