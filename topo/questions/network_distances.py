"""Distances between the networks of a piece of evidence: from their masks where they are kept, else from profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..errors import InputError
from ..results.accuracy_drop import NETWORK
from ..results.evidence import ENCODINGS, Evidence
from ..results.feature_sets import feature_sets
from ..similarity.distance_tests import Cell
from ..similarity.profiles import layer_profile, profile_distances

__all__ = ["Likeness", "likeness"]

CELL = ["dataset", "model", "sparsity"]
FEWEST = 3
MOST_IN_CELL = 200
MOST_NETWORKS = 5_000
# Multiplications that comparing masks may take for one dataset and model, some twenty seconds; and what the rest of
# comparing one layer costs, in the same unit.
MOST_WORK = 4e11
WORK_OF_LAYER = 4e6
# Both directions, matching again, and the shuffled networks.
COMPARISONS = 12


@dataclass
class Likeness:
    """The cells with their distances, what the distances are of (``"masks"`` or ``"profiles"``), and what was left
    out on the way, in sentences."""

    cells: list[Cell]
    kind: str
    notes: list[str] = field(default_factory=list)


def likeness(evidence: Evidence, *, seed: int = 0) -> Likeness:
    """Cells of equal dataset, model and sparsity with the distances of their networks.

    Raises
    ------
    InputError
        No cell holds enough networks of two algorithms, or no profile tells them apart.
    """
    table, notes = evidence.sparse, []
    kept = _with_masks(evidence, table)
    if len(kept):
        try:
            found = _from_masks(evidence, kept, seed, notes)
            if len(kept) < len(table):
                notes.append(f"{len(table) - len(kept)} networks have no masks and are left out.")
            return Likeness(found, "masks", notes)
        except InputError as error:
            notes.append(f"Masks could not be compared ({str(error).rstrip('.')}), so profiles are.")
    return Likeness(_from_profiles(evidence, table, seed, notes), "profiles", notes)


def _chosen(table: pd.DataFrame, seed: int, notes: list[str], most: int = MOST_IN_CELL) -> list[pd.DataFrame]:
    """Tables of the cells worth comparing, sampled down where there are too many networks."""
    usable = [
        part.reset_index(drop=True)
        for _, part in table.groupby(CELL, sort=True)
        if len(part) >= FEWEST and len(set(part["pruner"])) > 1
    ]
    if not usable:
        raise InputError(f"no dataset, model and sparsity has {FEWEST} networks of two algorithms to compare.")
    whole = sum(map(len, usable))
    generator = np.random.default_rng(seed)
    usable = [part if len(part) <= most else part.sample(most, random_state=seed) for part in usable]
    order = generator.permutation(len(usable))
    kept = order[np.cumsum([len(usable[i]) for i in order]) <= max(MOST_NETWORKS, len(usable[order[0]]))]
    cells = [usable[i].reset_index(drop=True) for i in sorted(kept)]
    if (left := sum(map(len, cells))) < whole:
        notes.append(f"{left:,} of {whole:,} networks were compared, drawn at random, to bound the time.")
    return cells


def _with_masks(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    if not evidence.studies or not {"study", "cell"} <= set(table.columns):
        return table.iloc[:0]

    def there(study: object, cell: str) -> bool:
        folder = evidence.studies.get(study)
        return folder is not None and (folder / "cells" / cell / "masks.safetensors").is_file()

    return table[[there(*row) for row in table[["study", "cell"]].itertuples(index=False)]]


def _from_masks(evidence: Evidence, table: pd.DataFrame, seed: int, notes: list[str]) -> list[Cell]:
    # Both bring torch with them, which tables do not need.
    from ..masks import Masks
    from ..similarity.nnstd import nnstd_matrix, shuffled

    cells = []
    for (dataset, model), part in table.groupby(["dataset", "model"], sort=True):
        try:
            first = _chosen(part, seed, [])
        except InputError:
            continue
        wiring = _wiring(evidence, part.iloc[0])
        pair = COMPARISONS * (wiring.cost + WORK_OF_LAYER * len(wiring.layers))
        of_cell = int((1 + np.sqrt(1 + 8 * MOST_WORK / pair / len(first))) / 2)
        for networks in _chosen(part, seed, notes, most=max(of_cell, FEWEST + 1)):
            files = [evidence.studies[r.study] / "cells" / r.cell / "masks.safetensors" for r in networks.itertuples()]
            masks = [Masks.load(file) for file in files]
            chance = nnstd_matrix([shuffled(m, seed + i) for i, m in enumerate(masks)], wiring)
            at = networks["sparsity"].iloc[0]
            cells.append(Cell(dataset, model, at, networks, nnstd_matrix(masks, wiring), chance))
    if not cells:
        raise InputError(f"no dataset, model and sparsity has {FEWEST} networks of two algorithms with masks.")
    return cells


def _wiring(evidence: Evidence, row: pd.Series):
    import torch

    from ..dag import coupled_channels, trace
    from ..similarity.permutable_units import Wiring
    from ..study import Study
    from ..study.computation import load_data

    study = Study.load(evidence.studies[row["study"]])
    shape = load_data(study.cell(row["cell"])).input_shape
    found = coupled_channels(trace(study.model(row["cell"]), torch.zeros(1, *shape)))
    return Wiring.of(found, study.masks(row["cell"]))


def _from_profiles(evidence: Evidence, table: pd.DataFrame, seed: int, notes: list[str]) -> list[Cell]:
    sets = feature_sets(table)
    whole = _mask_only(sets, "multipartite")
    cells, skipped, why = [], 0, ""
    profiles: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for networks in _chosen(table, seed, notes):
        dataset, model, at = networks.loc[0, CELL]
        if (dataset, model) not in profiles:
            profiles[dataset, model] = list(_layer_profiles(evidence, sets, dataset, model))
        index = pd.MultiIndex.from_frame(networks[list(NETWORK)])
        blocks = [networks[columns] for columns in [whole, *_layer_means(evidence, sets)] if columns]
        blocks += [profile.reindex(index).reset_index(drop=True) for profile in profiles[dataset, model]]
        try:
            cells.append(Cell(dataset, model, at, networks, profile_distances(blocks)))
        except InputError as error:
            skipped, why = skipped + 1, str(error)
    if not cells:
        raise InputError(why)
    if skipped:
        notes.append(f"{skipped} groups are left out: {why}")
    return cells


def _mask_only(sets: dict, name: str) -> list[str]:
    return sets.get(f"{name}_untrained") or sets.get(name, [])


def _layer_profiles(evidence: Evidence, sets: dict, dataset: str, model: str) -> Iterable[pd.DataFrame]:
    """Densities of all layers, and the mask-only metrics of all layers, where layers are known."""
    layers = evidence.layers
    if layers is None or not {"encoding", "layer", *NETWORK} <= set(layers.columns):
        return
    layers = layers[(layers["dataset"] == dataset) & (layers["model"] == model)]
    density = layers.drop_duplicates([*NETWORK, "layer"])
    if "layer_density" in layers.columns and density["layer_density"].notna().any():
        yield layer_profile(density, NETWORK, ["layer_density"])
    for encoding in ENCODINGS:
        head = f"{encoding}__"
        names = [c.removeprefix(head).removesuffix("_mean") for c in _mask_only(sets, encoding)]
        part = layers[layers["encoding"] == encoding]
        known = [n for n in names if n in part.columns and part[n].notna().any()]
        if known:
            yield layer_profile(part, NETWORK, known)


def _layer_means(evidence: Evidence, sets: dict) -> list[list[str]]:
    """The same as means over layers, of a table that knows no more."""
    if evidence.layers is not None:
        return []
    return [sets.get("density", []), *(_mask_only(sets, e) for e in ("rolled", "rolled_channel", "unrolled"))]
