"""The layers of many networks as one long table: where the weights went, and what was measured of each layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..masks import Masks
from ..safe_files import read_arrays
from ..study import Study
from ..study.layer_metrics import read_layer_metrics
from ..study.store import Store
from .evidence import Evidence
from .schema import NETWORK, metric_columns

__all__ = ["layer_table"]

FACTS = ["layer", "weights", "kept", "density", "mean_abs_weight"]
SUFFIX = ".weight"


def layer_table(source: Any) -> pd.DataFrame:
    """One row a network and layer: how many of its weights are kept, how large they are, and the layer's metrics.

    Parameters
    ----------
    source
        A study, its folder, evidence (several studies, or the published tables), a folder of mask files
        (``*.safetensors``, as `topo.Masks.save` writes them), a mapping from names to masks, or the masks of a network.

    Returns
    -------
    DataFrame
        What identifies the network: of studies dataset, model, pruner, family, sparsity, seed and cell; of masks
        network, pruner, sparsity and seed, as the masks record them. Then ``layer``, ``weights``, ``kept``, ``density``
        (kept over weights) and ``mean_abs_weight`` (of the kept weights, where they are known: of studies with
        ``save_weights``, and of masks that hold weights). Then ``<encoding>__<metric>`` for what a study measured on
        the graph of each layer. Layers are in the order of the network. Networks without masks, as dense ones, have no
        row.

    Raises
    ------
    InputError
        The source is none of these, or cannot be read.

    Examples
    --------
    >>> from topo.masks import Masks
    >>> masks = {"mine": Masks({"0.weight": [[1, 0], [0, 0]], "2.weight": [[1, 1]]}, sparsity=0.5)}
    >>> table = layer_table(masks)
    >>> table[["network", "layer", "weights", "kept", "density"]].values.tolist()
    [['mine', '0', 4, 1, 0.25], ['mine', '2', 2, 2, 1.0]]
    >>> from topo.plots import layer_density_grid
    >>> figure = layer_density_grid(table)
    """
    if isinstance(source, str | Path):
        source = _opened(Path(source))
    if isinstance(source, Study):
        return _of_cells(source.store, [{**identity, "cell": key} for key, identity in source.plan])
    if isinstance(source, Evidence):
        return _of_evidence(source)
    if isinstance(source, Masks):
        source = {source.algorithm or "network": source}
    if isinstance(source, Mapping) and source and all(isinstance(masks, Mapping) for masks in source.values()):
        return _of_masks(source)
    raise InputError(
        "give a study, its folder, a folder of mask files, or a mapping from names of networks to topo.Masks; "
        f"got {_what(source)}."
    )


def _what(source: Any) -> str:
    if isinstance(source, Mapping) and source:
        return f"a {type(source).__name__} of {type(next(iter(source.values()))).__name__}"
    return type(source).__name__


def _opened(folder: Path) -> Study | dict[str, Masks]:
    if Study.is_study(folder):
        return Study.load(folder)
    files = sorted(folder.glob("**/*.safetensors"))
    if not files:
        raise InputError(f"{folder} is neither the folder of a study nor one of mask files (*.safetensors).")
    return {file.relative_to(folder).with_suffix("").as_posix(): Masks.load(file) for file in files}


def _of_evidence(evidence: Evidence) -> pd.DataFrame:
    if evidence.layers is not None:
        return _of_encodings(evidence.layers)
    pieces = []
    for name, folder in evidence.studies.items():
        table = evidence.networks[evidence.networks["study"] == name]
        columns = [*NETWORK[:3], "family", *NETWORK[3:], "cell"]
        piece = _of_cells(Store(folder), table[columns].to_dict("records"))
        pieces.append(piece.assign(study=name) if len(evidence.studies) > 1 else piece)
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=[*NETWORK, *FACTS])


def _of_masks(networks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    identities, layers = [], []
    for name, given in networks.items():
        masks = given if isinstance(given, Masks) else Masks(given)
        sparsity = masks.sparsity if masks.asked_sparsity is None else masks.asked_sparsity
        identity = {"network": name, "pruner": masks.algorithm or name, "sparsity": sparsity}
        identities.append(identity if masks.seed is None else {**identity, "seed": masks.seed})
        layers.append(_counted({key: mask.numpy() for key, mask in masks.items()}, masks.state))
    return _long(identities, layers)


def _of_cells(store: Store, cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The layers of the cells that have masks; `cells` name the networks and their key."""
    identities, layers, measured = [], [], []
    for identity in cells:
        key = identity["cell"]
        if not store.masks_file(key).is_file():
            continue
        masks = Masks.load(store.masks_file(key))
        file = store.weights_file(key)
        weights = read_arrays(file)[0] if file.is_file() else None
        identities.append(dict(identity))
        layers.append(_counted({name: mask.numpy() for name, mask in masks.items()}, weights))
        measured.append(read_layer_metrics(store.layers_file(key)))
    table = _long(identities, layers)
    for encoding in dict.fromkeys(name for tables in measured for name in tables):
        parts = [
            tables[encoding].assign(cell=identity["cell"])
            for identity, tables in zip(identities, measured, strict=True)
            if encoding in tables
        ]
        metrics = pd.concat(parts).set_index("cell", append=True)
        table = table.join(metrics.add_prefix(f"{encoding}__"), on=["layer", "cell"])
    return table


