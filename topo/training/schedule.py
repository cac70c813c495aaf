"""The learning rate at each step."""

from __future__ import annotations

import math

from .recipes import Recipe

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one optimizer step, counted from 0.

    Warm-up rises linearly over its steps and reaches the peak on the last of them. Then: ``constant`` stays;
    ``milestones`` multiplies by `decay` from each milestone on; ``cosine`` falls from the
    peak along half a cosine towards 0 at the end (Loshchilov & Hutter, SGDR, ICLR 2017, equation 5).

    Parameters
    ----------
    recipe
        Peak, schedule, warm-up and number of epochs.
    step
        Number of the step.
    steps_per_epoch
        How many steps an epoch has.

    Returns
    -------
    float
        For this step.

    Examples
    --------
    >>> from topo.training.recipes import Recipe
    >>> [round(learning_rate(Recipe(epochs=4, learning_rate=1.0), step, 1), 6) for step in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """
    total = recipe.epochs * steps_per_epoch
    warmup = round(recipe.warmup * total)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "cosine":
        progress = (step - warmup) / max(total - warmup, 1)
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "milestones":
        passed = sum(step >= milestone * total - 1e-6 for milestone in recipe.milestones)
        return recipe.learning_rate * recipe.decay**passed
    return recipe.learning_rate
