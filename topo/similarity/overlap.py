"""What the masks of two networks have in common, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from torch import Tensor

from ..errors import InputError
from ..masks import Masks

__all__ = ["mask_overlap"]

ALL = "all layers"


def mask_overlap(first: Mapping[str, Tensor] | str | Path, second: Mapping[str, Tensor] | str | Path) -> pd.DataFrame:
    """How many weights two masks of one network both keep, in every layer and in all, beside what chance gives.

    Parameters
    ----------
    first, second
        Masks, or files of them as `topo.Masks.save` writes them.

    Returns
    -------
    DataFrame
        A row a layer and a last one for all: ``weights``; ``first`` and ``second``, what each keeps; ``both``;
        ``jaccard``, what both keep over what either keeps, NaN where neither keeps any; ``chance``, the Jaccard index
        of the numbers that random places in every layer would have in common on average.

    Raises
    ------
    InputError
        When the masks are not of the same weights.

    Examples
    --------
    >>> first, second = Masks({"fc.weight": [[1, 1, 0, 0]]}), Masks({"fc.weight": [[1, 0, 1, 0]]})
    >>> mask_overlap(first, second).loc["all layers"].round(2).to_dict()
    {'weights': 4.0, 'first': 2.0, 'second': 2.0, 'both': 1.0, 'jaccard': 0.33, 'chance': 0.33}
    """
    one, two = (Masks.load(m) if isinstance(m, str | Path) else Masks(m) for m in (first, second))
    if one.keys() != two.keys():
        apart = sorted(one.keys() ^ two.keys())
        raise InputError(f"only one of the masks has {', '.join(apart[:4])}; compare masks of the same weights.")
    rows = {}
    for name, mask in one.items():
        other = two[name]
        if mask.shape != other.shape:
            raise InputError(f"{name} is {tuple(mask.shape)} in one mask and {tuple(other.shape)} in the other.")
        kept, others = int(mask.sum()), int(other.sum())
        expected = kept * others / max(mask.numel(), 1)
        rows[name] = (mask.numel(), kept, others, int((mask & other).sum()), expected)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["weights", "first", "second", "both", "expected"])
    table.loc[ALL] = table.sum()
    union = table["first"] + table["second"] - table["both"]
    table["jaccard"] = (table["both"] / union).where(union > 0)
    either = table["first"] + table["second"] - table["expected"]
    table["chance"] = (table["expected"] / either).where(either > 0)
    whole = ["weights", "first", "second", "both"]
    return table.astype(dict.fromkeys(whole, int))[[*whole, "jaccard", "chance"]].rename_axis("layer")
