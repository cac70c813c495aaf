"""Tiny public transformers, built from configurations: traced, encoded, measured, pruned and compacted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.public_models import TRANSFORMERS, public_dag, public_inputs


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_traced_network_equals_the_model_bit_for_bit_for_other_inputs_and_numbers_of_samples(name: str) -> None:
    dag = public_dag(name)
    for samples in (1, 3):
        inputs = public_inputs(name, samples)
        with torch.no_grad():
            wanted, got = dag.model(**inputs), dag(**inputs)
        assert type(got) is type(wanted) and list(got.keys()) == list(wanted.keys())
        tensors = [key for key, value in wanted.items() if isinstance(value, Tensor)]
        assert tensors and all(torch.equal(got[key], wanted[key]) for key in tensors)
