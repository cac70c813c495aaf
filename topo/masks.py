"""Masks: which weights of a network are kept, where they came from, and how they stay in force."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .dag.dag import Dag
from .dag.example import Example
from .dag.mask_tensors import mask_tensors
from .dag.prunable import prunable_parameters
from .dag.structure import is_connected
from .dag.tracing import module_of, traced
from .errors import InputError, counted, listed, nearest
from .held_masks import HeldMasks, PrunedWeights
from .mask_provenance import checked_provenance, checked_scope, plain_settings, reached_sparsity
from .parameter_names import masks_within, named_parameters
from .safe_files import parsed_json, read_arrays, write_arrays
from .weight_norms import norm_scales
from .wrapped_names import renamed

__all__ = ["Masks", "prunable_parameters"]


class Masks(Mapping[str, Tensor]):
    """Parameter name -> bool tensor of the parameter's shape on the CPU, True where the weight is kept.

    Parameters
    ----------
    masks
        Parameter name -> tensor or array; bool, or numbers that are all exactly 0 or 1.
    algorithm, settings, seed
        What found the masks; the settings must be writable as JSON.
    sparsity
        The share of pruned weights that was asked for; `Masks.reached` is the share reached.
    sparsity_of, included, prunable
        What that is a share of, as for `topo.prune`; names of the weights that its patterns left open to pruning, all
        masked ones unless given; how many weights it could have pruned without patterns, those masked unless given.

    Attributes
    ----------
    state
        Values of the model's parameters and buffers that go with the masks, when the algorithm also adjusted or
        trained them, else None. `install` writes them into a model; `save` leaves them out.
    record
        What the algorithm did and when, a row for each step, where it says so, else None; `save` leaves it out.

    Raises
    ------
    InputError
        When there is no mask, or one is neither bool nor exact zeros and ones.

    Examples
    --------
    >>> masks = Masks({"weight": [[1, 0], [0, 0]]}, algorithm="by hand", sparsity=0.7)
    >>> masks["weight"].tolist(), masks.sparsity, masks.asked_sparsity
    ([[True, False], [False, False]], 0.75, 0.7)
    """

    def __init__(
        self,
        masks: Mapping[str, Tensor | np.ndarray],
        *,
        algorithm: str | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sparsity: float | None = None,
        sparsity_of: str = "included",
        included: Sequence[str] | None = None,
        prunable: int | None = None,
    ) -> None:
        tensors = mask_tensors(masks)
        if not tensors:
            raise InputError("no masks were given; at least one parameter needs a mask.")
        empty = next((name for name, mask in tensors.items() if mask.numel() == 0), None)
        if empty is not None:
            raise InputError(f"the mask of {empty!r} has no elements.")
        # Copies, so that later changes of the caller's tensors cannot reach the masks.
        self._masks = {name: mask.cpu().clone(memory_format=torch.contiguous_format) for name, mask in tensors.items()}
        self.algorithm = algorithm
        self.settings = plain_settings(settings or {})
        self.seed = seed
        self.asked_sparsity = sparsity
        self.sparsity_of, self._included, self._prunable = checked_scope(self._masks, sparsity_of, included, prunable)
        self.state: dict[str, Tensor] | None = None
        self.record: pd.DataFrame | None = None

    @classmethod
    def dense(cls, model: nn.Module | Dag, example: Example | None = None) -> Masks:
        """Masks that keep every prunable weight of a model, but those that masks within it prune.

        Parameters
        ----------
        model, example
            The network, and its input, as for `prunable_parameters`.

        Returns
        -------
        Masks
            All True.
        """
        parameters = prunable_parameters(model, example=example)
        within = masks_within(module_of(model, "topo.Masks.dense"))
        masks = {name: within.get(name, torch.ones(p.shape, dtype=torch.bool)) for name, p in parameters.items()}
        return cls(masks, algorithm="dense")

    @classmethod
    def from_nonzero(cls, model: nn.Module | Dag, example: Example | None = None) -> Masks:
        """Masks that keep the prunable weights of a model that are not zero, and that no mask within it prunes.

        Parameters
        ----------
        model, example
            The network, and its input, as for `prunable_parameters`.

        Returns
        -------
        Masks
            As its weights are now.
        """
        parameters = prunable_parameters(model, example=example)
        within = masks_within(module_of(model, "topo.Masks.from_nonzero", values=True))
        nonzero = {name: p.detach().cpu() != 0 for name, p in parameters.items()}
        for name, (scale, _) in norm_scales(module_of(model, "topo.Masks.from_nonzero")).items():
            if name in nonzero:
                nonzero[name] = nonzero[name] & (scale.detach().cpu() != 0)
        return cls({name: kept & within.get(name, kept) for name, kept in nonzero.items()}, algorithm="nonzero")

    def replaced(self, masks: Mapping[str, Tensor]) -> Masks:
        """Other masks with the algorithm, the settings, the seed and the asked sparsity of these.

        Parameters
        ----------
        masks
            Name -> mask.

        Returns
        -------
        Masks
            New ones.
        """
        origin = {"algorithm": self.algorithm, "settings": self.settings, "seed": self.seed, **self._share()}
        return Masks(masks, **origin)

    def _share(self) -> dict[str, Any]:
        """What was asked for, as arguments of a new object; of what it is a share where that is not the usual."""
        share = {"sparsity": self.asked_sparsity}
        usual = self.sparsity_of == "included" and self._included is None and self._prunable is None
        more = {"sparsity_of": self.sparsity_of, "included": self._included, "prunable": self._prunable}
        return share if usual else share | more

    def random_like(self, seed: int | Sequence[int]) -> Masks:
        """Masks that keep as many weights of every tensor, at places drawn at random.

        They depend on the seed and on the numbers of weights only, not on which weights these masks keep.

        Parameters
        ----------
        seed
            Whole numbers.

        Returns
        -------
        Masks
            New ones.

        Examples
        --------
        >>> masks = Masks({"weight": [[1, 1, 0], [0, 0, 0]]})
        >>> int(masks.random_like(0)["weight"].sum())
        2
        """
        generator = np.random.default_rng(seed)
        masks = {}
        for name, mask in self.items():
            places = generator.choice(mask.numel(), int(mask.sum()), replace=False, shuffle=False)
            drawn = np.zeros(mask.numel(), dtype=bool)
            drawn[places] = True
            masks[name] = drawn.reshape(mask.shape)
        return Masks(masks, algorithm="random", **self._share())

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        """Whether both keep the same weights of the same parameters, wherever the masks came from."""
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self[name], other[name]) for name in self)

    __hash__ = None  # type: ignore[assignment]  # equal masks may change

    def __repr__(self) -> str:
        origin = f", algorithm={self.algorithm!r}" if self.algorithm else ""
        return f"Masks({counted(len(self), 'tensor')}, sparsity={self.reached(self.sparsity_of):.4f}{origin})"

    @property
    def density(self) -> float:
        """Share of all masked elements that is kept."""
        return sum(int(m.sum()) for m in self.values()) / sum(m.numel() for m in self.values())

    @property
    def sparsity(self) -> float:
        """Share of all masked elements that is pruned, biases and norms too; `reached` is that of the weights."""
        return 1.0 - self.density

    def reached(self, of: str = "included") -> float:
        """Share of weights that is pruned, in either meaning of a sparsity.

        Parameters
        ----------
        of
            ``"included"``, of the weights that the patterns of `topo.prune` left open to pruning; ``"all"``, of all
            that it could have pruned without patterns.

        Returns
        -------
        float
            From 0 to 1.
        """
        return reached_sparsity(self, of, self._included, self._prunable)

    def connected(self, model: nn.Module | Dag, example: Example | None = None) -> bool:
        """Whether a path of kept weights, and of skips without weights, leads from an input of a network to an output.

        A network without one gives the same output for every input; see `topo.dag.is_connected`, which also says what
        this leaves open.

        Parameters
        ----------
        model, example
            The network the masks are for, and its input, as for `topo.trace`.

        Returns
        -------
        bool
            False where nothing connects them.

        Examples
        --------
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> masks = Masks({"0.weight": [[1, 1], [0, 0]], "1.weight": [[0, 1]]})
        >>> masks.connected(net, (2,)), masks.empty_layers()
        (False, [])
        """
        self.check(module_of(model, "topo.Masks.connected"))
        return is_connected(traced(model, example, "topo.Masks.connected"), self)

    def counts(self) -> pd.DataFrame:
        """One row per tensor: name, weights kept, weights in total, density."""
        table = pd.DataFrame(
            {
                "name": list(self),
                "kept": [int(m.sum()) for m in self.values()],
                "total": [m.numel() for m in self.values()],
            }
        )
        return table.assign(density=table["kept"] / table["total"])

    def empty_layers(self) -> list[str]:
        """Names of the tensors of which nothing is kept."""
        return [name for name, mask in self.items() if not mask.any()]

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` unless every mask names a parameter of the model and has its shape.

        Parameters
        ----------
        model
            The network.

        Raises
        ------
        InputError
            When a mask has no parameter, or another shape.
        """
        parameters = named_parameters(model, aliases=True)
        masks = renamed(self, parameters, what="mask")
        unknown = [name for name in masks if name not in parameters]
        if unknown:
            close = nearest(unknown[0], parameters, 1)
            hint = f" (nearest to {unknown[0]!r}: {close[0]!r})" if close else ""
            raise InputError(
                f"the masks do not fit the model: it has no parameter {listed(unknown)}{hint}; "
                "build the model they were made for."
            )
        wrong = [
            f"{name} is {tuple(mask.shape)} in the masks and {tuple(parameters[name].shape)} in the model"
            for name, mask in masks.items()
            if mask.shape != parameters[name].shape
        ]
        if wrong:
            raise InputError(
                f"the masks do not fit the model: {'; '.join(wrong[:5])}; build the model they were made for."
            )

    def apply(self, model: nn.Module) -> nn.Module:
        """Set the pruned weights of a model to 0.0 in place and return the model.

        Of a weight norm that divides every row by its norm, the scales of rows that are pruned whole become zero.

        Parameters
        ----------
        model
            Changed in place.

        Returns
        -------
        Module
            `model` itself.
        """
        self.check(model)
        PrunedWeights(self, model).clear()
        return model

    @torch.no_grad()
    def install(self, model: nn.Module) -> nn.Module:
        """Write the weights that go with the masks, if any (`state`), into a model, apply the masks, return it.

        Parameters
        ----------
        model
            Changed in place.

        Returns
        -------
        Module
            `model` itself.
        """
        if self.state is not None:
            self.check(model)
            own = model.state_dict()
            state = renamed(self.state, own)
            unknown = [name for name in state if name not in own]
            if unknown:
                raise InputError(
                    f"the weights that go with the masks do not fit the model: it has no {listed(unknown)}; give a "
                    "model of the same parametrisation, or apply the masks alone."
                )
            model.load_state_dict(state, strict=False)
        return self.apply(model)

    def hold(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> HeldMasks:
        """Set the pruned weights to 0.0 now and keep them there through every step of an optimizer.

        Parameters
        ----------
        model
            The network in training, changed in place.
        optimizer
            What trains it.

        Returns
        -------
        HeldMasks
            Its `remove()` ends the hold; it can also be used in a `with` statement.

        Raises
        ------
        InputError
            When the masks do not fit the model, or the optimizer updates none of the masked parameters.
        """
        self.apply(model)
        return HeldMasks(self, model, optimizer)

    def save(self, path: str | Path) -> Path:
        """Write masks and provenance to a safetensors file, whole or not at all.

        Parameters
        ----------
        path
            The file to write or replace.

        Returns
        -------
        Path
            The file.
        """
        provenance = {
            "algorithm": self.algorithm,
            "settings": self.settings,
            "seed": self.seed,
            **self._share(),
        }
        return write_arrays(
            path,
            {name: mask.numpy() for name, mask in self.items()},
            {"content": "topo masks", "order": json.dumps(list(self)), "provenance": json.dumps(provenance)},
        )

    @classmethod
    def load(cls, path: str | Path) -> Masks:
        """Read masks from a safetensors file.

        Parameters
        ----------
        path
            What `save` has written.

        Returns
        -------
        Masks
            With what found them.

        Raises
        ------
        InputError
            When the file is missing, damaged or holds something else.
        """
        try:
            arrays, metadata = read_arrays(path)
        except InputError as error:
            if Path(path).suffix == ".safetensors" or not Path(path).is_file():
                raise
            hint = "topo.Masks(tensors by parameter name, algorithm=...).save(FILE) writes a file of masks."
            raise InputError(f"{error} {hint}") from error
        try:
            # The format sorts tensors by size and name; the order is that of the network.
            order = parsed_json(metadata.get("order", "null"), "the order of its tensors")
            if order is not None and not (isinstance(order, list) and sorted(map(str, order)) == sorted(arrays)):
                raise InputError("the order of its tensors is not one of their names.")
            provenance = checked_provenance(parsed_json(metadata.get("provenance", "{}"), "what found them"))
            return cls({name: arrays[name] for name in order or arrays}, **provenance)
        except InputError as error:
            raise InputError(f"{path} does not hold masks: {error}") from error
