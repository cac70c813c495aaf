"""How a network is trained: every choice in one frozen record."""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import InputError, unknown_name
from ..registry import Registry
from ..validation import flag, one_of, real_number, whole_number
from .losses import LOSSES, AskedLoss, loss_name

__all__ = ["OPTIMIZERS", "RECIPES", "SCHEDULES", "Recipe", "recipe"]

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("milestones", "cosine", "constant")


def _option(default: Any, text: str, later: bool = False) -> Any:
    """A setting; one that came `later` changes nothing by its default for runs made before there was a choice."""
    return field(default=default, metadata={"help": text, "later": later})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training run; the help text of each is in its field's metadata.

    Raises
    ------
    InputError
        When a value is impossible.

    Examples
    --------
    >>> Recipe(epochs=10).schedule
    'milestones'
    >>> Recipe(epochs=-1)
    Traceback (most recent call last):
    topo.errors.InputError: epochs must be a whole number of at least 1, not -1.
    """

    epochs: int = _option(160, "passes over the training samples")
    batch_size: int = _option(128, "samples a step")
    optimizer: str = _option("sgd", "sgd or adamw")
    learning_rate: float = _option(0.1, "peak learning rate")
    momentum: float = _option(0.9, "momentum of sgd; first decay rate of adamw")
    nesterov: bool = _option(False, "Nesterov momentum (sgd)")
    weight_decay: float = _option(1e-4, "weight decay on every trained parameter")
    schedule: str = _option("milestones", "milestones, cosine or constant")
    milestones: tuple[float, ...] = _option(
        (0.5, 0.75), "when the learning rate drops, as fractions of the epochs (0.5 of 160 is epoch 80)"
    )
    decay: float = _option(0.1, "factor of the learning rate at each milestone")
    warmup: float = _option(0.0, "share of all steps over which the learning rate first rises linearly to its peak")
    loss: AskedLoss = _option(  # noqa: RUF009  (None does not change)
        None,
        "a name of topo list losses, or a function of outputs and targets; none: cross-entropy for classes, mse for "
        "numbers, bce-with-logits for bools",
        later=True,
    )
    label_smoothing: float = _option(0.0, "share of the target spread evenly over all classes")
    gradient_clip: float | None = _option(None, "largest norm of the whole gradient; none: not clipped")
    freeze_biases: bool = _option(False, "leave biases of convolution and linear layers untrained")
    augment: bool = _option(True, "the dataset's random crops and flips")
    bf16: bool = _option(False, "bfloat16 autocast (CUDA only)")
    channels_last: bool = _option(False, "channels-last memory layout of images and convolutions")
    fused: bool = _option(False, "the optimizer's step as one operation, faster and rounded otherwise", later=True)
    evaluate_every: int = _option(
        1, "epochs from one look at the test samples to the next; the last has one", later=True
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", _numbers(self.milestones))
        for name in ("epochs", "batch_size", "evaluate_every"):
            whole_number(name, getattr(self, name), minimum=1)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if self.loss is not None and not callable(self.loss):
            LOSSES.entry(self.loss)
        one_of("schedule", self.schedule, SCHEDULES)
        real_number("learning_rate", self.learning_rate, above=0)
        real_number("weight_decay", self.weight_decay, minimum=0)
        real_number("decay", self.decay, above=0, below=1)
        for name in ("momentum", "label_smoothing", "warmup"):
            real_number(name, getattr(self, name), minimum=0, below=1)
        if self.gradient_clip is not None:
            real_number("gradient_clip", self.gradient_clip, above=0)
        for milestone in self.milestones:
            if not 0 < milestone < 1:
                raise InputError(
                    f"milestones are fractions of the epochs, between 0 and 1, not {milestone:g}; "
                    f"give epoch 80 of 160 as 0.5."
                )
        for option in fields(self):
            if isinstance(option.default, bool):
                flag(option.name, getattr(self, option.name))
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs momentum above 0.")

    def decides(self) -> dict[str, Any]:
        """All that decides what a run computes, by which studies and checkpoints know it again.

        Returns
        -------
        dict
            Setting -> value; settings that came later than others are left out at their defaults.

        Examples
        --------
        >>> "fused" in Recipe().decides(), Recipe(fused=True).decides()["fused"]
        (False, True)
        """
        later = {option.name: option.default for option in fields(self) if option.metadata["later"]}
        values = asdict(replace(self, loss=None)) | {"loss": None if self.loss is None else loss_name(self.loss)}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}


def recipe(name: str | Recipe = "reference", **overrides: Any) -> Recipe:
    """A recipe by name, with some of its settings changed.

    Parameters
    ----------
    name
        One of `RECIPES`, or a recipe.
    overrides
        Settings of `Recipe` that take other values.

    Returns
    -------
    Recipe
        A new record; recipes do not change.

    Raises
    ------
    InputError
        When the name or a setting is unknown (it names the nearest right one) or a value is impossible.

    Examples
    --------
    >>> recipe("reference", epochs=20).epochs
    20
    >>> recipe("reference", epoch=20)
    Traceback (most recent call last):
    topo.errors.InputError: unknown recipe setting 'epoch'; did you mean 'epochs'? Known: augment, ...
    """
    known: dict[str, Field] = {option.name: option for option in fields(Recipe)}
    for key in overrides:
        if key not in known:
            raise unknown_name("recipe setting", key, known)
    return replace(name if isinstance(name, Recipe) else RECIPES[name], **overrides)


def _numbers(values: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise InputError(f"milestones must be a list of fractions such as [0.5, 0.75], not {values!r}.") from None


RECIPES: Registry[Recipe] = Registry("recipe")
RECIPES.register(
    "reference", summary="The recipe of the published tables: 160 epochs of SGD, milestones at 80 and 120."
)(Recipe(freeze_biases=True))
RECIPES.register(
    "reference-wide", summary="The reference recipe with the weight decay used for wide residual networks."
)(Recipe(freeze_biases=True, weight_decay=5e-4))
RECIPES.register("digits", summary="A few seconds on the 8x8 digits.")(
    Recipe(epochs=15, batch_size=64, schedule="cosine", warmup=0.1, weight_decay=5e-4, augment=False)
)
RECIPES.register("text", summary="A few seconds of AdamW on a small language model.")(
    Recipe(
        epochs=8,
        batch_size=32,
        optimizer="adamw",
        learning_rate=4e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=1.0,
        augment=False,
    )
)
RECIPES.register("sequences", summary="A few seconds of AdamW on a recurrent network.")(
    Recipe(
        epochs=20,
        batch_size=32,
        optimizer="adamw",
        learning_rate=1e-2,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        gradient_clip=1.0,
        augment=False,
    )
)
RECIPES.register("table", summary="A second of SGD on a table of a few hundred rows.")(
    Recipe(
        epochs=20,
        batch_size=32,
        learning_rate=0.02,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.1,
        augment=False,
    )
)
RECIPES.register("cifar-short", summary="CIFAR in 20 epochs: cosine, warm-up, label smoothing, bfloat16 on CUDA.")(
    Recipe(
        epochs=20,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        bf16=True,
        channels_last=True,
    )
)
RECIPES.register("small-images", summary="For some 10,000 images of 16x16 pixels: cosine, warm-up.")(
    Recipe(
        epochs=20,
        nesterov=True,
        weight_decay=5e-4,
        schedule="cosine",
        warmup=0.1,
        channels_last=True,
        fused=True,
        evaluate_every=4,
    )
)
RECIPES.register("adamw", summary="AdamW with cosine schedule, warm-up and gradient clipping, for transformers.")(
    Recipe(
        epochs=100,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.05,
        label_smoothing=0.1,
        gradient_clip=1.0,
        bf16=True,
    )
)
