"""The entries of a study file that name something registered and may carry its settings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..datasets import DATASETS
from ..encoding import ENCODINGS, encoding_options
from ..errors import InputError, unknown_name
from ..models import MODELS, torchvision_names
from ..pruning import PRUNERS
from ..pruning.allocation import ALLOCATIONS
from ..pruning.setting_ranges import check_ranges
from ..registry import Registry, Source
from ..training import RECIPES, TARGETS, Recipe, recipe
from ..validation import check_settings, check_values, flag, settings_of, whole_number

__all__ = [
    "Choice",
    "DatasetChoice",
    "EncodingChoice",
    "ModelChoice",
    "PrunerChoice",
    "RecipeChoice",
    "TargetChoice",
    "enough_controls",
]


class Choice(BaseModel):
    """A registered name with settings: ``snip``, or ``{name: snip, samples_per_class: 5}``.

    Keys that are not fields of the class are the settings of what is named. `label` is what the results table
    calls it, the name unless given. Whether the name and the settings are known is for `check` to say, so that the
    file of a study can be read where its own code is not imported.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: ClassVar[str]
    registry: ClassVar[Registry[Any]]

    name: str
    label: str = ""

    @field_validator("label")
    @classmethod
    def _shown(cls, label: str) -> str:
        if not label.strip() or not label.isprintable():
            raise InputError(f"a label is text that can be shown, not {label!r}.")
        return label

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            article = "an" if cls.kind[0] in "aeiou" else "a"
            raise InputError(f"{article} {cls.kind} is a name or a mapping with the key 'name', not {value!r}.")
        if "name" not in value:
            raise InputError(
                f"a {cls.kind} with settings needs the key 'name'; it has only {', '.join(map(str, value))}."
            )
        return {"label": value["name"], **value}

    @property
    def settings(self) -> dict[str, Any]:
        """What is handed to the thing named, as keywords."""
        return dict(self.model_extra or {})

    @property
    def source(self) -> Source | None:
        """Where the thing named is defined; None where it is not registered."""
        return self.registry.entry(self.name).source if self.name in self.registry else None

    def check(self) -> None:
        """Refuse an unknown name or setting.

        Raises
        ------
        InputError
            With the nearest right names.
        """
        check_settings(self.registry[self.name], self.settings, f"{self.kind} {self.name!r}")
        check_values(self.registry[self.name], self.settings)

    def decides(self) -> dict[str, Any]:
        """What of it decides a result: everything but the label."""
        return self.model_dump(mode="json", exclude={"label"})

    def as_written(self) -> Any:
        """The shortest form that reads back the same."""
        written = self.model_dump(mode="json", exclude_defaults=True)
        if written["label"] == self.name:
            del written["label"]
        return self.name if set(written) == {"name"} else written


LATER_SETTINGS = {"draw": 0}
"""Settings of datasets that studies were made without, with the values that change nothing for them."""


