from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import topo
from topo.results import layer_table
from topo.results.evidence import Evidence


def test_layers_of_a_study_are_those_of_its_networks(tiny, here):
    study = tiny(
        pruners=["er", "snip"], sparsities=[0.5], encodings=["multipartite", "rolled"], metrics=["local", "imdb"],
        save_weights=True,
    )  # fmt: skip
    results = study.run(executor=here, progress=False)
    table = layer_table(study)
    assert layer_table(study.folder).equals(table) and layer_table(Evidence.read(study)).equals(table)
    assert table["pruner"].unique().tolist() == ["er", "snip"]
    for key, part in table.groupby("cell"):
        masks = study.masks(key)
        counts = masks.counts()
        assert part["layer"].tolist() == counts["name"].str.removesuffix(".weight").tolist()
        assert part["kept"].tolist() == counts["kept"].tolist() and (part["density"] == counts["density"].values).all()
        weights = dict(study.model(key).named_parameters())
        sizes = [float(weights[name].detach()[mask].abs().mean()) for name, mask in masks.items()]
        assert part["mean_abs_weight"].tolist() == pytest.approx(sizes)
        measured = topo.measure_layers(study.graph(key, "rolled"), metrics=["local", "imdb"])
        kept = part.set_index("layer").filter(like="rolled__").rename(columns=lambda c: c.removeprefix("rolled__"))
        pd.testing.assert_frame_equal(kept, measured, check_like=True)
        # The row of the network is over these layers.
        row = results.set_index("cell").loc[key]
        assert row["rolled__sink_nodes_norm_mean"] == pytest.approx(part["rolled__sink_nodes_norm"].mean())
        assert np.isnan(row["rolled__imdb_mean"]) == part["rolled__imdb"].isna().all()


def test_a_study_whose_layers_were_not_measured_has_their_counts(tiny, here):
    study = tiny(pruners=["er"], sparsities=[0.5], encodings=["multipartite"], metrics=["local"])
    study.run(executor=here, progress=False)
    table = layer_table(study)
    assert table.columns[-4:].tolist() == ["weights", "kept", "density", "mean_abs_weight"] and len(table)
    pd.testing.assert_frame_equal(pd.read_parquet(study.store.layers_file), table)
    study.store.masks_file(table["cell"].iloc[0]).unlink()
    pd.testing.assert_frame_equal(layer_table(study), table)
