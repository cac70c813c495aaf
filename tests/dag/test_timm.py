"""Models of timm, which nobody here has written: the Dag equals them, and their units are found."""

from __future__ import annotations

import pytest
import torch

import topo
from topo.torchvision_import import import_torchvision


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, size, free",
    [
        ("test_resnet", 64, True),
        ("test_efficientnet", 64, True),
        ("mixer_s32_224", 224, True),
        ("mambaout_femto", 64, True),
    ],
)
def test_the_network_equals_the_model(name: str, size: int, free: bool) -> None:
    import_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    x = torch.randn(2, 3, size, size)
    dag = topo.trace(model, x[:1])
    with torch.no_grad():
        assert torch.equal(dag(x), model(x))
    assert bool(dag.symbols) == free
    assert topo.dag.coupled_channels(dag).count > 0