class DatasetChoice(Choice):
    """A dataset; `root` is its folder (else the one of its name in the study's `data_root`)."""

    kind = "dataset"
    registry = DATASETS
    root: str | None = None
    download: bool = False
    subset: int | None = Field(default=None, ge=1)

    @field_validator("subset", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return None if value is None else whole_number("subset", value, minimum=1)

    @field_validator("download", mode="before")
    @classmethod
    def _truth(cls, value: Any) -> bool:
        return flag("download", value)

    def decides(self) -> dict[str, Any]:
        # With the settings that are not given: where a default changes, so does what a cell computed.
        settings = settings_of(self.registry[self.name]) if self.name in self.registry else []
        defaults = {s.name: s.default for s in settings if s.default not in (None, inspect.Parameter.empty)}
        # A setting that came later, at the value that changes nothing, leaves the keys of older studies as they are.
        defaults = {name: value for name, value in defaults.items() if LATER_SETTINGS.get(name) != value}
        return {**defaults, **self.model_dump(mode="json", exclude={"label", "download"})}


class ModelChoice(Choice):
    """A network of `topo.models` or of torchvision."""

    kind = "model"
    registry = MODELS

    def check(self) -> None:
        if self.name in MODELS:
            super().check()
        elif self.name.removeprefix("torchvision:") not in torchvision_names():
            raise unknown_name("model", self.name, MODELS)


class PrunerChoice(Choice):
    """A pruning algorithm; `stage` says whether it prunes fresh weights or the trained dense network.

    Algorithms that work during training have no other stage.
    """

    kind = "pruner"
    registry = PRUNERS
    stage: Literal["initial", "trained"] | None = None
    include: str | tuple[str, ...] | None = None
    exclude: str | tuple[str, ...] | None = None
    sparsity_of: Literal["included", "all"] = "included"
    allow_empty_layers: bool = True

    @field_validator("allow_empty_layers", mode="before")
    @classmethod
    def _truth(cls, value: Any) -> bool:
        return flag("allow_empty_layers", value)

    def check(self) -> None:
        super().check()
        allocation = self.settings.get("allocation", "global")
        if allocation not in ALLOCATIONS and not re.fullmatch(r"\d+:\d+", allocation):
            raise unknown_name("allocation", allocation, [*ALLOCATIONS, "2:4"])
        check_ranges(self.name, self.settings)
        if self.stage is not None and PRUNERS.entry(self.name).info["stage"] == "training":
            raise InputError(f"pruner {self.name!r} works during training; leave out stage: {self.stage}.")

    @property
    def applied_at(self) -> str:
        """``"initial"``, ``"trained"`` or ``"training"``: as asked, else as the algorithm has it."""
        return self.stage or PRUNERS.entry(self.name).info["stage"]

    @property
    def family(self) -> str:
        """The family of the algorithm, or the stage where the study file sets one."""
        return self.stage or PRUNERS.entry(self.name).family

    @property
    def removes_units(self) -> bool:
        """Whether the algorithm leaves a smaller network."""
        return self.name in PRUNERS and PRUNERS.entry(self.name).family == "structured"

    @property
    def counts_otherwise(self) -> bool:
        """Whether `sparsity` is of other weights than before there was `sparsity_of`; what does as then keeps its keys.

        Structured algorithms counted all weights and others the included ones. An algorithm whose code was not imported
        is taken for one of the others.
        """
        return bool(self._patterns) and self.sparsity_of != ("all" if self.removes_units else "included")

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings and patterns with which the algorithm is called."""
        return {**self.settings, **self._patterns, "sparsity_of": self.sparsity_of}

    @property
    def _patterns(self) -> dict[str, Any]:
        return {key: value for key in ("include", "exclude") if (value := getattr(self, key)) is not None}

    def decides(self) -> dict[str, Any]:
        decides = {**super().decides(), "stage": self.applied_at}
        if not self.counts_otherwise:
            del decides["sparsity_of"]
        # Before, they left less than they may.
        return decides | ({"budget_met": "to the unit"} if self.removes_units else {})


class RecipeChoice(Choice):
    """A training recipe and what to change in it."""

    kind = "recipe"
    registry = RECIPES

    def check(self) -> None:
        self.resolved()

    def resolved(self) -> Recipe:
        """The recipe itself."""
        return recipe(self.name, **self.settings)

    @staticmethod
    def usual(datasets: Iterable[DatasetChoice]) -> RecipeChoice:
        """The recipe that all the datasets name as theirs, else the reference."""
        own = [DATASETS.entry(d.name).info.get("recipe") if d.name in DATASETS else None for d in datasets]
        return RecipeChoice(name=own[0] if own and own[0] and set(own) == {own[0]} else "reference")


class TargetChoice(Choice):
    """What is asked of a trained network beside its accuracy."""

    kind = "target"
    registry = TARGETS

    def check(self) -> None:
        super().check()
        if self.source is not None and self.source.built_in:
            with suppress(TypeError, AttributeError):  # of no network, which it asks for after it has seen its settings
                TARGETS[self.name](None, **self.settings)


def enough_controls(controls: int | None) -> int | None:
    """Refuse a single random mask to compare with.

    Parameters
    ----------
    controls
        How many there are.

    Returns
    -------
    int or None
        `controls`.

    Raises
    ------
    InputError
        When there is one.
    """
    if controls == 1:
        raise InputError("one random mask has no spread to compare with; give at least 2, or 0 for none.")
    return controls


LATER_OPTIONS = {"tokens": "positions", "vocabulary": "all"}
"""Options of encodings that studies were made without, with the values that change nothing for them."""


class EncodingChoice(Choice):
    """A graph encoding with its options.

    The metrics of the plain multipartite encoding have bare column names; those of any other are prefixed by its
    label, as in ``rolled_channel__k_core_mean``. `controls` is the number of random masks that they are compared with,
    that of the study unless given.
    """

    kind = "encoding"
    registry = ENCODINGS
    controls: int | None = Field(default=None, ge=0)

    @field_validator("controls", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return None if value is None else whole_number("controls", value, minimum=0)

    @field_validator("controls")
    @classmethod
    def _enough(cls, controls: int | None) -> int | None:
        return enough_controls(controls)

    def check(self) -> None:
        if self.name not in ENCODINGS:
            raise unknown_name("encoding", self.name, ENCODINGS)
        self.options  # noqa: B018  (an impossible option raises)

    @property
    def options(self) -> dict[str, Any]:
        """All its options, those not given by their defaults."""
        return encoding_options(self.name, self.settings)

    def decides(self) -> dict[str, Any]:
        # Every encoding is named with the options that all had once, so that cells keep the keys under which older
        # studies hold them; options that came later count where they are not as they were before there was a choice.
        options = encoding_options("multipartite", {}) | self.options
        later = {name: value for name, value in LATER_OPTIONS.items() if options.get(name) == value}
        decides = {"name": self.name, "prefix": self.prefix, **{o: v for o, v in options.items() if o not in later}}
        # What of a graph a layer is measured has changed: its density divides by the pairs of a left and a right node.
        return {**decides, "layers": 2} if self.is_layered else decides

    @property
    def is_layered(self) -> bool:
        """Whether it gives one graph a layer."""
        return bool(ENCODINGS.entry(self.name).info["layers"])

    @property
    def prefix(self) -> str:
        """What the names of its metric columns start with."""
        return "" if self.label == "multipartite" else f"{self.label.replace('-', '_')}__"
