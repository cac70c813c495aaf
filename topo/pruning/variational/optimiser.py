"""The optimiser: weights and the chances of gates are trained together, and the network shrinks meanwhile."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...training import Callback, Diverged, TrainingState, batch_loss, recalibrate
from .budget_target import Budget, Target
from .closing_criterion import Attraction
from .complexity import BUDGETS, Complexity
from .config import Choices
from .estimators import estimator, remembering
from .gate_updates import Steps
from .gated import Gated, shrink
from .gates import Gates
from .objective import check_knobs, coefficients
from .record import Record
from .transfer import Origins

__all__ = ["Variational"]

logger = logging.getLogger(__name__)

REFRESH = 10  # steps between two looks at the complexity and the norms of what gates multiply
ESTIMATES = 5.0  # of what a gate is worth, in the time that closing it takes, where every one costs a forward pass
RAMP = 0.8  # the share of the way to the decision on which a target is approached; on the rest it is held
STEERING = 200.0  # how strongly nu follows a target: e-folds over a whole run, per share that the network is too large


class Variational(Callback):
    """Puts gates into the network in training, trains their chances, and takes out what they close.

    Parameters
    ----------
    find
        Finds the gates of the network in training, which is on its device by then.
    nu, kappa, alpha
        The knobs, see `objective.check_knobs`.
    choices
        All other coefficients.
    target
        Where it is given, nu only starts at its value, and is steered to leave that much.

    Attributes
    ----------
    model
        The plain network as it stands, without what has gone.
    whole
        The gates of the network, whose numbers stay when some are gone.
    open
        Which of them are still there, bool (gates,).
    theta
        Their chances to be open, float64 (gates,).
    record
        The course of the run, one entry before the first and after every epoch.
    """

    def __init__(
        self,
        find: Callable[[nn.Module], Gates],
        nu: float = 1.0,
        kappa: float = 0.5,
        alpha: float = 0.5,
        *,
        choices: Choices | None = None,
        target: Target | None = None,
    ) -> None:
        check_knobs(nu, kappa, alpha)
        self.find, self.nu, self.kappa, self.alpha = find, float(nu), float(kappa), float(alpha)
        self.choices, self.target = choices or Choices(), target
        self.record = Record()
        self.gated: Gated | None = None

    def asked(self, found: Gates) -> Gates:
        """Without the gates of layers, or of units, where the balance leaves them out; `InputError` without any."""
        check_knobs(self.nu, self.kappa, self.alpha, found.is_layer)
        if self.kappa == 0:
            return replace(found, layers=())
        return replace(found, units=found.units[:0]) if self.kappa == 1 else found

    def settings(self) -> dict[str, Any]:
        """The knobs and all other coefficients."""
        knobs = {"nu": self.nu, "kappa": self.kappa, "alpha": self.alpha}
        return knobs | asdict(self.choices) | ({} if self.target is None else {"target": asdict(self.target)})

    def on_start(self, state: TrainingState) -> None:
        if state.masks is not None:
            raise InputError("variational pruning trains a whole network; give it no masks.")
        self.whole = self.asked(self.find(state.model))
        self.complexity = Complexity(self.whole)
        self.budget = None if self.target is None else Budget(self.target, self.whole, self.complexity)
        self.open = torch.ones(self.whole.count, dtype=torch.bool)
        # Closed gates are there until the network is rebuilt without them.
        self.closed = ~self.open
        self.theta = torch.where(self.open, float(self.choices.start), 0.0).double()
        self.generator = torch.Generator().manual_seed(state.seed)
        self.unit_scale = self._coefficients(self.open.double(), 1.0)
        horizon = max(1.0, self.choices.horizon * state.total_steps)
        self.steps = Steps(self.nu * self.unit_scale, horizon, memory=self.choices.memory)
        # Its updates come every few steps; what it remembers of K, and how long it waits, go with the horizon.
        looks = max(2, math.ceil(horizon / REFRESH))
        self.attraction = Attraction(
            self.whole.count,
            memory=1 - 1 / (2 * looks),
            margin=self.choices.margin,
            trust=looks,
            patience=math.ceil(looks / 2),
        )
        self._device = state.dataset.device
        self._put(state, Gated(state.model, self.whole), state.optimizer)
        logger.info("variational pruning: %s", ", ".join(f"{name}={value}" for name, value in self.settings().items()))
        self._note(0, 0.0, 0.0)

    def on_gradients(self, state: TrainingState) -> None:
        # What gates are worth is known before the first chance moves: what moves first makes the rest look cheaper.
        first = self.choices.wait * state.total_steps - self.steps.horizon
        if self.gated is None or self.gated.xi.grad is None or state.step < first:
            return
        self._learn(state)
        if self._progress(state) >= 0:
            self._step(state)

    def on_epoch_end(self, state: TrainingState) -> None:
        spent = self._macs * len(state.dataset.train)
        if self.gated is not None:
            if state.step >= self.choices.settle * state.total_steps:
                self._settle(state)
            elif self._eta is not None:
                self._close(state)
        self._note(state.epoch, state.history[-1]["seconds"], spent)

    def on_end(self, state: TrainingState) -> None:
        recalibrate(self.model, state.dataset, state.recipe.batch_size)

    @property
    def origins(self) -> Origins | None:
        """Where the elements of `model` belong in the whole network; None as long as it is that network."""
        return self._last.origins

    def put_back(self) -> nn.Module:
        """The whole network, with what has been trained in its place."""
        return self._last.put_back()

    def _progress(self, state: TrainingState) -> float:
        """How far the chances of gates are: below 0 before they move, about 1 when they are decided."""
        wait, settle = (share * state.total_steps for share in (self.choices.wait, self.choices.settle))
        return (state.step - wait) / max(settle - wait, 1.0)

    def _put(self, state: TrainingState, gated: Gated, optimizer: torch.optim.Optimizer) -> None:
        """Go on with this network."""
        self.gated, self._last, self.model = gated, gated, gated.model
        self._eta = self._norms = None
        self._macs = float(self.complexity.expected(self.open.double(), "macs"))
        gated.draw = self._draw
        self._see()
        self._move(self.theta)
        state.replace(gated, optimizer)

    def _see(self) -> None:
        """The gates that are there and not closed, which alone are drawn."""
        self._there = (self.open & ~self.closed).nonzero().flatten()
        rate = ESTIMATES / self.steps.horizon
        self.estimator = estimator(self.choices.estimator, self.whole.is_layer[self._there], rate)

    def _move(self, theta: Tensor) -> None:
        self.theta = torch.where(self.open & ~self.closed, theta, 0.0)
        self.gated.fixed = (self.theta > 0.5).float().to(self._device)

    def _draw(self) -> Tensor:
        xi, self._chosen = self.estimator.draw(self.theta[self._there], self.generator)
        return torch.zeros_like(self.theta).index_copy(0, self._there, xi).float().to(self._device)

    def _loss(self, state: TrainingState) -> Callable[[Tensor], float]:
        """The loss of the batch at hand as a function of the gates that are drawn; nothing of the network changes."""

        def loss(drawn: Tensor) -> float:
            xi = torch.zeros_like(self.theta).index_copy(0, self._there, drawn.double()).float().to(self._device)
            statistics = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
            with torch.no_grad():
                found = float(batch_loss(partial(self.gated.at, xi), *state.batch, state.recipe)[0])
                for buffer, before in statistics:
                    buffer.copy_(before)
            return found

        return loss

    def _learn(self, state: TrainingState) -> None:
        """Estimate what gates are worth from the batch at hand."""
        there = self._there
        xi, g = self.gated.xi.detach().cpu().double(), self.gated.xi.grad.cpu().double()
        loss = remembering(self._loss(state), xi[there], float(state.loss))
        delta, known = torch.zeros_like(xi), torch.zeros_like(self.open)
        delta[there], known[there] = self.estimator.delta(self.theta[there], xi[there], g[there], self._chosen, loss)
        if not bool(delta[known].isfinite().all()):
            raise Diverged(
                f"the slope of the loss in the gates is no longer finite at step {state.step + 1} in epoch "
                f"{state.epoch + 1}; try a lower learning rate."
            )
        self.steps.learn(delta, known)

    def _step(self, state: TrainingState) -> None:
        """Move the chances of gates by what is known."""
        look = state.step % REFRESH == 0
        if look or self._eta is None:
            self._look(state)
        theta = self.steps.step(self.theta, self._eta)
        if self.target is not None and self.budget.expected(theta) < self._wanted(state):
            # What has closed learns no more, and could be needed to leave as much as is wanted.
            theta = torch.maximum(theta, self.theta)
        self._move(theta)
        if look:
            self.attraction.update(self.theta, self.steps.mean, self.steps.seen > 0, self._norms)

    def _coefficients(self, theta: Tensor, nu: float) -> Tensor:
        return coefficients(self.complexity, theta, nu, self.kappa, self.alpha, self.choices.matching)

    def _look(self, state: TrainingState) -> None:
        """Take the complexity, and the norms of what gates multiply, as they are now; steer nu where it is."""
        if self.target is not None:
            self._steer(state)
        self._eta = self._coefficients(self.theta, self.nu)
        self.steps.scale = self.nu * self.unit_scale
        self._norms = self.gated.norms().cpu()

    def _steer(self, state: TrainingState) -> None:
        """Raise nu where the network is expected to be larger than it should be by now, lower it otherwise."""
        excess = self.budget.expected(self.theta) - self._wanted(state)
        self.nu *= math.exp(STEERING * REFRESH / state.total_steps * excess)

    def _wanted(self, state: TrainingState) -> float:
        """The share of the budget that should be left by now."""
        first = self.choices.start
        return first + (min(self.target.share, first) - first) * min(1.0, self._progress(state) / RAMP)

    def _close(self, state: TrainingState) -> None:
        """Close what is on its way to zero, and rebuild the network when that saves enough."""
        rate = self.steps.rates * (1 - state.recipe.momentum) / max(state.history[-1]["learning_rate"], 1e-12)
        going = self.attraction.closing(self.theta, self._norms, self._eta, state.recipe.weight_decay, rate)
        if self.target is not None:
            share = max(self.target.share, self._wanted(state))
            going = self.budget.affordable(self.theta, self.open & ~self.closed, going, share)
        self.closed |= going & self.open
        self._move(self.theta)
        alive = self._closure(self.open & ~self.closed)
        left, now = (float(self.complexity.relative(gates.double(), self.alpha)) for gates in (alive, self.open))
        if left < now and left <= (1 - self.choices.saving) * now:
            self._shrink(state, alive)
        else:
            self._see()

    def _shrink(self, state: TrainingState, alive: Tensor) -> None:
        gated, optimizer = shrink(self.gated, alive, state.optimizer)
        self.open = alive
        self._put(state, gated, optimizer)

    def _settle(self, state: TrainingState) -> None:
        """Decide all gates, and go on without them."""
        open_gates = self.open & ~self.closed
        if self.target is None:
            alive = self._closure(open_gates & (self.theta > 0.5))
        else:
            alive = self.budget.within(self.theta, open_gates)
        self._shrink(state, alive)
        self._unfold(state)

    def _unfold(self, state: TrainingState) -> None:
        """Take the gates off: they are decided."""
        self.theta = self.open.double()
        self.gated = None
        state.replace(self.model, state.optimizer)

    def _closure(self, alive: Tensor) -> Tensor:
        try:
            return self.whole.closure(alive)
        except InputError:
            other = " or raise kappa, so that layers go rather than units" if self.whole.layers else ""
            raise InputError(
                "everything would be pruned: no path leads from the input to the output any more. Lower nu (now "
                f"{self.nu:.3g}){other}."
            ) from None

    def _note(self, epoch: int, seconds: float, spent: float) -> None:
        count = {budget: float(self.complexity.expected(self.open.double(), budget)) for budget in BUDGETS}
        expected = {f"expected_{budget}": float(self.complexity.expected(self.theta, budget)) for budget in BUDGETS}
        layers = int((self.open & self.whole.is_layer).sum())
        units = int(self.open.sum()) - layers
        self.record.add(
            self.theta,
            epoch=epoch,
            seconds=seconds,
            training_macs=spent,
            units=units,
            layers=layers,
            nu=self.nu,
            **expected,
            **count,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "open": self.open,
            "theta": self.theta,
            "closed": self.closed,
            "nu": self.nu,
            "eta": self._eta,
            "norms": self._norms,
            "settled": self.gated is None,
            "generator": self.generator.get_state(),
            "steps": self.steps.state_dict(),
            "attraction": self.attraction.state_dict(),
            "record": self.record.state_dict(),
        }

    def load_state_dict(self, state: TrainingState, held: dict[str, Any]) -> None:
        held = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in held.items()}
        if len(held["open"]) != self.whole.count:
            raise InputError("the checkpoint is of a network with other gates.")
        self.theta, self.closed, self.nu = held["theta"], held["closed"], held["nu"]
        if held["settled"] or not held["open"].all():
            self._shrink(state, held["open"])
        self._see()
        self._move(self.theta)
        self._eta, self._norms = held["eta"], held["norms"]
        for part, name in ((self.steps, "steps"), (self.attraction, "attraction")):
            part.load_state_dict({key: value.cpu() for key, value in held[name].items()})
        self.generator.set_state(held["generator"])
        self.record.load_state_dict(held["record"])
        if held["settled"]:
            self._unfold(state)
