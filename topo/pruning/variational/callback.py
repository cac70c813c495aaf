"""The training callback: theta is trained together with the weights, and the network shrinks meanwhile."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...datasets.inputs import Batch
from ...errors import InputError
from ...training import Callback, Diverged, Recipe, TrainingState, batch_loss, evaluate, recalibrate
from .budget_target import BudgetTarget, TargetSelection
from .closing_criterion import ClosingCriterion
from .complexity import Complexity
from .config import VariationalConfig
from .estimators import Loss, make_estimator, reuse_loss
from .gate_updates import GateUpdates
from .gated import GatedModel, shrink
from .gates import Gates
from .noise import Noise
from .objective import check_knobs, coefficients
from .record import Record
from .transfer import ParameterTransfer

__all__ = ["VariationalCallback"]

logger = logging.getLogger(__name__)

REFRESH = 10
"""Steps between two evaluations of the complexity's gradient and of the norms of what gates multiply."""
ESTIMATES = 5.0
"""Estimates of Delta that a gate gets in the time that closing it takes, where each costs a forward pass."""
RAMP = 0.8
"""Share of the way to the decision on which a target is approached; on the rest it is held."""
STEERING = 200.0
"""How strongly nu follows a target: e-folds over a whole run, per share that the network is too large."""


@dataclass(frozen=True)
class _Coefficients:
    """eta of every gate, on the device of the training, and on the CPU the norm of what each multiplies, as of the last
    refresh; float64 (gates,) both."""

    eta: Tensor
    norms: Tensor


