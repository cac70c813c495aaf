from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from topo.training import batch_loss, recipe
from topo.training.memory_format import (
    in_memory_format,
    leave_channels_last,
    right_in_channels_last,
    weights_in_channels_last,
)


def shortcut(channels: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 32, 1, stride=2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
    )


@pytest.mark.parametrize("channels", [2, 3, 5, 8, 12, 16])
def test_gradients_of_few_channels_are_those_of_contiguous_memory(channels):
    """In channels-last memory a library that convolves writes past its buffer here, which can end the process."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 16, 16, generator=generator)
    targets = torch.randint(4, (64,), generator=generator)
    net, plan = shortcut(channels), recipe("digits", channels_last=True)
    with weights_in_channels_last(net):
        for _ in range(3):
            net.zero_grad()
            batch_loss(net, images, targets, plan)[0].backward()
    plain = shortcut(channels)
    functional.cross_entropy(plain(images), targets).backward()
    for ours, theirs in zip(net.parameters(), plain.parameters()):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (nn.Conv2d(5, 32, 1, stride=2), False),
        (nn.Conv2d(64, 32, 1, stride=2, groups=8), False),
        (nn.Conv2d(5, 32, 1, stride=(1, 3)), False),
        (nn.ConvTranspose2d(32, 5, 1, stride=2), False),
        (nn.Conv2d(5, 32, 1), True),
        (nn.Conv2d(5, 32, 3, stride=2), True),
        (nn.Conv2d(16, 5, 1, stride=2), True),
        (nn.Conv1d(5, 32, 1, stride=2), True),
        (nn.Conv2d(5, 32, 1, stride=2, device="meta"), True),
    ],
)
def test_where_images_and_weights_are_in_channels_last_memory(layer, right):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), layer)
    images = torch.zeros(2, 3, 8, 8)
    assert right_in_channels_last(net) == right
    assert in_memory_format(images, net).is_contiguous(memory_format=torch.channels_last) == right
    if layer.weight.is_meta:
        return
    with weights_in_channels_last(net):
        assert net[0].weight.is_contiguous(memory_format=torch.channels_last) == right
    assert net[0].weight.is_contiguous()


def test_what_lies_in_channels_last_memory_already_leaves_it_where_gradients_would_be_wrong():
    images = torch.zeros(2, 8, 8, 3).permute(0, 3, 1, 2)
    for channels, right in ((5, False), (16, True)):
        net = shortcut(channels).to(memory_format=torch.channels_last)
        leave_channels_last(net)
        assert net[0].weight.is_contiguous() != right
        assert in_memory_format(images, net, channels_last=False).is_contiguous() != right
        with weights_in_channels_last(net):
            assert net[0].weight.is_contiguous() != right
    assert in_memory_format(images, lambda x: x, channels_last=False) is images
