from __future__ import annotations

import pytest
import torch
from torch import nn


class Awkward(nn.Module):
    """Grouped and transposed convolutions, batch and layer norm, a shared module, attention, dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.shared = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.layer_norm = nn.LayerNorm(4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = nn.functional.gelu(self.up(self.grouped(x)))
        x = x.flatten(2).transpose(1, 2)
        x = self.shared(torch.relu(self.shared(x)))
        x = x + self.attention(*[self.layer_norm(x)] * 3, need_weights=False)[0]
        return self.head(self.dropout(x).mean(1))


@pytest.fixture
def awkward() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Awkward()


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve inputs for `awkward`, four of each of three classes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 2, 4, 4, generator=generator), torch.arange(12) % 3


@pytest.fixture
def smooth() -> nn.Module:
    """A small float64 network with second derivatives everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)
        ).double()


@pytest.fixture
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and classes for `smooth`."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(9, 1, 3, 3, generator=generator, dtype=torch.float64), torch.arange(9) % 3
