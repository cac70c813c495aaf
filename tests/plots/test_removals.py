from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topo.errors import InputError
from topo.plots import removal_course


def record(steps: int = 12, rounds: int = 3) -> pd.DataFrame:
    number = np.arange(steps)
    unit = number % 4 > 0
    return pd.DataFrame(
        {
            "round_number": 1 + number * rounds // steps,
            "name": [f"layer{i % 3}.weight[{i}]" if u else f"branch{i}" for i, u in enumerate(unit)],
            "kind": np.where(unit, "unit", "arcs"),
            "level": np.where(unit, 9 - number % 3, 20 + number),
            "left": 12_345 - 100 * (1 + number * rounds // steps),
            "came_back": number == 5,
        }
    )


def test_marks_stand_where_and_when_things_went():
    table = record()
    ax = removal_course(table)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["layer2", "layer1", "layer0", "branch0", "branch4", "branch8"]  # by level
    marks = np.concatenate([c.get_offsets() for c in ax.collections if not c.get_label().startswith("_")])
    shown = {(int(x), names[int(y)]) for x, y in marks}
    assert shown == {(i + 1, name.split(".weight")[0]) for i, name in enumerate(table["name"])}
    hollow = [c for c in ax.collections if c.get_label() == "unit, came back"]
    assert [c.get_offsets()[:, 0].tolist() for c in hollow] == [[6.0]]
    assert [t.get_text() for t in ax.texts] == ["12,045 left", "12,145", "12,245"]


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "rounds"), [(1, 1), (4, 4), (30, 5), (200, 20)])
def test_no_texts_collide(steps, rounds, collisions):
    assert collisions(removal_course(record(steps, rounds), title="a network").figure) == []


def test_bad_records_are_refused():
    with pytest.raises(InputError, match="no column 'left'"):
        removal_course(record().drop(columns="left"))
    with pytest.raises(InputError, match="nothing was removed"):
        removal_course(record().head(0))
