"""The cells of a study: one network each, named by all that decides what becomes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import counted
from ..features import METRICS
from ..features.registry import select
from ..own_code import is_file_name
from ..registry import Source
from ..training import Recipe
from .config import StudyConfig
from .entries import DatasetChoice, EncodingChoice, ModelChoice, PrunerChoice, TargetChoice

__all__ = ["FORMAT", "Cell", "Import", "Networks", "Planned", "cells_of", "registered"]

T = TypeVar("T")
N = TypeVar("N", bound="Cell | Planned")

SHOWN = 4
"""Names that are written out where a list of networks is shown."""

FORMAT = 1
"""Version of what a cell computes; raised when the same settings come to give other results."""


class Planned(NamedTuple):
    """A cell's key and the columns of the results that say which network it is.

    Attributes
    ----------
    key
        Key of the cell.
    identity
        Column -> value.
    """

    key: str
    identity: dict[str, Any]


class Import(NamedTuple):
    """Own code that a study imports: a file or a module, and the hash of the file's content.

    Attributes
    ----------
    source
        Path of a Python file, or name of a module.
    digest
        SHA-256 of the file; empty for a module.
    """

    source: str
    digest: str


class Shared:
    """What the cells of one study have in common, worked out once: a hundred thousand of them are planned in seconds.

    It holds the objects that it is asked about, so that none of them can be taken for another.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return Shared, ()  # a process that is sent one cell makes its own

    def once(self, name: str, about: Any, make: Callable[[], T]) -> T:
        """What `make` returns; the same object for the same name and object.

        Parameters
        ----------
        name
            What is made.
        about
            The object that it is made of.
        make
            Makes it.

        Returns
        -------
        object
            What was made the first time.
        """
        place = (name, id(about))
        if place not in self._known:
            self._known[place] = (about, make())
        return self._known[place][1]

    def text(self, value: Any) -> str:
        """A value as JSON.

        Parameters
        ----------
        value
            A number, or what `once` has returned.

        Returns
        -------
        str
            With sorted keys.
        """

        def dumped() -> str:
            return json.dumps(value, sort_keys=True, default=list)

        return self.once("text", value, dumped) if isinstance(value, dict | list) else dumped()