class VariationalCallback(Callback):
    """Puts gates into the network in training, trains their theta, and removes what they close.

    Parameters
    ----------
    find_gates
        Finds the gates of the network in training, which is on its device by then.
    nu, kappa, alpha
        See `objective.check_knobs`.
    config
        All other settings.
    target
        Where it is given, nu only starts at its value, and is steered so that this much remains.

    Attributes
    ----------
    gates
        The gates of the full network, which keep their numbers when some are removed.
    is_open
        Which of them have not been removed, bool (gates,).
    theta
        Their probabilities to be open, float64 (gates,), on the device of the training.
    gated
        The network with gates as it is now, or was when its gates were decided.
    decided
        Whether all gates are decided, so that the plain network is trained.
    record
        The course of the run, one entry before the first and after every epoch.
    """

    def __init__(
        self,
        find_gates: Callable[[nn.Module], Gates],
        nu: float = 1.0,
        kappa: float = 0.5,
        alpha: float = 0.5,
        *,
        config: VariationalConfig | None = None,
        target: BudgetTarget | None = None,
    ) -> None:
        check_knobs(nu, kappa, alpha)
        self.find_gates = find_gates
        self.nu, self.kappa, self.alpha = float(nu), float(kappa), float(alpha)
        self.config, self.target = config or VariationalConfig(), target
        self._asked = {name: _plain(value) for name, value in self.settings().items()}
        self.record = Record()
        self.decided = False

    def selected_gates(self, gates: Gates) -> Gates:
        """The gates without those of layers, or of units, where kappa leaves them out.

        Parameters
        ----------
        gates
            All gates of the model.

        Returns
        -------
        Gates
            Those that are trained.

        Raises
        ------
        InputError
            No gates remain.
        """
        check_knobs(self.nu, self.kappa, self.alpha, gates.is_layer)
        if self.kappa == 0:
            return replace(gates, layers=())
        return replace(gates, units=gates.units[:0]) if self.kappa == 1 else gates

    def settings(self) -> dict[str, Any]:
        """nu, kappa, alpha and all other settings."""
        knobs = {"nu": self.nu, "kappa": self.kappa, "alpha": self.alpha}
        return knobs | asdict(self.config) | ({} if self.target is None else {"target": asdict(self.target)})

    @property
    def model(self) -> nn.Module:
        """The plain network as it is now, without what has been removed."""
        return self.gated.model

    @property
    def transfer(self) -> ParameterTransfer | None:
        """Where the elements of `model` belong in the full network; None as long as it is that network."""
        return self.gated.transfer

    def write_back(self) -> nn.Module:
        """The full network, after the trained values of `model` have been written into it."""
        return self.gated.write_back()

    def on_start(self, state: TrainingState) -> None:
        if state.masks is not None:
            raise InputError("variational pruning trains a whole network; give it no masks.")
        self.gates = self.selected_gates(self.find_gates(state.model))
        self.complexity = Complexity(self.gates)
        self.selection = None if self.target is None else TargetSelection(self.target, self.gates, self.complexity)
        self.is_open = torch.ones(self.gates.count, dtype=torch.bool)
        # Gates that are closed for good but still in the network, until it is rebuilt without them.
        self.closed = ~self.is_open
        self._device = state.dataset.device
        self.theta = torch.where(self.is_open, float(self.config.initial_theta), 0.0).double().to(self._device)
        self.generator = torch.Generator().manual_seed(state.seed)
        self.noise = Noise(self.generator, self._device)
        self._is_finite = torch.ones((), dtype=torch.bool, device=self._device)
        self.eta_per_nu = self._eta(self.is_open.double().to(self._device), 1.0)
        horizon = max(1.0, self.config.horizon * state.total_steps)
        self.updates = GateUpdates(
            self.nu * self.eta_per_nu,
            horizon,
            ema_decay=self.config.ema_decay,
            # A target is met whatever is known of the gates.
            caution=self.config.caution if self.target is None else 0.0,
        )
        # The criterion is updated once a refresh; its memory of K and its patience scale with the horizon.
        refreshes = max(2, math.ceil(horizon / REFRESH))
        self.criterion = ClosingCriterion(
            self.gates.count,
            bound_decay=1 - 1 / (2 * refreshes),
            margin=self.config.margin,
            min_updates=refreshes,
            patience=math.ceil(refreshes / 2),
        )
        self._use(state, GatedModel(state.model, self.gates), state.optimizer)
        logger.info("variational pruning: %s", ", ".join(f"{name}={value}" for name, value in self.settings().items()))
        self._add_to_record(0, 0.0, 0.0)

    def on_gradients(self, state: TrainingState) -> None:
        # Delta is estimated before the first theta moves: whatever moves first makes the rest look cheaper.
        first = self.config.warmup * state.total_steps - self.updates.horizon
        gates = self.gated.xi
        if self.decided or gates is None or gates.grad is None or state.step < first:
            return
        assert state.batch is not None and state.loss is not None, "gradients are those of a batch"
        xi, g = gates.detach().double(), gates.grad.double()
        loss = reuse_loss(self._batch_loss(state.batch, state.recipe), xi[self._active], state.loss)
        delta, known = self._estimate_delta(xi, g, loss)
        self._is_finite = self._is_finite & (delta.isfinite() | ~known).all()
        # Looking at a number waits for the device, so that on others than the CPU it is done once a refresh.
        if self._device.type == "cpu" or state.step % REFRESH == 0:
            self._require_finite(state)
        self.updates.observe(delta, known)
        if self._progress(state) >= 0:
            self._step(state)

    def _require_finite(self, state: TrainingState) -> None:
        if not bool(self._is_finite):
            raise Diverged(
                f"the slope of the loss in the gates is no longer finite at step {state.step + 1} in epoch "
                f"{state.epoch + 1}; try a lower learning rate."
            )

    def on_epoch_end(self, state: TrainingState) -> None:
        training_macs = self._macs * len(state.dataset.train)
        if not self.decided:
            self.noise.forget()
            self._require_finite(state)
            if state.step >= self.config.settle * state.total_steps:
                self._decide(state)
            elif self._coefficients is not None:
                self._close(state, self._coefficients)
        self._add_to_record(state.epoch, state.history[-1]["seconds"], training_macs)

    def on_end(self, state: TrainingState) -> None:
        recalibrate(self.model, state.dataset, state.recipe.batch_size, seed=state.seed)
        if state.history and state.dataset.test is not None:
            # What is returned is not what the last epoch ended with: its batch norms have been measured anew.
            found = evaluate(self.model, state.dataset, device=state.dataset.device, loss=state.recipe.loss)
            row = {f"test_{name}": value for name, value in found.items()}
            state.history[-1] |= {name: value for name, value in row.items() if name in state.history[-1]}

    def _progress(self, state: TrainingState) -> float:
        """How far the training of theta is: below 0 before it begins, about 1 when gates are decided."""
        warmup, settle = (share * state.total_steps for share in (self.config.warmup, self.config.settle))
        return (state.step - warmup) / max(settle - warmup, 1.0)

    def _use(self, state: TrainingState, gated: GatedModel, optimizer: torch.optim.Optimizer) -> None:
        """Go on with this network."""
        self.gated = gated
        self._coefficients: _Coefficients | None = None
        self._macs = float(self.complexity.expected(self.is_open.double(), "macs"))
        gated.draw = self._draw
        self._update_active()
        self._set_theta(self.theta)
        state.replace(gated, optimizer)

    def _update_active(self) -> None:
        """Draw only the gates that are neither removed nor closed."""
        is_active = self.is_open & ~self.closed
        active = is_active.nonzero().flatten()
        self._is_active, self._active = is_active.to(self._device), active.to(self._device)
        rate = ESTIMATES / self.updates.horizon
        self.estimator = make_estimator(self.config.estimator, self.gates.is_layer[active].to(self._device), rate)

    def _set_theta(self, theta: Tensor) -> None:
        self.theta = torch.where(self._is_active, theta, 0.0)
        self.gated.fixed = (self.theta > 0.5).float()

    def _draw(self) -> Tensor:
        xi, self._chosen = self.estimator.draw(self.theta[self._active], self.noise)
        return torch.zeros_like(self.theta).index_copy(0, self._active, xi).float()

    def _batch_loss(self, batch: Batch, recipe: Recipe) -> Loss:
        """The loss of a batch as a function of the active gates; nothing of the network changes."""

        def loss(active: Tensor) -> float:
            xi = torch.zeros_like(self.theta).index_copy(0, self._active, active.double()).float()
            statistics = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
            with torch.no_grad():
                value = float(batch_loss(partial(self.gated.forward_with, xi), *batch, recipe)[0])
                for buffer, before in statistics:
                    buffer.copy_(before)
            return value

        return loss

    def _estimate_delta(self, xi: Tensor, g: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Estimate Delta from a batch: its gates `xi`, the derivatives `g` of its loss, and its loss as a function of
        the active gates."""
        active = self._active
        delta, known = torch.zeros_like(xi), torch.zeros_like(self._is_active)
        delta[active], known[active] = self.estimator.delta(
            self.theta[active], xi[active], g[active], self._chosen, loss
        )
        return delta, known

    def _step(self, state: TrainingState) -> None:
        """Move theta along the averaged estimates of Delta."""
        refresh, current = state.step % REFRESH == 0, self._coefficients
        if refresh or current is None:
            current = self._coefficients = self._refreshed(state)
        theta = self.updates.step(self.theta, current.eta)
        if self.selection is not None:
            # A closed gate learns no more, and could be needed to leave as much as is wanted.
            is_too_small = self.selection.expected_share(theta) < self._wanted_share(state)
            theta = torch.where(is_too_small, torch.maximum(theta, self.theta), theta)
        self._set_theta(theta)
        if refresh:
            averages = torch.stack([self.theta, self.updates.mean, self.updates.seen.double()])
            moved, mean, seen = averages.cpu()
            self.criterion.update(moved, mean, seen > 0, current.norms)

    def _eta(self, theta: Tensor, nu: float) -> Tensor:
        return coefficients(self.complexity, theta, nu, self.kappa, self.alpha, self.config.matching)

    def _refreshed(self, state: TrainingState) -> _Coefficients:
        """Evaluate eta and the norms anew, after nu has been steered where there is a target."""
        if self.selection is not None:
            excess = float(self.selection.expected_share(self.theta)) - self._wanted_share(state)
            self.nu *= math.exp(STEERING * REFRESH / state.total_steps * excess)
        self.updates.scale = self.nu * self.eta_per_nu
        return _Coefficients(self._eta(self.theta, self.nu), self.gated.norms().cpu())

    def _wanted_share(self, state: TrainingState) -> float:
        """The share of the target's budget that should remain by now."""
        first = self.config.initial_theta
        last = first if self.target is None else min(self.target.share, first)
        return first + (last - first) * min(1.0, self._progress(state) / RAMP)

    def _close(self, state: TrainingState, current: _Coefficients) -> None:
        """Close the gates that may close for good, and rebuild the network when that saves enough."""
        theta, eta = self.theta.cpu(), current.eta.cpu()
        step_ratio = self.updates.step_sizes.cpu() * (1 - state.recipe.momentum)
        step_ratio = step_ratio / max(state.history[-1]["learning_rate"], 1e-12)
        closing = self.criterion.may_close(theta, current.norms, eta, state.recipe.weight_decay, step_ratio)
        if self.selection is not None:
            share = max(self.selection.target.share, self._wanted_share(state))
            closing = self.selection.affordable(theta, self.is_open & ~self.closed, closing, share)
        self.closed |= closing & self.is_open
        self._update_active()
        self._set_theta(self.theta)
        is_open = self._closure(self.is_open & ~self.closed)
        after, now = (float(self.complexity.relative(gates.double(), self.alpha)) for gates in (is_open, self.is_open))
        if after < now and after <= (1 - self.config.min_saving) * now:
            self._shrink(state, is_open)

    def _shrink(self, state: TrainingState, is_open: Tensor) -> None:
        gated, optimizer = shrink(self.gated, is_open, state.optimizer)
        self.is_open = is_open
        self._use(state, gated, optimizer)

    def _decide(self, state: TrainingState) -> None:
        """Decide all gates, and go on with the plain network that they leave."""
        remaining = self.is_open & ~self.closed
        if self.selection is None:
            is_open = self._closure(remaining & (self.theta > 0.5).cpu())
        else:
            is_open = self.selection.within_target(self.theta.cpu(), remaining)
        self._shrink(state, is_open)
        self._use_plain(state)

    def _use_plain(self, state: TrainingState) -> None:
        """Go on with the network without gates, which are decided."""
        self.theta = self.is_open.double().to(self._device)
        self.decided = True
        state.replace(self.model, state.optimizer)

    def _closure(self, is_open: Tensor) -> Tensor:
        try:
            return self.gates.closure(is_open)
        except InputError:
            other = " or raise kappa, so that layers go rather than units" if self.gates.layers else ""
            raise InputError(
                "everything would be pruned: no path leads from the input to the output any more. Lower nu (now "
                f"{self.nu:.3g}){other}."
            ) from None

    def _add_to_record(self, epoch: int, seconds: float, training_macs: float) -> None:
        self.record.add(
            self.complexity,
            self.theta,
            self.is_open,
            epoch=epoch,
            seconds=seconds,
            training_macs=training_macs,
            nu=self.nu,
        )

    def state_dict(self) -> dict[str, Any]:
        current = self._coefficients
        return {
            "settings": self._asked,
            "is_open": self.is_open,
            "theta": self.theta,
            "closed": self.closed,
            "nu": self.nu,
            "eta": None if current is None else current.eta,
            "norms": None if current is None else current.norms,
            "decided": self.decided,
            "generator": self.generator.get_state(),
            "updates": self.updates.state_dict(),
            "criterion": self.criterion.state_dict(),
            "record": self.record.state_dict(),
        }

    def load_state_dict(self, state: TrainingState, held: dict[str, Any]) -> None:
        held = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in held.items()}
        for name, value in self._asked.items():
            before = held["settings"].get(name)
            if value != before:
                raise InputError(
                    f"the checkpoint is of another run: {name} was {before} there and is {value} here; give another "
                    "file, or delete it."
                )
        if len(held["is_open"]) != self.gates.count:
            raise InputError("the checkpoint is of a network with other gates.")
        self.theta, self.closed, self.nu = held["theta"].to(self._device), held["closed"], held["nu"]
        if held["decided"] or not held["is_open"].all():
            self._shrink(state, held["is_open"])
        self._update_active()
        self._set_theta(self.theta)
        self._coefficients = None if held["eta"] is None else _Coefficients(held["eta"].to(self._device), held["norms"])
        self.updates.load_state_dict({key: value.to(self._device) for key, value in held["updates"].items()})
        self.criterion.load_state_dict({key: value.cpu() for key, value in held["criterion"].items()})
        self.generator.set_state(held["generator"])
        self.record.load_state_dict(held["record"])
        if held["decided"]:
            self._use_plain(state)


def _plain(value: Any) -> Any:
    """A setting as a checkpoint may hold it."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value if isinstance(value, str | int | float) else repr(value)
