"""The layers of all networks of a study as one long table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import pandas as pd

from ..errors import InputError
from .store import Store

__all__ = ["layer_rows"]

FACTS = ["layer", "weights", "kept", "density", "mean_abs_weight"]
# So many networks are held layer by layer before they become columns.
CHUNK = 200


def layer_rows(store: Store, networks: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a network and layer: how many of its weights are kept, how large they are, and the layer's metrics.

    Parameters
    ----------
    store
        The folder of the study.
    networks
        What identifies each network, ``cell`` among it; networks without masks, as dense ones, have no row.

    Returns
    -------
    DataFrame
        The identity, ``layer``, ``weights``, ``kept``, ``density``, ``mean_abs_weight`` and, for what was measured on
        the graph of each layer, ``<encoding>__<metric>``.
    """
    networks = iter(networks)
    pieces = []
    while chunk := list(islice(networks, CHUNK)):
        try:
            piece = _piece(store, chunk)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"a record in {store.records} does not hold the layers of a network ({error!r}); compute it again."
            ) from error
        if len(piece):
            pieces.append(piece)
    return pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=["cell", *FACTS])


def _piece(store: Store, networks: list[Mapping[str, Any]]) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {}
    rows = 0

    def fill(name: str, values: list[Any]) -> None:
        column = columns.setdefault(name, [])
        column.extend([math.nan] * (rows - len(column)))
        column.extend(values)

    for identity, (facts, measured) in zip(networks, store.layers(n["cell"] for n in networks), strict=True):
        if not facts:
            continue
        layers = facts["layer"]
        for name, value in identity.items():
            fill(name, [value] * len(layers))
        for name in ("layer", "weights", "kept", "mean_abs_weight"):
            fill(name, facts[name])
            if name == "kept":
                counts = zip(facts["kept"], facts["weights"], strict=True)
                fill("density", [kept / total if total else math.nan for kept, total in counts])
        for encoding, table in measured.items():
            places = {layer: place for place, layer in enumerate(table["layer"])}
            order = [places.get(layer) for layer in layers]
            for name, values in table.items():
                if name != "layer":
                    fill(f"{encoding}__{name}", [math.nan if at is None else values[at] for at in order])
        rows += len(layers)
    padded = {name: values + [math.nan] * (rows - len(values)) for name, values in columns.items()}
    table = pd.DataFrame(padded)
    numbers = {name: float for name in table.columns if "__" in name or name == "mean_abs_weight"}
    return table.astype(numbers)