@dataclass(frozen=True)
class Cell:
    """One network of a study: a dense baseline when `pruner` is None, else a sparse one.

    `encodings` is empty where nothing is encoded; `baseline` is the dense network of a sparse one. Where the data
    lies and which device computes do not decide the result, so a study begun on one machine can be finished and read
    on another; each row records its device.

    Attributes
    ----------
    dataset, model, pruner
        What is chosen, with settings.
    sparsity
        Share of weights that go; 0 for a baseline.
    seed
        Seeds everything random.
    recipe
        How the network is trained.
    encodings, metrics
        What is measured; metrics None for all.
    targets
        What is asked of the trained network beside its accuracy.
    dense_of_equal_cost
        Whether a dense network of its cost is trained beside a structured one.
    save_weights, save_trajectory
        What is kept beside the row.
    track
        What follows the training, as of `topo.training.TRACKERS`, and the name of the experiment there.
    data_root
        Folder of the datasets.
    imports
        Own code that is imported first.
    baseline
        The dense network of a sparse one.
    """

    dataset: DatasetChoice
    model: ModelChoice
    pruner: PrunerChoice | None
    sparsity: float
    seed: int
    recipe: Recipe
    encodings: tuple[EncodingChoice, ...]
    metrics: tuple[str, ...] | None
    targets: tuple[TargetChoice, ...] = ()
    dense_of_equal_cost: bool = False
    save_weights: bool = False
    save_trajectory: bool = False
    track: tuple[str, str] | None = None
    data_root: str | None = None
    imports: tuple[Import, ...] = ()
    baseline: Cell | None = None
    shared: Shared = field(default_factory=Shared, repr=False, compare=False)

    def decides(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values."""
        once, encodings = self.shared.once, self.encodings
        decides = {
            "format": FORMAT,
            "dataset": once("dataset", self.dataset, self.dataset.decides),
            "model": once("model", self.model, self.model.decides),
            "pruner": once("pruner", self.pruner, self.pruner.decides) if self.pruner else None,
            "sparsity": self.sparsity,
            "seed": self.seed,
            "recipe": once("recipe", self.recipe, self.recipe.decides),
            "encodings": once("encodings", encodings, lambda: [encoding.decides() for encoding in encodings]),
            "metrics": once("metrics", self.metrics, lambda: sorted(self.metrics or ()))
            if self.metrics and encodings
            else None,
        }
        controls = once("controls", encodings, lambda: [encoding.controls or 0 for encoding in encodings])
        if self.pruner is not None and any(controls):
            decides["controls"] = controls
        if self.targets:
            decides["targets"] = once("targets", self.targets, lambda: [target.decides() for target in self.targets])
        if self.dense_of_equal_cost:
            decides["dense_of_equal_cost"] = True
        own = {source.digest for source in self.own_sources()}
        if own:  # one file of a study's own code may use another
            decides["code"] = sorted(own | {code.digest for code in self.imports})
        return decides

    def own_sources(self) -> Iterator[Source]:
        """Where what the cell uses is defined, if not in this package."""
        once = self.shared.once
        for choice in filter(None, (self.dataset, self.model, *self.encodings, *self.targets, self.pruner)):
            source = once("source", choice, partial(getattr, choice, "source"))
            if source is not None and not source.built_in:
                yield source
        if self.encodings:
            yield from once("sources", self.metrics, lambda: _metric_sources(self.metrics))

    @cached_property
    def key(self) -> str:
        """By what the cell is called on disk: 16 hexadecimal digits."""
        decides = self.decides()
        # As json.dumps with sorted keys writes it, from parts that many cells share.
        code = decides.pop("code", None)
        parts = {name: self.shared.text(value) for name, value in decides.items()}
        if code is not None:
            parts["code"] = json.dumps(code)
        text = ", ".join(f'"{name}": {parts[name]}' for name in sorted(parts))
        return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()[:16]

    @property
    def needs_dense(self) -> bool:
        """Whether the pruner works on the trained dense network."""
        return self.pruner is not None and self.pruner.applied_at == "trained"

    @property
    def dataset_root(self) -> Path | None:
        """Folder of the dataset: its own `root`, else the one of its name in the study's `data_root`."""
        if self.dataset.root is not None:
            return Path(self.dataset.root).expanduser()
        return Path(self.data_root).expanduser() / self.dataset.name if self.data_root is not None else None

    @property
    def planned(self) -> Planned:
        """Its key and identity."""
        return Planned(self.key, self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """The columns of the results that say which network it is."""
        return {
            "dataset": self.dataset.label,
            "model": self.model.label,
            "pruner": self.pruner.label if self.pruner else "dense",
            "family": self.pruner.family if self.pruner else "dense",
            "sparsity": self.sparsity,
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        return f"<Cell {self}>"

    def __str__(self) -> str:
        pruner = f"{self.pruner.label} {self.sparsity:g}" if self.pruner else "dense"
        return f"{self.dataset.label} {self.model.label} {pruner} seed {self.seed}"


class Networks(list[N]):
    """Cells, or what a plan says of them, in a list that is shown in one line."""

    def __repr__(self) -> str:
        identities = [one.identity for one in self]
        sparse = [identity for identity in identities if identity["pruner"] != "dense"]
        told = []
        for column in ("dataset", "model", "pruner", "sparsity", "seed"):
            of = sparse if column in ("pruner", "sparsity") else identities
            values = list(dict.fromkeys(str(identity[column]) for identity in of))
            names = ", ".join(values[:SHOWN]) + ", ..." * (len(values) > SHOWN)
            told += [f"{counted(len(values), column)} ({names})"] if values else []
        dense = f", {len(identities) - len(sparse)} of them dense: " if told else ""
        return f"<{counted(len(self), 'network')}{dense}{', '.join(told)}>"


def _metric_sources(metrics: tuple[str, ...] | None) -> list[Source]:
    """Where metrics are defined that are not of this package; of all of them where none are named."""
    if metrics:
        sources = [entry.source for entry in select(list(metrics), layers=False)]
    else:  # a metric that was only tried out in a notebook does not belong to "all metrics"
        sources = [entry.source for entry in METRICS.entries() if not entry.source.is_interactive]
    return [source for source in sources if source is not None and not source.built_in]


def registered(config: StudyConfig) -> tuple[Any, ...]:
    """What the cells of a study depend on beside the study file: own code, and what its names stand for now.

    Parameters
    ----------
    config
        The study.

    Returns
    -------
    tuple
        Equal to another one where the cells are the same.
    """
    named = [*config.datasets, *config.models, *config.pruners, *config.encodings, *config.targets, config.recipe]
    entries = [choice.registry.entry(choice.name) for choice in named if choice.name in choice.registry]
    return FORMAT, config.code(), entries, METRICS.entries()


def cells_of(config: StudyConfig) -> list[Cell]:
    """All cells of a study: the baselines first, then seed by seed, so that an early stop leaves whole seeds.

    Parameters
    ----------
    config
        The study.

    Returns
    -------
    list
        Of `Cell`.
    """
    recipe = config.recipe.resolved()
    encodings = tuple(
        encoding if encoding.controls is not None else encoding.model_copy(update={"controls": config.controls})
        for encoding in config.encodings
    )
    code = config.code()  # without files that are not there, which only a run refuses
    imports = tuple(Import(name, code[Path(name).name] if is_file_name(name) else "") for name in config.imports)
    shared = Shared()
    baselines: dict[str, Cell] = {}
    sparse: list[Cell] = []
    for seed, dataset, model in product(config.seeds, config.datasets, config.models):
        dense = Cell(
            dataset,
            model,
            None,
            0.0,
            seed,
            recipe,
            encodings if config.measure_dense else (),
            config.metrics,
            config.targets,
            save_weights=True,
            track=None if config.track is None else (config.track, config.name),
            data_root=config.data_root,
            imports=imports,
            shared=shared,
        )
        baselines[dense.key] = dense
        sparse += [
            replace(
                dense,
                pruner=pruner,
                sparsity=sparsity,
                encodings=encodings,
                dense_of_equal_cost=config.dense_of_equal_cost and pruner.removes_units,
                save_weights=config.save_weights,
                save_trajectory=config.save_trajectory,
                baseline=dense,
            )
            for pruner, sparsity in product(config.pruners, config.sparsities)
        ]
    return [*baselines.values(), *sparse]
