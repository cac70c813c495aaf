from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from topo.cli.options import parsed_example
from topo.safe_files import write_arrays


def test_a_file_holds_arguments_in_order_or_by_keyword(tmp_path: Path):
    arrays = {"1": np.ones((2, 3)), "0": np.zeros((2, 4))}
    file = str(write_arrays(tmp_path / "a.safetensors", arrays, {}))
    first, second = parsed_example([file])
    assert first.shape == (2, 4) and torch.equal(second, torch.ones(2, 3, dtype=torch.float64))
    named = parsed_example([str(write_arrays(tmp_path / "b.safetensors", {"x": arrays["1"], "1": arrays["0"]}, {}))])
    assert {name: tuple(value.shape) for name, value in named.items()} == {"x": (2, 3), "1": (2, 4)}
