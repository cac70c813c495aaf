"""The layers of many networks as one long table: where the weights went, and what was measured of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..masks import Masks
from ..study import Study
from ..study.layer_metrics import layer_facts
from ..study.layer_rows import FACTS, layer_rows
from ..study.store import Store
from .evidence import Evidence
from .schema import NETWORK, metric_columns

__all__ = ["layer_table"]


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
        (kept over weights) and ``mean_abs_weight`` (of the kept weights, where they are known: of studies after
        training, and of masks that hold weights). Then ``<encoding>__<metric>`` for what a study measured on
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
        return _known(layer_rows(source.store, [{**identity, "cell": key} for key, identity in source.plan]))
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
        piece = _known(layer_rows(Store(folder), table[columns].to_dict("records")))
        pieces.append(piece.assign(study=name) if len(evidence.studies) > 1 else piece)
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=[*NETWORK, *FACTS])


def _of_masks(networks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    identities, layers = [], []
    for name, given in networks.items():
        masks = given if isinstance(given, Masks) else Masks(given)
        sparsity = masks.sparsity if masks.asked_sparsity is None else masks.asked_sparsity
        identity = {"network": name, "pruner": masks.algorithm or name, "sparsity": sparsity}
        identities.append(identity if masks.seed is None else {**identity, "seed": masks.seed})
        layers.append(layer_facts(masks, masks.state))
    return _long(identities, layers)


def _long(identities: Sequence[Mapping[str, Any]], layers: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row a layer: the identities of the networks, each repeated for its layers, beside what is known of these."""
    counts = [len(network) for network in layers]
    named = pd.DataFrame(identities, index=range(len(counts))).loc[np.repeat(np.arange(len(counts)), counts)]
    table = named.reset_index(drop=True).join(pd.concat(layers, ignore_index=True))
    table.insert(table.columns.get_loc("mean_abs_weight"), "density", table["kept"] / table["weights"])
    return _known(table)


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """Without the sizes of weights where none are known."""
    return table.drop(columns="mean_abs_weight") if table["mean_abs_weight"].isna().all() else table


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
