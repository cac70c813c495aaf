"""The network that the options of a command describe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .options import parsed_example, parsed_settings

if TYPE_CHECKING:
    from torch import nn

    from ..dag.example import Example
    from ..datasets import Dataset
    from ..encoding import LayerGraphs, MultipartiteGraph

__all__ = ["NamedNetwork"]


@dataclass(frozen=True)
class NamedNetwork:
    """A network by name, with the weights of a checkpoint file or fresh ones, and the dataset that shapes it."""

    name: str
    checkpoint: Path | None
    dataset_name: str | None
    data_folder: Path | None
    example_texts: list[str] | None
    classes: int | None
    seed: int
    settings: list[str] | None

    @cached_property
    def dataset(self) -> Dataset | None:
        """The dataset, where one is named."""
        from ..datasets import load

        if self.dataset_name is None:
            return None
        if self.example_texts or self.classes is not None:
            raise InputError("--dataset gives the network's input and classes; leave out --example and --classes.")
        return load(self.dataset_name, root=self.data_folder)

    @cached_property
    def example(self) -> Example:
        """The input of the network."""
        if self.dataset is not None:
            return self.dataset.example
        return parsed_example(self.example_texts or ["3,32,32"])

    @cached_property
    def model(self) -> nn.Module:
        """The network itself."""
        from ..checkpoint import load_checkpoint
        from ..dag.example import sample_shapes
        from ..models import build

        n_classes = self.dataset.n_classes if self.dataset is not None else self.classes or 10
        settings = parsed_settings(self.settings)
        shapes = sample_shapes(self.example)
        model = build(self.name, input_shape=shapes, n_classes=n_classes, seed=self.seed, **settings)
        return model if self.checkpoint is None else load_checkpoint(model, self.checkpoint)

    def graph(self, masks: Path | None, encoding: str, options: list[str] | None) -> MultipartiteGraph | LayerGraphs:
        """The network encoded."""
        from ..encoding import encode
        from ..masks import Masks

        loaded = None if masks is None else Masks.load(masks)
        return encode(self.model, loaded, example=self.example, encoding=encoding, **parsed_settings(options))
