"""Models of timm, which nobody here has written: the Dag equals them, and their units are found."""

from __future__ import annotations

import pytest
import torch

import topo
from topo.torchvision_import import import_torchvision


@pytest.mark.slow
@pytest.mark.parametrize("name, size", [("test_resnet", 64), ("test_efficientnet", 64), ("mixer_s32_224", 224)])
def test_the_network_equals_the_model(name: str, size: int) -> None:
    import_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    x = torch.randn(2, 3, size, size)
    dag = topo.trace(model, x[:1])
    with torch.no_grad():
        assert torch.equal(dag(x), model(x))
    assert dag.symbols
    assert topo.dag.coupled_channels(dag).count > 0
