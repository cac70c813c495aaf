from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.fixture
def layer() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A linear layer in float64 with 40 inputs for it, correlated and of different sizes."""
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = nn.Linear(7, 5).double()
    mixing = torch.randn(7, 7, generator=generator, dtype=torch.float64)
    inputs = torch.randn(40, 7, generator=generator, dtype=torch.float64) @ mixing
    return model, (inputs, torch.arange(40) % 5)
