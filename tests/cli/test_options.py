from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import topo
from topo.cli.options import parsed_example, parsed_settings
from topo.errors import InputError
from topo.safe_files import write_arrays


@pytest.mark.parametrize("text", ["model=1", "sparsity=0.5", "seed=1", "name=x", "device=cpu"])
def test_an_argument_of_the_command_is_no_setting(text: str):
    with pytest.raises(InputError, match="is no setting; the command has an argument or an option for it"):
        parsed_settings([text], topo.prune)
    assert parsed_settings(["include=a.*", "rounds=3"], topo.prune) == {"include": "a.*", "rounds": 3}


def test_a_file_holds_arguments_in_order_or_by_keyword(tmp_path: Path):
    arrays = {"1": np.ones((2, 3)), "0": np.zeros((2, 4))}
    file = str(write_arrays(tmp_path / "a.safetensors", arrays, {}))
    first, second = parsed_example([file])
    assert first.shape == (2, 4) and torch.equal(second, torch.ones(2, 3, dtype=torch.float64))
    named = parsed_example([str(write_arrays(tmp_path / "b.safetensors", {"x": arrays["1"], "1": arrays["0"]}, {}))])
    assert {name: tuple(value.shape) for name, value in named.items()} == {"x": (2, 3), "1": (2, 4)}
