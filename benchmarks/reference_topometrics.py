"""The reference implementation of topometrics, as its authors published it, on a network and masks of ours.

Cunegatti, Farina, Bucur, Iacca, *Understanding sparse neural networks from their topology via multipartite graph
representations*, TMLR (2024), https://github.com/eliacunegatti/mge-snn: clone it and give its folder. Nothing of it is
changed: its own main program runs, with our weights and masks where it would draw them and without data.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import types
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measuring import peak_memory

import topo
from topo.features.preparation import prepare_kernels
from topo.features.profiling import ENCODE, profile
from topo.torchvision_import import import_torchvision

__all__ = ["measured_by_reference"]

SAME = {
    "cut-edges": "cut_edges",
    "cut-nodes": "cut_nodes",
    "1-hop": "one_hop",
    "2-hop": "two_hop",
    "k-core": "k_core",
    "connected_components": "connected_components",
    "strenght": "strength",
    "spectral-gap": "spectral_gap",
}
"""Column of its table -> column of ours."""
OPTIONS = {"skips": "projection", "padding": "nodes"}
"""Of our encoding, for its graph."""


def measured_by_reference(
    folder: Path, its_name: str, our_name: str, settings: dict[str, Any], shape: tuple[int, ...], sparsity: float
) -> dict[str, Any]:
    """What its encoding and its metrics cost, in our products, and what both found.

    Parameters
    ----------
    folder
        A clone of the reference.
    its_name, our_name
        What each calls the network.
    settings
        Of our network, so that it has the same layers.
    shape, sparsity
        Of the input, and of uniform random masks.
    """
    torch.set_num_threads(1)
    folder = folder.resolve()
    model = topo.models.build(our_name, input_shape=shape, seed=0, **settings)
    masks = topo.prune(model, "uniform", sparsity=sparsity, seed=0)
    prepare_kernels()
    costs = profile(model, masks, example=shape, options=OPTIONS)
    product, own = costs.attrs["seconds_product"], costs["seconds"].to_dict()
    graph = topo.encode(model, masks, example=shape, **OPTIONS)
    ours = topo.measure(graph, metrics=list(SAME.values()))
    weights = [(model.get_parameter(name).detach().clone(), mask) for name, mask in masks.items()]
    import_torchvision()
    sys.path.insert(0, str(folder))
    sys.modules.setdefault("progressbar", types.ModuleType("progressbar"))  # only training would show it
    import main as reference

    network = reference.get_model(its_name, shape[0], 10)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    kept = []
    for layer in layers:
        weight, mask = weights.pop(next(i for i, (w, _) in enumerate(weights) if w.shape == layer.weight.shape))
        layer.weight.data = weight
        kept.append(mask.float())
    assert not weights, "the networks have other layers"
    seconds: dict[str, float] = {}
    encode = reference.get_encoding

    def timed(*arguments: Any) -> Any:
        start = time.process_time()
        found = encode(*arguments)
        seconds["start"] = time.process_time()
        seconds["encode"] = seconds["start"] - start
        return found

    reference.get_dataset = lambda name: (None, None, shape[-1], shape[0], 10)
    reference.get_model = lambda *arguments: network
    reference.init_weights = lambda module: None
    reference.apply_pruning = lambda *arguments: kept
    reference.get_encoding = timed
    options = argparse.Namespace(
        model=its_name,
        dataset="CIFAR-10",
        sparsity=sparsity,
        pruning="uniform",
        seed=0,
        encoding="unrolled",
        device="cpu",
        graph_metrics="topometrics",
        training=False,
    )
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as empty, redirect_stdout(StringIO()):
        os.chdir(empty)
        try:
            reference.main(options)
            row = pd.read_csv("topometrics_multipartite.csv").iloc[0]
        finally:
            os.chdir(before)
    measured, encoded = time.process_time() - seconds["start"], own.pop(ENCODE)
    pairs = {its: (float(row[its]), float(ours[column])) for its, column in SAME.items()}
    return {
        "seconds_encode": seconds["encode"],
        "products_encode": seconds["encode"] / product,
        "seconds": measured,
        "products": measured / product,
        "seconds_product": product,
        "our_seconds_encode": encoded,
        "our_seconds": sum(own.values()),
        "edges": graph.n_edges,
        "peak_mib": peak_memory(),
        "values": {name: {"reference": its, "ours": own} for name, (its, own) in pairs.items()},
        "largest_relative_difference": max(
            abs(its - own) / max(abs(own), 1e-9) for its, own in pairs.values() if np.isfinite(own)
        ),
    }
