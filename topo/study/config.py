"""A study file: read, checked against everything registered, explained in one sentence when wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from ..errors import InputError, unknown_name
from ..features import column_names
from ..own_code import digest_of, import_code, is_file_name
from ..training import TRACKERS
from ..training.recipes import Recipe
from ..validation import flag, real_number, whole_number
from .entries import (
    Choice,
    DatasetChoice,
    EncodingChoice,
    ModelChoice,
    PrunerChoice,
    RecipeChoice,
    TargetChoice,
    enough_controls,
)
from .limits import parsed_duration, parsed_size
from .yaml_file import KeyPath, read_yaml, written_path, written_yaml

__all__ = ["StudyConfig"]

CHOICES = ("datasets", "models", "pruners", "encodings", "targets")
LISTS = (*CHOICES, "metrics", "sparsities", "imports")
RECIPE_SETTINGS = frozenset(field.name for field in fields(Recipe)) - {"name"}
NOT_IN_TABLE = {
    *("name", "workers", "device", "data_root", "save_weights", "save_trajectory", "imports"),
    *("time_limit", "memory_limit", "track"),
}
"""Keys of a study file that decide neither which rows its table has nor what is in them."""


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
    targets
        What is asked of every trained network beside accuracy and loss, of `topo.training.TARGETS`.
    controls
        With how many random masks, of as many weights in every layer, each sparse network is compared: at least 2, or 0
        for none. The table then has the z-scores of its metrics as ``<metric>_z`` (`topo.z_scores`). An encoding may
        have a number of its own, as in ``{name: rolled, controls: 0}``.
    measure_dense
        Whether the dense baselines are encoded and measured too, which takes much memory for large networks.
    dense_of_equal_cost
        Whether beside every structured network a dense one of its multiply-accumulates is trained for as many epochs.
    save_weights
        Whether the trained weights of the sparse networks are kept; those of dense ones always are.
    save_trajectory
        Whether the masks at the start of training and after each change are kept (`Study.trajectory`).
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    workers
        Processes; as many as cores on the CPU and one on CUDA unless given.
    track
        What shows the training as it goes on: ``"tensorboard"`` or ``"mlflow"``.
    time_limit
        How long a cell may take, in seconds or with a unit, as in ``30 min``; one that takes longer fails.
    memory_limit
        How much memory a cell may take, in bytes or with a unit, as in ``4 GiB``; one that takes more fails.
    data_root
        Folder that holds each dataset in a folder of its name.
    imports
        Files of your own code, by paths that start at the folder of the study file, or modules by dotted names; they
        are imported before anything of the study is looked up, also in worker processes.

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
    recipe: RecipeChoice = Field(default_factory=lambda given: RecipeChoice.usual(given.get("datasets", ())))
    encodings: tuple[EncodingChoice, ...] = Field(default_factory=lambda: (EncodingChoice(name="multipartite"),))
    metrics: tuple[str, ...] | None = None
    targets: tuple[TargetChoice, ...] = ()
    controls: int = Field(default=0, ge=0)
    measure_dense: bool = False
    dense_of_equal_cost: bool = False
    save_weights: bool = False
    save_trajectory: bool = False
    device: str = "auto"
    workers: int | None = Field(default=None, ge=1)
    track: str | None = None
    time_limit: float | None = None
    memory_limit: int | None = None
    data_root: str | None = None
    imports: tuple[str, ...] = ()

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _one_as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping | float) else value

    @field_validator("controls", "workers", mode="before")
    @classmethod
    def _whole(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None and info.field_name == "workers" else whole_number(str(info.field_name), value)

    @field_validator("measure_dense", "dense_of_equal_cost", "save_weights", "save_trajectory", mode="before")
    @classmethod
    def _truth(cls, value: Any, info: ValidationInfo) -> bool:
        return flag(str(info.field_name), value)

    @field_validator("sparsities", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        for sparsity in value if isinstance(value, list | tuple) else ():
            if isinstance(sparsity, bool) or (isinstance(sparsity, str) and sparsity[:1] in "-.0123456789"):
                real_number("a sparsity", sparsity)
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_listed(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise InputError(f"seeds is a list such as [0, 1], not the number {value}.")
        for seed in value if isinstance(value, list | tuple) else ():
            if not isinstance(seed, Integral) or isinstance(seed, bool) or not -(2**63) <= int(seed) < 2**64:
                raise InputError(f"seed {seed!r:.60} is no whole number of at most 64 bits.")
        return value

    @field_validator("time_limit", "memory_limit", mode="before")
    @classmethod
    def _with_unit(cls, value: Any, info: ValidationInfo) -> Any:
        parsed = parsed_duration if info.field_name == "time_limit" else parsed_size
        return None if value is None else parsed(value)

    @field_validator("sparsities")
    @classmethod
    def _possible(cls, sparsities: tuple[float, ...]) -> tuple[float, ...]:
        for sparsity in sparsities:
            if not 0 <= sparsity < 1:
                hint = f"; {sparsity:g}% is {sparsity / 100:g}" if 1 < sparsity < 100 else ""
                raise InputError(f"sparsity {sparsity:g} is not at least 0 and below 1{hint}.")
        return sparsities

    @field_validator("controls")
    @classmethod
    def _enough(cls, controls: int) -> int | None:
        return enough_controls(controls)

    @field_validator("seeds", "sparsities", "metrics")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None:
            _refuse_twice(values, "leave one out")
        return values

    @field_validator(*CHOICES)
    @classmethod
    def _labels_differ(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        _refuse_twice([choice.label for choice in choices], "leave one out, or give one a label of its own")
        return choices

    @field_validator("encodings")
    @classmethod
    def _columns_differ(cls, encodings: tuple[EncodingChoice, ...]) -> tuple[EncodingChoice, ...]:
        labels: dict[str, str] = {}
        for encoding in encodings:
            if (other := labels.setdefault(encoding.prefix, encoding.label)) != encoding.label:
                raise InputError(
                    f"{other!r} and {encoding.label!r} would fill the same columns ({encoding.prefix}...); give one of "
                    "them another label."
                )
        return encodings

    @field_validator("imports")
    @classmethod
    def _names_differ(cls, imports: tuple[str, ...]) -> tuple[str, ...]:
        _refuse_twice([Path(source).name for source in imports], "leave one out, or rename one of the files")
        return imports

    @model_validator(mode="after")
    def _sparse_networks(self) -> StudyConfig:
        if bool(self.pruners) != bool(self.sparsities):
            raise InputError("pruners and sparsities go together: give both, or empty lists for a study of dense ones.")
        if any(pruner.label == "dense" for pruner in self.pruners):
            raise InputError("'dense' is what the results call the unpruned baselines; choose another label.")
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, source: str = "the study") -> StudyConfig:
        """A checked config from plain values.

        Parameters
        ----------
        data
            Keys of a study file and their values.
        source
            What an error names.

        Returns
        -------
        StudyConfig
            The config.

        Raises
        ------
        InputError
            When anything in it is wrong.
        """
        return cls._validated(data, source, {}, Path(), check=True)

    @classmethod
    def read(cls, path: str | Path, *, check: bool = True, **overrides: Any) -> StudyConfig:
        """A config from a YAML file.

        Parameters
        ----------
        path
            The file.
        check
            Whether to import the study's own code and to check every name and setting, as before a run. Without, the
            file may name what is not registered here.
        overrides
            Keys in place of those of the file.

        Returns
        -------
        StudyConfig
            The config.

        Raises
        ------
        InputError
            When the file or anything in it is wrong; it names the file, the line and the key.
        """
        path = Path(path)
        data, lines = read_yaml(path)
        data.setdefault("name", path.stem)
        return cls._validated(data | overrides, str(path), lines, path.parent, check)

    @classmethod
    def _validated(
        cls, data: Mapping[str, Any], source: str, lines: Mapping[KeyPath, int], folder: Path, check: bool
    ) -> StudyConfig:
        imports = data.get("imports", ())
        imports = (imports,) if isinstance(imports, str) else imports
        if isinstance(imports, list | tuple) and all(isinstance(name, str) for name in imports):
            resolved = [str((folder / name).resolve()) if is_file_name(name) else name for name in imports]
            data = {**data, "imports": resolved}
            if check:  # first of all, because the usual recipe depends on the datasets
                _import_all(resolved, source, lines)
        try:
            config = cls.model_validate(dict(data))
        except ValidationError as error:
            # A misspelt key comes before the missing one that it was meant to be.
            first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
            raise _explained(first, source, lines) from None
        if check:
            config.check(source, lines)
        return config

    def check(self, source: str = "the study", lines: Mapping[KeyPath, int] | None = None) -> None:
        """Import the study's own code, and refuse names and settings that nothing registered has.

        Parameters
        ----------
        source
            What an error names.
        lines
            The line of each key in the file, where the study is one.

        Raises
        ------
        InputError
            At the first that is unknown; it names the nearest right ones.
        """
        lines = lines or {}
        _import_all(self.imports, source, lines)
        for key in CHOICES:
            for index, choice in enumerate(getattr(self, key)):
                with _placed(source, (key, index), lines):
                    choice.check()
        with _placed(source, ("recipe",), lines):
            self.recipe.check()
        if self.track is not None:
            with _placed(source, ("track",), lines):
                TRACKERS.entry(self.track)
        with _placed(source, ("metrics",), lines):
            column_names(self.metrics)

    def with_imports(self, more: Iterable[str]) -> StudyConfig:
        """The same config with further entries of ``imports``, each in the place of one of that name.

        Parameters
        ----------
        more
            Names of modules, or paths of Python files.

        Returns
        -------
        StudyConfig
            A new one.
        """
        imports = {Path(source).name: source for source in (*self.imports, *more)}
        return self.model_copy(update={"imports": tuple(imports.values())})

    def to_yaml(self) -> str:
        """The study file that reads back as this config."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        for key in CHOICES:
            if key != "targets" or self.targets:
                data[key] = [choice.as_written() for choice in getattr(self, key)]
        data |= {"name": self.name, "seeds": list(self.seeds), "recipe": self.recipe.as_written()}
        ordered = {key: data[key] for key in type(self).model_fields if key in data}
        return written_yaml(ordered)

    def code(self, recorded: Mapping[str, str] | None = None) -> dict[str, str]:
        """Hash of every file of own code, by the file's name.

        Parameters
        ----------
        recorded
            Hashes of files that are not there.

        Returns
        -------
        dict
            File's name -> hash; empty of a file that is neither there nor recorded.
        """
        files = [Path(name) for name in self.imports if is_file_name(name)]
        return {file.name: digest_of(file) if file.is_file() else (recorded or {}).get(file.name, "") for file in files}

    def digest(self, recorded: Mapping[str, str] | None = None) -> str:
        """Hash of all that decides the table of results; where the study's own code lies does not.

        Parameters
        ----------
        recorded
            As of `code`.

        Returns
        -------
        str
            The hash.
        """
        code, modules = list(self.code(recorded).values()), [name for name in self.imports if not is_file_name(name)]
        # A study that does as before there were controls, targets or a choice of sparsity has the hash that it had.
        decides = self.model_dump(mode="json", exclude=NOT_IN_TABLE)
        for key in ("targets", "dense_of_equal_cost"):
            if not decides[key]:
                del decides[key]
        for part in (decides, *decides["encodings"]):
            if not part["controls"]:
                del part["controls"]
        for part, choice in zip(decides["pruners"], self.pruners, strict=True):
            if not choice.counts_otherwise:
                del part["sparsity_of"]
        data = [decides, code, modules]
        return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _import_all(sources: Iterable[str], study: str, lines: Mapping[KeyPath, int]) -> None:
    for index, name in enumerate(sources):
        with _placed(study, ("imports", index), lines):
            import_code(name)


