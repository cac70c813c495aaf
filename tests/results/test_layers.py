from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.published_tables import LAYERS, networks, write
from topo.errors import InputError
from topo.masks import Masks
from topo.results import layer_table
from topo.results.evidence import Evidence
from topo.results.schema import NETWORK


def make(number: int, **provenance: object) -> Masks:
    generator = torch.Generator().manual_seed(number)
    shapes = {"conv.weight": (4, 2, 3, 3), "attention.in_proj_weight": (6, 2), "a.weight": (1, 3)}
    return Masks({n: torch.rand(s, generator=generator) < 0.4 for n, s in shapes.items()}, **provenance)


def test_counts_are_those_of_the_masks_layer_by_layer():
    masks = {"one": make(0, algorithm="snip", seed=3, sparsity=0.6), "two": make(1)}
    table = layer_table(masks)
    assert table["layer"].tolist() == ["conv", "attention.in_proj_weight", "a"] * 2
    assert table["network"].tolist() == ["one"] * 3 + ["two"] * 3
    assert table["pruner"].tolist() == ["snip"] * 3 + ["two"] * 3
    assert table["sparsity"].tolist() == [0.6] * 3 + [masks["two"].sparsity] * 3
    assert table["seed"].tolist()[:3] == [3, 3, 3] and table["seed"].isna().tolist()[3:] == [True] * 3
    expected = [int(mask.sum()) for network in masks.values() for mask in network.values()]
    assert table["kept"].tolist() == expected
    assert table["weights"].tolist() == [72, 12, 3] * 2
    assert (table["density"] == table["kept"] / table["weights"]).all()
    assert "mean_abs_weight" not in table  # for no weights are known


def test_weights_that_come_with_masks_are_averaged_over_those_kept():
    masks = make(0)
    masks.state = {"conv.weight": torch.arange(72.0).view(4, 2, 3, 3) - 9, "other": torch.ones(2)}
    sizes = layer_table(masks).set_index("layer")["mean_abs_weight"]
    kept = masks["conv.weight"].numpy()
    assert sizes["conv"] == pytest.approx(np.abs(np.arange(72.0).reshape(4, 2, 3, 3)[kept] - 9).mean())
    assert sizes.drop("conv").isna().all()


def test_a_folder_of_masks_is_the_mapping_of_its_files(tmp_path):
    masks = {"a/one": make(0, algorithm="snip"), "two": make(1, algorithm="er")}
    for name, each in masks.items():
        each.save(tmp_path / f"{name}.safetensors")
    assert layer_table(tmp_path).equals(layer_table(masks))
    assert layer_table(str(tmp_path)).equals(layer_table(tmp_path))


def test_one_network_and_plain_arrays():
    masks = make(0, algorithm="snip")
    assert layer_table(masks).equals(layer_table({"snip": masks}))
    assert layer_table({"mine": {"w": np.eye(3)}})[["kept", "density"]].values.tolist() == [[3, 1 / 3]]


def test_published_layers_are_a_row_each_with_the_metrics_of_every_encoding(tmp_path):
    evidence = Evidence.open(published=write(tmp_path / "t"))
    table = layer_table(evidence)
    assert len(table) == LAYERS * len(networks())
    assert not table.duplicated([*NETWORK, "layer"]).any()
    assert (table["weights"] == 1000).all() and (table["density"] == table["kept"] / 1000).all()
    rolled = evidence.layers.query("encoding == 'rolled'").rename(columns={"layer": "number", "layer_name": "layer"})
    both = table.merge(rolled, on=[*NETWORK, "layer"], suffixes=("_table", ""))
    assert (both["rolled__strength"] == both["strength"]).all() and len(both) == len(table)
    assert table["ramanujan__iwsg"].notna().all() and "ramanujan__strength" not in table


def test_a_source_without_layers_and_bad_input(tmp_path):
    from topo.results import example_results

    assert layer_table(Evidence.of(example_results())).empty
    with pytest.raises(InputError, match="neither the folder of a study nor one of mask files"):
        layer_table(tmp_path)
    for wrong in (None, {}, {"a": 3}, [make(0)]):
        with pytest.raises(InputError, match=r"give a study, its folder, a folder of mask files"):
            layer_table(wrong)
    with pytest.raises(InputError, match="got a dict of Tensor"):
        layer_table(dict(make(0)))
