"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from ..dag.example import unfit_inputs_named
from ..datasets import as_dataset
from ..datasets.inputs import IGNORED, Inputs, call_model
from ..device import resolve_device
from ..errors import InputError, counted, failures_named
from ..masks import Masks
from ..module_modes import own_modes
from ..randomness import own_randomness
from .callback import Callback, TrainingState
from .evaluation import check_fit, dtype_of, full_precision, measure_split
from .losses import AskedLoss, find_loss
from .memory_format import in_memory_format, leave_channels_last, weights_in_channels_last
from .predictions import logits_of
from .recipes import Recipe
from .recipes import recipe as find_recipe
from .resume import resume, save
from .schedule import learning_rate

__all__ = ["Diverged", "Training", "batch_loss", "train"]

logger = logging.getLogger(__name__)

COLUMNS = ["epoch", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"]
COLUMNS_OF_NUMBERS = ["epoch", "learning_rate", "train_loss", "test_loss", "test_rmse", "test_r2", "seconds"]
CHECK_EVERY = 50  # steps between two looks at the loss on a device, where looking waits for it


@dataclass(frozen=True, eq=False)
class Training:
    """Outcome of a training run.

    Attributes
    ----------
    history
        One row a finished epoch: epoch (from 1), learning_rate (of its last step), train_loss and
        train_accuracy (over the epoch's batches as they were trained on), test_loss and test_accuracy (not a number
        without test samples and in epochs that the recipe does not evaluate), seconds. Where targets are numbers there
        are test_rmse and test_r2 in the place of accuracies.
    status
        ``"finished"`` or ``"diverged"``.
    reason
        Why it diverged; empty otherwise.
    masks
        The masks held at the end, which callbacks may have changed.
    """

    history: pd.DataFrame
    status: str
    reason: str = ""
    masks: Masks | None = None

    def __repr__(self) -> str:
        last = {} if self.history.empty else self.history.iloc[-1].dropna()
        shown = [f"{name}={last[name]:.4f}" for name in ("test_loss", "test_accuracy", "test_r2") if name in last]
        return f"Training({', '.join([self.status, counted(len(self.history), 'epoch'), *shown])})"


class Diverged(InputError):
    """The loss is no longer a finite number. `train` records it; what needs the trained network raises it."""


def train(
    model: nn.Module,
    data: Any,
    recipe: Recipe | str = "reference",
    *,
    masks: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    loss: AskedLoss = None,
) -> Training:
    """Train a network in place; it stays on the device, and every module of it is in the mode it was in.

    The same model, data, recipe, masks and seed give the same weights on one device. The global random
    state stays as it was. A loss that becomes infinite or not a number ends the run with status ``"diverged"``.

    Parameters
    ----------
    model
        Returns logits (N, classes), or (N, positions, classes) for targets of positions, such as the next tokens of a
        text; or an object that has them as ``logits``; or, for numbers, a tensor of the shape of the targets.
    data
        A dataset of `topo.datasets`; or (inputs, targets) tensors, where inputs are a tensor, a tuple or a dict of
        tensors, a ``torch.utils.data.Dataset``, a ``DataLoader`` or a list of batches, as
        `topo.datasets.as_dataset` takes them.
    recipe
        A `Recipe` or the name of one.
    masks
        `Masks`, or bool tensors by parameter name: weights to prune before the first step and to keep at exactly zero.
    seed
        Order of the batches, augmentation and dropout.
    device
        ``"auto"`` (CUDA when it is there), ``"cpu"`` or ``"cuda"``.
    progress
        Show a progress bar; by default on a terminal. Elsewhere one line is logged at the end.
    callbacks
        Called after every step and epoch, in order.
    checkpoint
        A file, written after every epoch. Where it exists, the run goes on from it, and ends as it would have
        without the interruption.
    loss
        A name of `topo.training.LOSSES`, or a function of outputs and targets that returns their mean loss; unless
        given that of the recipe, and without one that of the targets: cross-entropy for whole numbers, mse for numbers,
        bce-with-logits for bools.

    Returns
    -------
    Training
        History, status and the masks held at the end.

    Raises
    ------
    InputError
        When the data are unfit, the model does not fit the data or the masks the model, or the checkpoint is of another
        run.

    Examples
    --------
    >>> from topo.datasets import load
    >>> from topo.models import build
    >>> from topo.training import recipe
    >>> net = build("digits-mlp", input_shape=(1, 8, 8))
    >>> run = train(net, load("digits", subset=20), recipe("digits", epochs=2), device="cpu")
    >>> run.status, len(run.history)
    ('finished', 2)
    """
    recipe = find_recipe(recipe) if loss is None else find_recipe(recipe, loss=loss)
    target = resolve_device(device)
    if not isinstance(model, nn.Module):
        raise InputError(f"training changes a model in place, so it needs an nn.Module; got {type(model).__name__}.")
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise InputError(
            "the model was made inside torch.inference_mode, where parameters cannot be trained; build it outside, or "
            "train copy.deepcopy(model)."
        )
    model.to(target)
    dataset = as_dataset(data).to(target, dtype_of(model))
    check_fit(model, dataset, recipe.loss)
    status, reason = "finished", ""
    with ExitStack() as stack:
        stack.enter_context(own_modes(model))
        stack.enter_context(own_randomness(seed, target))
        if recipe.freeze_biases:
            stack.enter_context(_frozen_biases(model))
        if target.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
        leave_channels_last(model)
        if recipe.channels_last:
            stack.enter_context(weights_in_channels_last(model))
        state = TrainingState(
            model=model,
            optimizer=_optimizer(model, recipe),
            dataset=dataset,
            recipe=recipe,
            generator=torch.Generator().manual_seed(seed),
            steps_per_epoch=dataset.n_batches("train", recipe.batch_size),
            seed=seed,
        )
        stack.callback(state.release)
        state.hold(masks if masks is None or isinstance(masks, Masks) else Masks(masks))
        advance = stack.enter_context(_progress_bar(progress, recipe.epochs))
        try:
            _tell(callbacks, Callback.on_start, state)
            if checkpoint is not None and resume(state, callbacks, checkpoint):
                for row in state.history:
                    advance(row)
            while state.epoch < recipe.epochs:
                _epoch(state, callbacks)
                if checkpoint is not None:
                    save(state, callbacks, checkpoint)
                advance(state.history[-1])
            _tell(callbacks, Callback.on_end, state)
        except Diverged as error:
            status, reason = "diverged", str(error)
    history = pd.DataFrame(state.history, columns=_columns(state)).astype({"epoch": int})
    _log(history, status, reason)
    return Training(history, status, reason, state.masks)


def _columns(state: TrainingState) -> list[str]:
    of_numbers = find_loss(state.recipe.loss, state.dataset.train.targets).kind == "numbers"
    return COLUMNS_OF_NUMBERS if of_numbers else COLUMNS


def _epoch(state: TrainingState, callbacks: Sequence[Callback]) -> None:
    """Train one epoch, evaluate, append the row and call back."""
    model, recipe, dataset = state.model, state.recipe, state.dataset
    started = time.perf_counter()
    model.train()
    check_every = 1 if dataset.device.type == "cpu" else CHECK_EVERY
    total_loss, total_right = torch.zeros(2, dtype=torch.float64, device=dataset.device)
    batches = dataset.batches("train", recipe.batch_size, generator=state.generator, augment=recipe.augment)
    for inputs, targets in batches:
        rate = learning_rate(recipe, state.step, state.steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.batch = inputs, targets
        loss, right = batch_loss(model, inputs, targets, recipe)
        state.loss = loss.detach()
        count = (targets != IGNORED).sum() if dataset.train.is_of_positions else len(targets)
        total_loss += state.loss.double() * count
        total_right += right
        if state.step % check_every == 0:
            _require_finite(total_loss, f"the training loss became {{}} at step {state.step + 1}", state)
        if not loss.requires_grad:
            raise InputError(
                "the loss of a batch does not depend on any parameter that is trained, so that it has no gradient; "
                "compute it from the model's outputs by operations that can be differentiated, and freeze only what "
                "need not learn."
            )
        penalties = [penalty for penalty in _tell(callbacks, Callback.penalty, state) if penalty is not None]
        state.optimizer.zero_grad(set_to_none=True)
        sum(penalties, loss).backward()
        _tell(callbacks, Callback.on_gradients, state)
        state.optimizer.step()
        state.step += 1
        _tell(callbacks, Callback.on_step_end, state)
    _require_finite(total_loss, "the training loss became {}", state)
    test: dict[str, float] = {}
    due = (state.epoch + 1) % recipe.evaluate_every == 0 or state.epoch + 1 == recipe.epochs
    if dataset.test is not None and due:
        test = measure_split(model, dataset, "test", loss=recipe.loss)
        _require_finite(torch.tensor(test["loss"]), "the test loss became {}", state)
    train_loss, train_accuracy = (torch.stack([total_loss, total_right]) / dataset.train.n_answers).tolist()
    state.epoch += 1
    row = {"epoch": state.epoch, "learning_rate": rate, "train_loss": train_loss, "train_accuracy": train_accuracy}
    row |= {f"test_{name}": value for name, value in test.items()} | {"seconds": time.perf_counter() - started}
    state.history.append({name: row.get(name, math.nan) for name in _columns(state)})
    _tell(callbacks, Callback.on_epoch_end, state)


def _tell(callbacks: Sequence[Callback], event: Callable[..., Any], state: TrainingState) -> list[Any]:
    """Call this method of each callback; what they return."""
    answers = []
    for callback in callbacks:
        with failures_named(callback.label, torch.OutOfMemoryError):
            answers.append(getattr(callback, event.__name__)(state))
    return answers


def batch_loss(
    model: Callable[..., Any], inputs: Inputs, targets: torch.Tensor, recipe: Recipe
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss of a batch and the number of right answers.

    Parameters
    ----------
    model
        From inputs to logits, or to an object that has them as ``logits``.
    inputs, targets
        A batch, on one device; targets of samples or of positions, where the mean is over all that are not -100.
    recipe
        Loss, label smoothing, memory layout, and on CUDA bfloat16.

    Returns
    -------
    tuple
        Two tensors of one number each; the loss has a gradient. Answers that are numbers are not right or wrong: NaN.

    Raises
    ------
    InputError
        When outputs and targets do not fit, or the model does not take the inputs, such as batch norms one sample.
    """
    kind = targets.device.type
    inputs = in_memory_format(inputs, model, channels_last=recipe.channels_last)
    bf16 = torch.autocast(kind, dtype=torch.bfloat16) if kind == "cuda" and recipe.bf16 else nullcontext()
    with bf16:
        try:
            output = call_model(model, inputs)
        except ValueError:  # such as batch norms raise of one sample
            with unfit_inputs_named(inputs):
                raise
    output = full_precision(output)
    found = find_loss(recipe.loss, targets)
    pair = found.paired(output, targets)
    right = None if pair is None else found.right(*pair)
    if found.own:
        loss = found(output, targets)
    elif pair is not None:
        loss = found.of_pair(*pair, label_smoothing=recipe.label_smoothing)
    elif logits_of(output) is None:
        raise InputError("the model returns no tensor of logits in training, as it does in evaluation.")
    else:
        raise found.unfit(output, targets)
    return loss, torch.full_like(loss.detach(), math.nan) if right is None else right


def _require_finite(value: torch.Tensor, message: str, state: TrainingState) -> None:
    number = float(value)
    if not math.isfinite(number):
        raise Diverged(message.format(number) + f" in epoch {state.epoch + 1}; try a lower learning rate.")


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError(
            "there is nothing to train: no parameter of the model requires a gradient; unfreeze some, as by "
            "model.requires_grad_(True)."
        )
    # None leaves the choice to torch.
    fused = recipe.fused or None
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters,
            recipe.learning_rate,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    return torch.optim.SGD(
        parameters,
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=fused,
    )


@contextmanager
def _frozen_biases(model: nn.Module) -> Iterator[None]:
    """Biases of convolution and linear layers keep their values; they are trainable again afterwards."""
    layers = (module for module in model.modules() if isinstance(module, nn.modules.conv._ConvNd | nn.Linear))
    biases = [layer.bias for layer in layers if layer.bias is not None and layer.bias.requires_grad]
    for bias in biases:
        bias.requires_grad_(False)
    try:
        yield
    finally:
        for bias in biases:
            bias.requires_grad_(True)


@contextmanager
def _progress_bar(wanted: bool | None, epochs: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """Yield a function that takes an epoch's row and advances the bar, if one is shown."""
    console = Console(stderr=True)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda row: None
        return
    with Progress(console=console) as bar:
        task = bar.add_task("training", total=epochs)

        def advance(row: dict[str, float]) -> None:
            text = f"epoch {row['epoch']}: loss {row['train_loss']:.3f}, {_quality(row)}"
            bar.update(task, advance=1, description=text)

        yield advance


def _quality(row: Mapping[str, Any], digits: int = 3) -> str:
    """What an epoch's row says of the test samples."""
    name = "test_accuracy" if "test_accuracy" in row else "test_r2"
    return f"{name.replace('_', ' ')} {row[name]:.{digits}f}"


def _log(history: pd.DataFrame, status: str, reason: str) -> None:
    seconds = history["seconds"].sum()
    if status == "finished":
        last = history.iloc[-1]
        logger.info("trained %d epochs in %.1f s, %s", last["epoch"], seconds, _quality(last, 4))
    else:
        logger.warning("training stopped after %d whole epochs (%.1f s): %s", len(history), seconds, reason)
