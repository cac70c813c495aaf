"""An algorithm of one's own is registered with a stage and a family that exist."""

from __future__ import annotations

import pytest

from topo.errors import InputError
from topo.pruning import PRUNERS
from topo.pruning.registry import FAMILIES, STAGES
from topo.results import schema


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"family": "trained", "stage": "before"}, "is of stage 'before'; its stage must be 'initial' .*'training'"),
        ({"family": "trained", "stage": "init"}, "is of stage 'init'"),
        ({"family": "trained"}, "is registered without a stage"),
        ({"stage": "trained"}, "is registered without a family"),
        ({"family": "structure", "stage": "trained"}, "did you mean 'structured'"),
        ({"family": "intial", "stage": "initial"}, "did you mean 'initial'"),
    ],
)
def test_a_stage_or_family_that_does_not_exist_is_refused(facts: dict, message: str):
    with pytest.raises(InputError, match=message):
        PRUNERS.register("mine", **facts)
    assert "mine" not in PRUNERS


def test_stages_and_families_are_those_in_use_and_those_of_results():
    assert {entry.info["stage"] for entry in PRUNERS.entries() if entry.source.built_in} == set(STAGES)
    assert {entry.family for entry in PRUNERS.entries() if entry.source.built_in} == set(FAMILIES)
    assert tuple(FAMILIES) == schema.FAMILIES
