from __future__ import annotations

import numpy as np
import pytest
import torch

from topo.errors import InputError
from topo.masks import Masks
from topo.similarity import mask_overlap


def random_masks(seed: int, density: float = 0.3) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    return Masks({f"{i}.weight": torch.rand(40, 30, generator=generator) < density for i in range(3)})


def test_files_are_compared_as_masks_are(tmp_path):
    one, two = random_masks(0), random_masks(1)
    table = mask_overlap(one.save(tmp_path / "one.safetensors"), two.save(tmp_path / "two.safetensors"))
    assert table.equals(mask_overlap(one, two))
    first = one["1.weight"].numpy(), two["1.weight"].numpy()
    assert table.loc["1.weight", "both"] == np.logical_and(*first).sum()
    assert table.loc["1.weight", "jaccard"] == np.logical_and(*first).sum() / np.logical_or(*first).sum()
    assert table.loc["all layers", "both"] == table["both"][:-1].sum()


def test_random_masks_have_what_chance_gives():
    table = mask_overlap(random_masks(0), random_masks(1))
    assert table.loc["all layers", "jaccard"] == pytest.approx(table.loc["all layers", "chance"], abs=0.02)
    same = mask_overlap(random_masks(0), random_masks(0))
    assert (same["jaccard"] == 1).all() and same.loc["all layers", "chance"] < 0.25


def test_layers_that_keep_nothing_have_no_index():
    none = Masks({"0.weight": torch.zeros(2, 2, dtype=torch.bool)})
    assert mask_overlap(none, none)[["jaccard", "chance"]].isna().all().all()


def test_masks_of_other_weights_are_refused():
    with pytest.raises(InputError, match=r"only one of the masks has 2\.weight"):
        mask_overlap(random_masks(0), {k: v for k, v in random_masks(1).items() if k != "2.weight"})
    with pytest.raises(InputError, match=r"\(40, 30\) in one mask and \(2, 2\)"):
        mask_overlap(random_masks(0), {k: torch.ones(2, 2, dtype=torch.bool) for k in random_masks(1)})
