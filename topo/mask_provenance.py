"""What masks say of where they came from: the algorithm, its settings, and what its sparsity is a share of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .errors import InputError, listed
from .validation import one_of, share, whole_number

__all__ = ["SPARSITY_OF", "checked_provenance", "checked_scope", "plain_settings", "reached_sparsity"]

SPARSITY_OF = ("included", "all")
"""What a sparsity is a share of: the weights that include and exclude leave open to pruning, or all prunable ones."""


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back.

    Parameters
    ----------
    settings
        Of an algorithm.

    Returns
    -------
    dict
        Of plain values.

    Raises
    ------
    InputError
        When they cannot be written as JSON.
    """
    try:
        return json.loads(json.dumps(dict(settings)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the settings of masks must be writable as JSON: {error}.") from error


def checked_scope(
    masks: Mapping[str, Tensor], sparsity_of: str, included: Sequence[str] | None, prunable: int | None
) -> tuple[str, tuple[str, ...] | None, int | None]:
    """What the sparsity asked for is a share of, after checking that it fits the masks.

    Parameters
    ----------
    masks
        Name -> bool mask.
    sparsity_of
        One of `SPARSITY_OF`.
    included
        Names of the masks whose weights were open to pruning; None for all of them.
    prunable
        How many weights could be pruned without patterns; None for those that have masks.

    Returns
    -------
    tuple
        The three of them.

    Raises
    ------
    InputError
        When a name has no mask, or there are fewer prunable weights than masked ones.
    """
    one_of("sparsity_of", sparsity_of, SPARSITY_OF)
    if included is not None:
        included = tuple(included)
        unknown = [name for name in included if name not in masks]
        if unknown or not included:
            raise InputError(f"the included weights are names of masks, not {listed(unknown) or 'none'}.")
    if prunable is not None:
        masked = sum(mask.numel() for mask in masks.values())
        whole_number("prunable, the number of weights that could be pruned,", prunable, minimum=masked)
    return sparsity_of, included, prunable


def reached_sparsity(
    masks: Mapping[str, Tensor], of: str, included: Sequence[str] | None, prunable: int | None
) -> float:
    """The share of weights that masks prune, of the included ones or of all.

    Parameters
    ----------
    masks
        Name -> bool mask.
    of
        One of `SPARSITY_OF`.
    included, prunable
        As for `checked_scope`.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> import torch
    >>> masks = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    >>> reached_sparsity(masks, "included", ["a"], 8), reached_sparsity(masks, "all", ["a"], 8)
    (0.5, 0.125)
    """
    one_of("of", of, SPARSITY_OF)
    chosen = masks if of == "all" or included is None else {name: masks[name] for name in included}
    masked, kept = sum(m.numel() for m in chosen.values()), sum(int(m.sum()) for m in chosen.values())
    total = masked if of == "included" or prunable is None else prunable
    return 1.0 - (total - masked + kept) / total


def checked_provenance(facts: Any) -> dict[str, Any]:
    """What a file says of the masks' origin, as arguments of `topo.Masks`.

    Parameters
    ----------
    facts
        Read from the file.

    Returns
    -------
    dict
        Argument -> value.

    Raises
    ------
    InputError
        When they are no such facts.
    """
    known = {"algorithm", "settings", "seed", "sparsity", "sparsity_of", "included", "prunable"}
    if not isinstance(facts, dict) or not {*facts} <= known:
        raise InputError("what found them is not described by algorithm, settings, seed and sparsity.")
    if not isinstance(facts.get("algorithm"), str | None):
        raise InputError("the name of the algorithm is no text.")
    if not isinstance(facts.get("settings"), dict | None):
        raise InputError("the settings of the algorithm are not given by name.")
    if not isinstance(facts.get("included"), list | None):
        raise InputError("the included weights are no list of names.")
    for name, check in (("seed", whole_number), ("sparsity", share)):
        if facts.get(name) is not None:
            check(f"the {name}", facts[name])
    return facts
