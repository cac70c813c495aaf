"""Training by recipe: deterministic by seed, masks held, divergence recorded."""

from .batch_norm import recalibrate
from .callback import Callback, TrainingState
from .evaluation import evaluate
from .loop import Diverged, Training, batch_loss, train
from .losses import LOSSES
from .recipes import OPTIMIZERS, RECIPES, SCHEDULES, Recipe, recipe
from .schedule import learning_rate
from .targets import TARGETS, measure_targets
from .tracking import TRACKERS, Forgiving, MLflow, TensorBoard, Tracker

__all__ = [
    "LOSSES",
    "OPTIMIZERS",
    "RECIPES",
    "SCHEDULES",
    "TARGETS",
    "TRACKERS",
    "Callback",
    "Diverged",
    "Forgiving",
    "MLflow",
    "Recipe",
    "TensorBoard",
    "Tracker",
    "Training",
    "TrainingState",
    "batch_loss",
    "evaluate",
    "learning_rate",
    "measure_targets",
    "recalibrate",
    "recipe",
    "train",
]
