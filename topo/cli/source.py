"""The network that the options of a command describe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from ..datasets import Dataset

__all__ = ["Network", "parsed_settings"]


@dataclass(frozen=True)
class Network:
    """A network by name, with the weights of a checkpoint file or fresh ones, and the dataset that shapes it."""

    name: str
    checkpoint: Path | None
    dataset_name: str | None
    data_folder: Path | None
    input_shape: str | None
    classes: int | None
    seed: int
    settings: list[str] | None

    @cached_property
    def dataset(self) -> Dataset | None:
        """The dataset, where one is named."""
        from ..datasets import load

        if self.dataset_name is None:
            return None
        if self.input_shape is not None or self.classes is not None:
            raise InputError("--dataset gives the input shape and the classes; leave out --input-shape and --classes.")
        return load(self.dataset_name, root=self.data_folder)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        if self.dataset is not None:
            return self.dataset.input_shape
        try:
            return tuple(int(size) for size in (self.input_shape or "3x32x32").replace(",", "x").split("x"))
        except ValueError:
            raise InputError(f"--input-shape {self.input_shape!r} is not of the form 3x32x32.") from None

    @cached_property
    def model(self) -> nn.Module:
        """The network itself."""
        from ..checkpoint import load_checkpoint
        from ..models import build

        n_classes = self.dataset.n_classes if self.dataset is not None else self.classes or 10
        settings = parsed_settings(self.settings)
        model = build(self.name, input_shape=self.shape, n_classes=n_classes, seed=self.seed, **settings)
        return model if self.checkpoint is None else load_checkpoint(model, self.checkpoint)

    def graph(self, masks: Path | None, encoding: str, options: list[str] | None) -> Any:
        """The network encoded."""
        from ..encoding import encode
        from ..masks import Masks

        loaded = None if masks is None else Masks.load(masks)
        return encode(self.model, loaded, input_shape=self.shape, encoding=encoding, **parsed_settings(options))


def parsed_settings(settings: list[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` texts as a dict, the values read as in a study file.

    Examples
    --------
    >>> parsed_settings(["rounds=20", "widths=[64, 32]"])
    {'rounds': 20, 'widths': [64, 32]}
    """
    from ..study.yaml_file import parse_value

    found = {}
    for text in settings or []:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise InputError(f"setting {text!r} is not of the form KEY=VALUE.")
        found[key.replace("-", "_")] = parse_value(value)
    return found