def _refuse_twice(values: Iterable[Any], remedy: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{value!r} is listed twice; {remedy}.")
        seen.add(value)


def _place(source: str, path: KeyPath, lines: Mapping[KeyPath, int]) -> str:
    """What a sentence about a key starts with: the file, the line and the key."""
    # Errors inside a choice point at its fields; what the reader can find is the deepest place that is in the file.
    while path and path not in lines and lines:
        path = path[:-1]
    line = f", line {lines[path]}" if path in lines else ""
    return f"{source}{line}: {written_path(path)}: " if path else f"{source}{line}: "


@contextmanager
def _placed(source: str, path: KeyPath, lines: Mapping[KeyPath, int]) -> Iterator[None]:
    """Put the place in front of what is wrong there."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{_place(source, path, lines)}{error}") from error


def _explained(error: ErrorDetails, source: str, lines: Mapping[KeyPath, int]) -> InputError:
    """The first thing wrong, in one sentence that says where it is."""
    path = tuple(error["loc"])
    kind, cause = error["type"], error.get("ctx", {}).get("error")
    if kind == "extra_forbidden":
        line = f", line {lines[path]}" if path in lines else ""
        if path[-1] in RECIPE_SETTINGS:
            example = f"recipe: {{name: digits, {path[-1]}: {error['input']}}}"
            return InputError(f"{source}{line}: {path[-1]!r} is a setting of the recipe; write {example}.")
        return InputError(f"{source}{line}: {unknown_name('key', str(path[-1]), StudyConfig.model_fields)}")
    if kind == "missing":
        return InputError(f"{source}: key {path[-1]!r} is missing; every study needs models, pruners and sparsities.")
    if isinstance(cause, InputError):
        return InputError(f"{_place(source, path, lines)}{cause}")
    what = error["msg"][0].lower() + error["msg"][1:].rstrip(".")
    return InputError(f"{_place(source, path, lines)}{what}; it is {error['input']!r}.")