def _counted(masks: Mapping[str, np.ndarray], weights: Mapping[str, Any] | None) -> dict[str, Sequence[Any]]:
    """The layers of one network by column."""
    sizes = []
    for name, mask in masks.items():
        known = None if weights is None else weights.get(name)
        kept = np.abs(np.asarray(known)[mask]) if known is not None else mask[:0]
        sizes.append(float(kept.mean()) if kept.size else np.nan)
    return {
        "layer": [name.removesuffix(SUFFIX) for name in masks],
        "weights": [mask.size for mask in masks.values()],
        "kept": [int(np.count_nonzero(mask)) for mask in masks.values()],
        "mean_abs_weight": sizes,
    }


def _long(identities: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Sequence[Any]]]) -> pd.DataFrame:
    """One row a layer: the identities of the networks, each repeated for its layers, beside what is known of these."""
    counts = [len(network["layer"]) for network in layers]
    named = pd.DataFrame(identities, index=range(len(counts))).loc[np.repeat(np.arange(len(counts)), counts)]
    columns = {name: list(_joined(network[name] for network in layers)) for name in FACTS if name != "density"}
    table = named.reset_index(drop=True).assign(**columns)
    table.insert(table.columns.get_loc("mean_abs_weight"), "density", table["kept"] / table["weights"])
    return table.drop(columns="mean_abs_weight") if table["mean_abs_weight"].isna().all() else table


def _joined(lists: Iterable[Sequence[Any]]) -> Iterator[Any]:
    for values in lists:
        yield from values


def _of_encodings(layers: pd.DataFrame) -> pd.DataFrame:
    """A table of one row a layer and encoding, such as the published one, as one row a layer."""
    keys = [*NETWORK, "layer"]
    metrics = metric_columns(layers)
    facts = layers.drop(columns=[*metrics, "encoding"])
    table = facts.groupby(keys, sort=False).first().reset_index()  # the first known value: one encoding has the counts
    names = {"layer_density": "density", "total_weights": "weights", "kept_weights": "kept"}
    table = table.rename(columns=names).sort_values(keys, ignore_index=True, kind="stable")
    for encoding, part in layers.groupby("encoding", sort=False):
        known = part.set_index(keys)[[m for m in metrics if part[m].notna().any()]]
        table = table.join(known.add_prefix(f"{encoding}__"), on=keys)
    if "layer_name" in table.columns:
        table["layer"] = table.pop("layer_name")
    first = [c for c in (*NETWORK[:3], "family", *NETWORK[3:], *FACTS) if c in table.columns]
    return table[[*first, *(c for c in table.columns if c not in first)]]
