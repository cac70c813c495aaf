"""The network that the options of a command describe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, counted
from .options import parsed_example, parsed_settings

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from ..dag.example import Example
    from ..datasets import Dataset
    from ..encoding import LayerGraphs, MultipartiteGraph
    from ..masks import Masks

__all__ = ["NamedNetwork"]


@dataclass(frozen=True)
class NamedNetwork:
    """A network by name, with the weights of a checkpoint file or fresh ones, and the dataset that shapes it.

    Attributes
    ----------
    name
        Name of a registered model.
    checkpoint
        File with its weights; None for fresh ones.
    dataset_name
        The dataset that shapes it; None where an example does.
    data_folder
        Folder of the dataset's files.
    example_texts
        The values of ``--example``.
    classes
        Number of outputs; None for those of the dataset.
    seed
        Seeds fresh weights.
    settings
        The model's settings, as ``KEY=VALUE``.
    """

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

    @property
    def n_classes(self) -> int:
        """Its number of outputs."""
        return self.dataset.n_outputs if self.dataset is not None else self.classes or 10

    def check(self) -> None:
        """Refuse a network that can not be built before anything that takes long."""
        _ = self.model

    @cached_property
    def model(self) -> nn.Module:
        """The network itself."""
        from ..checkpoint import checkpoint_shapes, load_checkpoint

        model = self._built(self.n_classes)
        if self.checkpoint is None:
            return model
        try:
            return load_checkpoint(model, self.checkpoint)
        except InputError as error:
            raise self._with_remedy(error, checkpoint_shapes(self.checkpoint, model)) from error

    def masks(self, file: Path) -> Masks:
        """The masks of a file, which must be for this network."""
        from ..masks import Masks

        masks = Masks.load(file)
        try:
            masks.check(self.model)
        except InputError as error:
            raise self._with_remedy(error, {name: tuple(mask.shape) for name, mask in masks.items()}) from error
        return masks

    def graph(self, masks: Path | None, encoding: str, options: list[str] | None) -> MultipartiteGraph | LayerGraphs:
        """The network encoded."""
        from ..encoding import encode

        loaded = None if masks is None else self.masks(masks)
        return encode(self.model, loaded, example=self.example, encoding=encoding, **parsed_settings(options, encode))

    def z_scores(self, masks: Masks | None, n: int, how: dict[str, Any]) -> pd.DataFrame:
        """Its metrics against those of random masks with as many weights in every layer, measured as `how` says."""
        from ..features import z_scores
        from ..masks import Masks

        kept = Masks.from_nonzero(self.model, self.example) if masks is None else masks
        settings = {name: value for name, value in how.items() if name != "options"} | how["options"]
        return z_scores(self.model, kept, example=self.example, n=n, seed=self.seed, **settings)

    def _built(self, n_classes: int) -> nn.Module:
        from ..dag.example import sample_shapes
        from ..models import build

        settings = parsed_settings(self.settings, build)
        shapes, example = sample_shapes(self.example), None if self.dataset is None else self.dataset.example
        return build(self.name, input_shape=shapes, n_classes=n_classes, seed=self.seed, example=example, **settings)

    def _with_remedy(self, error: InputError, shapes: dict[str, tuple[int, ...]]) -> InputError:
        """An error on tensors of these shapes that do not fit the network, with the option that makes them fit."""
        own = _shapes(self._built(self.n_classes))
        others = [(shape, own[name]) for name, shape in shapes.items() if name in own and shape != own[name]]
        remedy = "MODEL, --model-set, --example and --classes decide its layers"
        for size in dict.fromkeys(shape[0] for shape, ours in others if shape and shape[1:] == ours[1:]):
            if shapes.items() <= _shapes(self._built(size)).items():
                instead = (
                    ""
                    if self.dataset is None
                    else f" and --example in place of --dataset, which has {counted(self.n_classes, 'class')}"
                )
                remedy = f"give --classes {size}{instead}"
                break
        return InputError(f"{str(error).rstrip('.')}; {remedy}.")


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
