"""Distances between the networks of the evidence: from their masks where they are kept, else from profiles."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..dag import coupled_channels, trace
from ..errors import InputError, counted
from ..masks import Masks
from ..results.evidence import Evidence
from ..results.feature_sets import WHOLE_NETWORK, encodings_of, feature_sets, mask_only_set
from ..results.schema import GROUPS, NETWORK, PAIR
from ..similarity.distance_tests import GroupDistances
from ..similarity.permutable_units import PermutableUnits
from ..similarity.profiles import layer_profile, profile_distances
from ..similarity.topology_distance import nnstd_matrix
from ..study import Study
from ..study.computation import example_of
from ..study.store import DAMAGED, Store

__all__ = ["NetworkDistances", "network_distances"]

FEWEST_NETWORKS = 3
MOST_IN_GROUP = 200
MOST_NETWORKS = 5_000
# Most multiplications of comparing the masks of one dataset and model (some twenty seconds), and the overhead of
# comparing one layer in the same unit.
MOST_MULTIPLICATIONS = 4e11
LAYER_OVERHEAD = 4e6
# Comparisons of a pair: both directions, matching again, and the shuffled networks.
COMPARISONS = 12


@dataclass
class NetworkDistances:
    """Distances of networks by group, and how they were obtained.

    Attributes
    ----------
    groups
        Distances of the networks of every dataset, model and sparsity.
    source
        ``"masks"`` or ``"profiles"``.
    notes
        Sentences on the networks left out.
    of_densities
        Distances by the densities of the layers alone, which an algorithm may have fixed; where profiles hold them.
    """

    groups: list[GroupDistances]
    source: str
    notes: list[str] = field(default_factory=list)
    of_densities: list[GroupDistances] = field(default_factory=list)


def network_distances(evidence: Evidence, *, seed: int = 0) -> NetworkDistances:
    """Distances between the networks of every dataset, model and sparsity.

    Parameters
    ----------
    evidence
        A study whose masks are kept is compared by its masks, any other table by profiles of its metrics.
    seed
        Seeds the choice of networks where there are too many, and the shuffled masks.

    Returns
    -------
    NetworkDistances
        The distances by group.

    Raises
    ------
    InputError
        No group holds enough networks of two algorithms, or no metric differs between them.
    """
    table = evidence.sparse
    notes: list[str] = []
    with_masks = _with_masks(evidence, table, notes)
    if len(with_masks):
        try:
            groups = _from_masks(evidence, with_masks, seed, notes)
            if len(with_masks) < len(table):
                missing = len(table) - len(with_masks)
                notes.append(
                    f"{counted(missing, 'network')} {'has' if missing == 1 else 'have'} no masks and "
                    f"{'is' if missing == 1 else 'are'} left out."
                )
            return NetworkDistances(groups, "masks", notes)
        except InputError as error:
            notes.append(f"Masks could not be compared ({str(error).rstrip('.')}), so profiles are.")
    groups, of_densities = _from_profiles(evidence, table, seed, notes)
    return NetworkDistances(groups, "profiles", notes, of_densities)


def _groups_to_compare(
    table: pd.DataFrame, seed: int, notes: list[str], most: int = MOST_IN_GROUP
) -> list[pd.DataFrame]:
    """Networks of every group with several algorithms, sampled where there are too many."""
    usable = [
        part.reset_index(drop=True)
        for _, part in table.groupby(list(GROUPS), sort=True)
        if len(part) >= FEWEST_NETWORKS and len(set(part["pruner"])) > 1
    ]
    if not usable:
        raise InputError(f"no dataset, model and sparsity has {FEWEST_NETWORKS} networks of two algorithms to compare.")
    total = sum(map(len, usable))
    generator = np.random.default_rng(seed)
    usable = [part if len(part) <= most else part.sample(most, random_state=seed) for part in usable]
    order = generator.permutation(len(usable))
    kept = order[np.cumsum([len(usable[i]) for i in order]) <= max(MOST_NETWORKS, len(usable[order[0]]))]
    groups = [usable[i].reset_index(drop=True) for i in sorted(kept)]
    if (compared := sum(map(len, groups))) < total:
        notes.append(f"{compared:,} of {total:,} networks were compared, drawn at random, to bound the time.")
    return groups


def _with_masks(evidence: Evidence, table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    if not evidence.studies or not {"study", "cell"} <= set(table.columns):
        return table.iloc[:0]

    kept = pd.Series(False, index=table.index)
    for study, part in table.groupby("study"):
        if study in evidence.studies:
            store = Store(evidence.studies[study])
            states = list(store.states(part["cell"], thorough=True))
            kept[part.index] = [state.done and state.promises("masks") for state in states]
            damaged = [state.reason for state in states if state.status == DAMAGED]
            if damaged:
                notes.append(
                    f"{counted(len(damaged), 'network')} of {study} {'is' if len(damaged) == 1 else 'are'} left out: "
                    f"{damaged[0]}; topo study run {store.folder} computes what is damaged again."
                )
    return table[kept]


def _from_masks(evidence: Evidence, table: pd.DataFrame, seed: int, notes: list[str]) -> list[GroupDistances]:
    groups = []
    for (dataset, model), part in table.groupby(list(PAIR), sort=True):
        try:
            first = _groups_to_compare(part, seed, [])
        except InputError:
            continue
        permutable = _permutable_units(evidence, part.iloc[0])
        pair = COMPARISONS * (permutable.cost + LAYER_OVERHEAD * len(permutable.layers))
        affordable = int((1 + np.sqrt(1 + 8 * MOST_MULTIPLICATIONS / pair / len(first))) / 2)
        for networks in _groups_to_compare(part, seed, notes, most=max(affordable, FEWEST_NETWORKS + 1)):
            cells = networks[["study", "cell"]].itertuples(index=False)
            masks = [Masks.load(Store(evidence.studies[study]).masks_file(cell)) for study, cell in cells]
            chance = nnstd_matrix([m.random_like(seed + i) for i, m in enumerate(masks)], permutable)
            sparsity = networks["sparsity"].iloc[0]
            distances = nnstd_matrix(masks, permutable)
            groups.append(GroupDistances(dataset, model, sparsity, networks, distances, chance))
    if not groups:
        raise InputError(f"no dataset, model and sparsity has {FEWEST_NETWORKS} networks of two algorithms with masks.")
    return groups


def _permutable_units(evidence: Evidence, row: pd.Series) -> PermutableUnits:
    study = Study.load(evidence.studies[row["study"]])
    model, dataset = study.with_own_code(lambda: (study.model(row["cell"]), study.dataset(row["cell"])))
    channels = coupled_channels(trace(model, example_of(dataset)))
    return PermutableUnits.of_channels(channels, study.masks(row["cell"]))


def _from_profiles(
    evidence: Evidence, table: pd.DataFrame, seed: int, notes: list[str]
) -> tuple[list[GroupDistances], list[GroupDistances]]:
    """Distances by whole profiles, and by the densities of layers alone."""
    sets = feature_sets(table)
    network_metrics = _mask_only(sets, WHOLE_NETWORK)
    groups, of_densities, skipped, why = [], [], 0, ""
    profiles: dict[tuple[str, str], tuple[list[pd.DataFrame], list[pd.DataFrame]]] = {}
    for networks in _groups_to_compare(table, seed, notes):
        dataset, model, sparsity = networks.loc[0, list(GROUPS)]
        if (dataset, model) not in profiles:
            profiles[dataset, model] = _layer_profiles(evidence, sets, dataset, model)
        index = pd.MultiIndex.from_frame(networks[list(NETWORK)])
        densities, metrics = (
            [profile.reindex(index).reset_index(drop=True) for profile in of_kind]
            for of_kind in profiles[dataset, model]
        )
        if evidence.layers is None:
            densities += [networks[sets[name]] for name in ("density",) if name in sets]
            metrics += [networks[_mask_only(sets, encoding)] for encoding in encodings_of(sets)]
        metrics += [networks[network_metrics]]
        key = (dataset, model, sparsity, networks)
        try:
            groups.append(GroupDistances(*key, profile_distances([b for b in [*densities, *metrics] if b.shape[1]])))
        except InputError as error:
            skipped, why = skipped + 1, str(error)
            continue
        with suppress(InputError):
            of_densities.append(GroupDistances(*key, profile_distances(densities)))
    if not groups:
        raise InputError(why)
    if skipped:
        notes.append(f"{counted(skipped, 'group')} {'is' if skipped == 1 else 'are'} left out: {why}")
    return groups, of_densities


def _mask_only(sets: dict, encoding: str) -> list[str]:
    name = mask_only_set(sets, encoding, normalised=False)
    return sets[name] if name else []


def _layer_profiles(
    evidence: Evidence, sets: dict, dataset: str, model: str
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Densities of all layers, and the mask-only metrics of all layers, where layers are known."""
    layers = evidence.layers
    densities: list[pd.DataFrame] = []
    metrics: list[pd.DataFrame] = []
    if layers is None or not {"encoding", "layer", *NETWORK} <= set(layers.columns):
        return densities, metrics
    layers = layers[(layers["dataset"] == dataset) & (layers["model"] == model)]
    density = layers.drop_duplicates([*NETWORK, "layer"])
    if "layer_density" in layers.columns and density["layer_density"].notna().any():
        densities.append(layer_profile(density, NETWORK, ["layer_density"]))
    for encoding in layers["encoding"].unique():
        head = f"{encoding}__"
        names = [c.removeprefix(head).removesuffix("_mean") for c in _mask_only(sets, encoding)]
        part = layers[layers["encoding"] == encoding]
        known = [n for n in names if n in part.columns and part[n].notna().any()]
        if known:
            metrics.append(layer_profile(part, NETWORK, known))
    return densities, metrics
