"""A study file: read, checked against everything registered, explained in one sentence when wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from ..errors import InputError, unknown_name
from .entries import Choice, DatasetChoice, EncodingChoice, ModelChoice, PrunerChoice, RecipeChoice
from .yaml_file import KeyPath, read_yaml, written_path

__all__ = ["StudyConfig"]

LISTS = ("datasets", "models", "pruners", "encodings", "metrics", "sparsities")


class StudyConfig(BaseModel):
    """What a study runs: every dataset with every model, pruner, sparsity and seed.

    Attributes
    ----------
    name
        The study's name; that of its file unless given.
    datasets, models, pruners, encodings
        Registered names, or mappings with ``name`` and settings (see `topo.study.entries`).
    sparsities
        Shares of the prunable weights to remove, each in [0, 1).
    seeds
        Of initial weights, of pruning and of training.
    recipe
        How every network is trained; ``digits`` for embedded datasets and ``reference`` otherwise unless given.
    metrics
        Metrics or categories to measure; all when left out.
    measure_dense
        Whether the dense baselines are encoded and measured too, which takes much memory for large networks.
    save_weights
        Whether the trained weights of the sparse networks are kept; those of dense ones always are.
    save_trajectory
        Whether the masks at the start of training and after each change are kept (`Study.trajectory`).
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    workers
        Processes; as many as cores on the CPU and one on CUDA unless given.
    data_root
        Folder that holds each dataset in a folder of its name.

    Raises
    ------
    pydantic.ValidationError
        When a value is wrong; `parse` and `read` turn it into an `InputError`.

    Examples
    --------
    >>> config = StudyConfig.parse({"models": ["digits-mlp"], "pruners": ["snip"], "sparsities": [0.9]})
    >>> config.recipe.name, config.seeds
    ('digits', (0,))
    >>> StudyConfig.parse({"models": ["digits-mlp"], "pruner": ["snip"], "sparsities": [0.9]})
    Traceback (most recent call last):
    topo.errors.InputError: the study: unknown key 'pruner'; did you mean 'pruners'? Known: ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="study", pattern=r"^[A-Za-z0-9][\w.-]*$")
    datasets: tuple[DatasetChoice, ...] = (DatasetChoice(name="digits"),)
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    pruners: tuple[PrunerChoice, ...]
    sparsities: tuple[float, ...]
    seeds: tuple[int, ...] = (0,)
    recipe: RecipeChoice = Field(default_factory=lambda given: _usual_recipe(given))
    encodings: tuple[EncodingChoice, ...] = Field(default_factory=lambda: (EncodingChoice(name="multipartite"),))
    metrics: tuple[str, ...] | None = None
    measure_dense: bool = False
    save_weights: bool = False
    save_trajectory: bool = False
    device: str = "auto"
    workers: int | None = Field(default=None, ge=1)
    data_root: str | None = None

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _one_as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping | float) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_listed(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise InputError(f"seeds is a list such as [0, 1], not the number {value}.")
        return value

    @field_validator("sparsities")
    @classmethod
    def _possible(cls, sparsities: tuple[float, ...]) -> tuple[float, ...]:
        for sparsity in sparsities:
            if not 0 <= sparsity < 1:
                hint = f"; {sparsity:g}% is {sparsity / 100:g}" if 1 < sparsity < 100 else ""
                raise InputError(f"sparsity {sparsity:g} is not at least 0 and below 1{hint}.")
        return sparsities

    @field_validator("seeds", "sparsities", "metrics")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None:
            _refuse_twice(values, "leave one out")
        return values

    @field_validator("datasets", "models", "pruners", "encodings")
    @classmethod
    def _labels_differ(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        _refuse_twice([choice.label for choice in choices], "leave one out, or give one a label of its own")
        return choices

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        from ..features import column_names

        if metrics is not None:
            column_names(metrics)
        return metrics

    @model_validator(mode="after")
    def _sparse_networks(self) -> StudyConfig:
        if bool(self.pruners) != bool(self.sparsities):
            raise InputError("pruners and sparsities go together: give both, or empty lists for a study of dense ones.")
        if any(pruner.label == "dense" for pruner in self.pruners):
            raise InputError("'dense' is what the results call the unpruned baselines; choose another label.")
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, source: str = "the study") -> StudyConfig:
        """A checked config from plain values; `source` is what an error names."""
        return cls._checked(data, source, {})

    @classmethod
    def read(cls, path: str | Path, **overrides: Any) -> StudyConfig:
        """A checked config from a YAML file, with some keys overridden.

        Raises
        ------
        InputError
            When the file or anything in it is wrong; it names the file, the line and the key.
        """
        path = Path(path)
        data, lines = read_yaml(path)
        data.setdefault("name", path.stem)
        return cls._checked(data | overrides, str(path), lines)

    @classmethod
    def _checked(cls, data: Mapping[str, Any], source: str, lines: Mapping[KeyPath, int]) -> StudyConfig:
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            # A misspelt key comes before the missing one that it was meant to be.
            first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
            raise _explained(first, source, lines) from None

    def to_yaml(self) -> str:
        """The study file that reads back as this config."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for key in ("datasets", "models", "pruners", "encodings"):
            data[key] = [choice.as_written() for choice in getattr(self, key)]
        data |= {"name": self.name, "seeds": list(self.seeds), "recipe": self.recipe.as_written()}
        ordered = {key: data[key] for key in type(self).model_fields if key in data}
        return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120)


def _usual_recipe(given: Mapping[str, Any]) -> RecipeChoice:
    from ..datasets import DATASETS

    families = {DATASETS.entry(dataset.name).family for dataset in given.get("datasets", ())}
    return RecipeChoice(name="digits" if families == {"embedded"} else "reference")


def _refuse_twice(values: Iterable[Any], remedy: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{value!r} is there twice; {remedy}.")
        seen.add(value)


def _explained(error: ErrorDetails, source: str, lines: Mapping[KeyPath, int]) -> InputError:
    """The first thing wrong, in one sentence that says where it is."""
    path = tuple(error["loc"])
    # Errors inside a choice point at its fields; what the reader can find is the deepest place that is in the file.
    while path and path not in lines and lines:
        path = path[:-1]
    kind, place = error["type"], written_path(path if lines else tuple(error["loc"]))
    line = f", line {lines[path]}" if path in lines else ""
    cause = error.get("ctx", {}).get("error")
    if kind == "extra_forbidden":
        return InputError(f"{source}{line}: {unknown_name('key', str(error['loc'][-1]), StudyConfig.model_fields)}")
    if kind == "missing":
        return InputError(
            f"{source}: key {error['loc'][-1]!r} is missing; every study needs models, pruners and sparsities."
        )
    if isinstance(cause, InputError):
        return InputError(f"{source}{line}: {place}: {cause}" if place else f"{source}{line}: {cause}")
    what = error["msg"][0].lower() + error["msg"][1:].rstrip(".")
    return InputError(f"{source}{line}: {place}: {what}; it is {error['input']!r}.")
