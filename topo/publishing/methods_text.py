"""A paragraph of methods, written from what a study ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError, counted
from ..features.registry import columns_of, select
from ..pruning import PRUNERS
from ..study import Study
from ..training.recipes import Recipe
from .bibliography import references

__all__ = ["methods"]

STAGES = {
    "initial": "Fresh networks were pruned by {} and then trained.",
    "trains": "Fresh networks were pruned by {}, training before the masks were final, and then trained.",
    "training": "While they were trained, networks were pruned by {}.",
    "trained": "Trained dense networks were pruned by {} and trained by the same recipe once more.",
}
LIBRARIES = {"torch": "PyTorch", "igraph": "igraph", "numpy": "NumPy", "scipy": "SciPy"}


def methods(study: Study | str | Path, *, latex: bool = False) -> str:
    """What a study did, in sentences for the methods section of a paper, from its settings and its results.

    Parameters
    ----------
    study
        The study or its folder; at least one network has to be finished.
    latex
        Write references as ``\\cite{key}``, of the keys that `topo.publishing.cite` writes; as ``[key]`` otherwise.

    Returns
    -------
    str
        A few sentences, each about what was run.

    Raises
    ------
    InputError
        When nothing of the study has run.
    """
    study = study if isinstance(study, Study) else Study.load(study)
    table = study.results()
    cites = _Citations(latex)
    sentences = [
        *_networks(study, table, cites),
        *_pruning(study, cites),
        _training(study.config.recipe.resolved()),
        _small_dense(table, cites),
        *_measuring(study, cites),
        _outcome(table),
        *_environment(study, table),
    ]
    text = " ".join(sentence for sentence in sentences if sentence)
    return re.sub("([&%$#_])", r"\\\1", text) if latex else text


class _Citations:
    """Keys of references, as they stand in the text."""

    def __init__(self, latex: bool) -> None:
        self._latex = latex

    def __call__(self, kind: str, name: str) -> str:
        keys = [reference.key for reference in references() if f"{kind} {name}" in reference.used]
        if not keys:
            return ""
        return f"~\\cite{{{','.join(keys)}}}" if self._latex else f" [{', '.join(keys)}]"


def _networks(study: Study, table: pd.DataFrame, cites: _Citations) -> list[str]:
    config = study.config
    datasets = []
    for choice in config.datasets:
        rows = table[table["dataset"] == (choice.label or choice.name)]
        size = _size(study, rows)
        datasets.append(f"{_called(choice)}{cites('dataset', choice.name)}{size}")
    models = [f"{_called(choice)}{cites('model', choice.name)}" for choice in config.models]
    seeds = len(config.seeds)
    from_seeds = f"{seeds} random initialisations" if seeds > 1 else "one random initialisation"
    return [f"We trained {_joined(models)} on {_joined(datasets)}, from {from_seeds} each."]


def _size(study: Study, rows: pd.DataFrame) -> str:
    """How large the data are: samples where the data are at hand, else what accuracies are shares of."""
    rows = rows[rows["test_samples"].notna()] if "test_samples" in rows.columns else rows[:0]
    if rows.empty:
        return ""
    first = rows.iloc[0]
    classes, answers = first.get("classes"), int(first["test_samples"])
    facts = [counted(int(classes), "class")] if pd.notna(classes) else []
    try:
        data = study.dataset(first["cell"])
    except (InputError, OSError):
        return f" ({', '.join([*facts, f'{answers:,} test answers'])})"
    if data.test is None:
        facts.append(counted(len(data.train), "sample"))
    else:
        facts.append(f"{len(data.train):,} training and {counted(len(data.test), 'test sample')}")
    if answers != len(data.test or data.train):
        facts.append(f"{answers:,} test answers")
    return f" ({', '.join(facts)})"


def _pruning(study: Study, cites: _Citations) -> list[str]:
    sparsities = [f"{100 * sparsity:g}%" for sparsity in study.config.sparsities]
    sentences = []
    for stage, sentence in STAGES.items():
        members = [choice for choice in study.config.pruners if _applied(choice) == stage]
        if members:
            names = [f"{_called(c)}{cites('pruner', c.name)}{_settings(c.settings)}" for c in members]
            sentences.append(sentence.format(_joined(names)))
    share = "sparsities" if len(sparsities) > 1 else "a sparsity"
    structured = any(PRUNERS.entry(choice.name).family == "structured" for choice in study.config.pruners)
    exact = (
        " (structured algorithms remove whole units until it is reached, and take back what still fits)"
        if structured
        else ""
    )
    return (
        [*sentences, f"Each algorithm removed weights to {share} of {_joined(sparsities)}{exact}."] if sentences else []
    )


def _training(recipe: Recipe) -> str:
    epochs = f"{recipe.epochs} epochs" if recipe.epochs > 1 else "one epoch"
    optimizer = "AdamW" if recipe.optimizer == "adamw" else "SGD"
    nesterov = "Nesterov " if recipe.nesterov else ""
    momentum = f", {nesterov}momentum {recipe.momentum:g}" if recipe.optimizer == "sgd" else ""
    drops = _joined([f"{100 * milestone:g}%" for milestone in recipe.milestones]) if recipe.milestones else ""
    schedule = {
        "constant": "constant",
        "cosine": "annealed by a cosine",
        "milestones": f"multiplied by {recipe.decay:g} after {drops} of the epochs" if drops else "constant",
    }[recipe.schedule]
    rising = f"rose linearly over the first {100 * recipe.warmup:g}% of the steps and " if recipe.warmup else ""
    further = [
        *([f"label smoothing of {recipe.label_smoothing:g}"] if recipe.label_smoothing else []),
        *([f"gradients clipped to a norm of {recipe.gradient_clip:g}"] if recipe.gradient_clip else []),
        *(["the biases of layers left untrained"] if recipe.freeze_biases else []),
        *(["bfloat16 where it ran on CUDA"] if recipe.bf16 else []),
    ]
    augmented = ", under random crops and flips where the data have them" if recipe.augment else ""
    return (
        f"Training took {epochs} of {optimizer} in batches of {recipe.batch_size}{augmented}, with a "
        f"learning rate of {recipe.learning_rate:g} that {rising}was {schedule}{momentum} and weight decay "
        f"{recipe.weight_decay:g}{f', with {_joined(further)}' if further else ''}."
    )


def _small_dense(table: pd.DataFrame, cites: _Citations) -> str:
    if "small_dense_epochs" not in table.columns or not table["small_dense_epochs"].notna().any():
        return ""
    return (
        "Beside every network of a structured algorithm a dense one of the same architecture, narrowed to at most the "
        "multiply-accumulates of what was left, was trained from scratch for as many epochs as that had been in all"
        f"{cites('controls', 'dense_of_equal_cost')}."
    )


def _measuring(study: Study, cites: _Citations) -> list[str]:
    config = study.config
    if not config.encodings:
        return []
    encodings = [f"{encoding.name}{cites('encoding', encoding.name)}" for encoding in config.encodings]
    chosen = {entry.name: entry for e in config.encodings for entry in select(config.metrics, layers=e.is_layered)}
    categories = list(dict.fromkeys(entry.family for entry in chosen.values()))
    columns = {column for entry in chosen.values() for column in columns_of(entry)}
    sentence = (
        f"Sparse networks were encoded as {_joined(encodings)} graphs, of which "
        f"{counted(len(columns), 'topometric', 'was', 'were')} computed ({_joined(categories)})."
    )
    controls = max(encoding.controls or config.controls for encoding in config.encodings)
    if controls:
        cited = cites("controls", "z-scores")
        sentence += f" Each was compared with {controls} random masks of as many weights in every layer{cited}."
    return [sentence]


def _outcome(table: pd.DataFrame) -> str:
    counts = table["status"].value_counts()
    dense = int((table["pruner"] == "dense").sum())
    others = [f"{int(counts[status])} {status}" for status in counts.index if status != "finished"]
    told = f"; {_joined(others)}" if others else ""
    return (
        f"Of {counted(len(table), 'network')}, {dense} of them dense, {int(counts.get('finished', 0))} finished{told}."
    )


def _environment(study: Study, table: pd.DataFrame) -> list[str]:
    facts = []
    finished = table[table["status"] == "finished"]
    # Networks of one origin, of which there are few, name it by one hash.
    for key in finished.drop_duplicates("provenance")["cell"] if "provenance" in finished.columns else ():
        try:
            facts.append(study.provenance(key)["environment"])
        except InputError:  # computed before provenance was kept
            continue
    if not facts:
        return []
    told = pd.DataFrame(facts).drop_duplicates()
    versions = [f"topo {_values(told['topo'])}", f"Python {_values(told['python'])}"]
    versions += [f"{label} {_values(told[name])}" for name, label in LIBRARIES.items() if name in told.columns]
    threads = told["threads"].astype(int)
    some = _values(threads)
    return [
        f"Everything ran on {_values(told['device']).upper()} with {some} thread{'s' * (some != '1')} a process, under "
        f"{_joined(versions)}."
    ]


def _values(column: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(str(value) for value in column))


def _applied(choice: Any) -> str:
    """The stage at which a pruner prunes, with one more for those that train before they have masks."""
    trains = choice.applied_at == "initial" and PRUNERS.entry(choice.name).info.get("trains")
    return "trains" if trains else choice.applied_at


def _called(choice: Any) -> str:
    return choice.label or choice.name


def _settings(settings: dict[str, Any]) -> str:
    return f" ({', '.join(f'{name} {value}' for name, value in settings.items())})" if settings else ""


def _joined(names: Sequence[str]) -> str:
    """Names in a sentence: commas, and an *and* before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
