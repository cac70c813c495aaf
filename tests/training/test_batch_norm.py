from __future__ import annotations

import torch
from torch import nn

from topo.datasets import load
from topo.datasets.dataset import make_dataset
from topo.datasets.split import Split
from topo.training.batch_norm import recalibrate


def test_statistics_are_those_of_the_images_and_nothing_else_changes():
    data = load("digits", subset=30)
    count = len(data.train)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.9), nn.Flatten(), nn.Linear(108, 10))
    net[1].running_mean.fill_(7.0)
    weights = [p.detach().clone() for p in net.parameters()]
    recalibrate(net, data, batch_size=10)
    (whole,) = [inputs for inputs, _ in data.batches("train", count)]
    with torch.no_grad():
        seen = net[0](whole)
    torch.testing.assert_close(net[1].running_mean, seen.mean((0, 2, 3)))
    # Averages of the variances within batches lie a little below the variance of all.
    assert torch.all(net[1].running_var / seen.var((0, 2, 3)) - 1 < 0.01)
    assert torch.all(net[1].running_var / seen.var((0, 2, 3)) > 0.9)
    assert all(torch.equal(a, b) for a, b in zip(weights, net.parameters(), strict=True))
    assert net.training and net[1].momentum == 0.1 and net[2].training
    assert not recalibrate(net.eval(), data).training


def test_samples_are_drawn_whatever_the_order_in_which_they_are_stored():
    """Of images stored class by class, the first are of few classes; here a class is a grey."""
    targets = torch.arange(10).repeat_interleave(30)
    data = make_dataset("sorted", Split(targets.float()[:, None, None, None].expand(-1, 1, 2, 2), targets), None, 10)
    net = nn.Sequential(nn.BatchNorm2d(1))
    means = [float(recalibrate(net, data, 10, 6, seed=seed)[0].running_mean) for seed in (0, 1, 2, 1)]
    assert max(map(abs, means)) < 0.3  # of the first 60 images it would be -1.4
    assert means[1] == means[3] != means[2]


def test_a_network_without_batch_norm_is_left_alone():
    net = nn.Linear(2, 2)
    assert recalibrate(net, None) is net
