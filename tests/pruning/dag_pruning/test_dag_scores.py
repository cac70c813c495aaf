"""The scores of the `dag` pruner from their definitions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.dag.nets import lively, normal
from tests.pruning.dag_pruning.dag_nets import Blocks, Dense, Worked, images, scoring_of, vectors
from topo.errors import InputError
from topo.masks import prunable_parameters
from topo.pruning.dag_pruning.contributions import Contributions, path_mass
from topo.pruning.dag_pruning.scores import SCORES


def scores(kind, model, data, granularity="mixed", **limits):
    scoring = scoring_of(model, data, granularity, **limits)
    return scoring, dict(zip([c.name for c in scoring.candidates], SCORES[kind](scoring), strict=True))


def sample_losses(model, data):
    with torch.no_grad():
        return F.cross_entropy(model(data[0]), data[1], reduction="none").numpy()


def slope(make, data, step=1e-6):
    """E |d loss / d gate| over the samples at gate 1, by differences."""
    return np.abs(sample_losses(make(1 + step), data) - sample_losses(make(1 - step), data)).mean() / (2 * step)


def gated(model, change):
    def make(gate):
        copied = copy.deepcopy(model)
        with torch.no_grad():
            change(copied, gate)
        return copied

    return make


def test_taylor_of_a_branch_is_the_slope_of_a_gate_on_what_it_adds():
    model, data = lively(Blocks()), images()
    _, scored = scores("taylor", model, data, "arc")

    def close(copied, gate):
        copied.norms[1].weight.mul_(gate)
        copied.norms[1].bias.mul_(gate)

    assert scored["up.1"] == pytest.approx(slope(gated(model, close), data), rel=1e-6)

    def aside(copied, gate):
        copied.aside.weight.mul_(gate)
        copied.aside.bias.mul_(gate)

    assert scored["aside"] == pytest.approx(slope(gated(model, aside), data), rel=1e-6)


@pytest.mark.parametrize(("name", "readers"), [("stem.weight[2]", ["down.0", "aside"]), ("down.1.weight[0]", ["up.1"])])
def test_taylor_of_a_unit_is_the_slope_of_a_gate_on_what_reads_it(name, readers):
    model, data = lively(Blocks()), images()
    _, scored = scores("taylor", model, data, "channel")
    if name.startswith("stem"):
        readers = ["down.0", "down.1", "down.2", "aside", "head"]
    unit = int(name[-2])

    def close(copied, gate):
        for reader in readers:
            copied.get_submodule(reader).weight[:, unit] *= gate

    assert scored[name] == pytest.approx(slope(gated(model, close), data), rel=1e-6)


def test_taylor_of_a_slot_is_the_slope_of_a_gate_on_its_columns():
    model, data = lively(Dense()), images()
    _, scored = scores("taylor", model, data, "arc")

    def close(copied, gate):
        copied.convs[2].weight[:, 3:5] *= gate

    assert scored["convs.0 -> cat#3"] == pytest.approx(slope(gated(model, close), data), rel=1e-6)


def test_taylor_does_not_depend_on_how_samples_are_split_or_ordered():
    model, (x, y) = lively(Blocks()), images(8)
    once = scores("taylor", model, (x, y))[1]
    split = scores("taylor", model, (x, y), batch_size=3)[1]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    shuffled = scores("taylor", model, (x[order], y[order]))[1]
    for name, value in once.items():
        assert value == pytest.approx(split[name], rel=1e-10) == pytest.approx(shuffled[name], rel=1e-10)


def test_samples_are_told_apart_wherever_their_axis_is():
    """A gate's slopes of opposite sign must not cancel, as they do in the gradient of the batch."""

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.f, self.head = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 5)

        def forward(self, x):
            x = self.enter(x).transpose(0, 1)
            return self.head((x + torch.tanh(self.f(x))).mean(0))

    model, data = lively(Turned()), (normal(6, 2, 4), torch.arange(6) % 5)
    _, scored = scores("taylor", model, data)

    def close(copied, gate):
        copied.head.weight[:, 1] *= gate
        copied.f.weight[:, 1] *= gate

    assert scored["enter.weight[1]"] == pytest.approx(slope(gated(model, close), data), rel=1e-6)


def test_ablation_is_the_loss_of_the_masked_network_less_that_of_the_whole():
    for model in (lively(Blocks()), lively(Dense())):
        data = images()
        scoring, scored = scores("ablation", model, data, batch_size=4)
        dense_loss = sample_losses(model, data).mean()
        assert len(scored) > 10
        for candidate, after in zip(scoring.candidates, scoring.after, strict=True):
            state = after or scoring.parts.without(units=[candidate.unit])
            masked = copy.deepcopy(model)
            parameters = dict(masked.named_parameters())
            with torch.no_grad():
                for name, mask in scoring.network.masks(state, prunable_parameters(model)).items():
                    parameters[name] *= mask
            change = sample_losses(masked, data).mean() - dense_loss
            assert scored[candidate.name] == pytest.approx(change, rel=1e-9, abs=1e-12)
        assert len({round(value, 9) for value in scored.values()}) == len(scored)


def test_ablation_of_a_branch_by_hand():
    model, data = lively(Blocks()), images()

    class Without(Blocks):
        def forward(self, x):
            x = torch.relu(self.stem(x))
            for i, (down, up, norm) in enumerate(zip(self.down, self.up, self.norms, strict=True)):
                branch = norm(up(torch.relu(down(x)))) if i != 1 else 0
                x = torch.relu(x + branch + (self.aside(x) if i == 0 else 0))
            return self.head(x.mean(dim=(2, 3)))

    other = Without().double()
    other.load_state_dict(model.state_dict())
    scored = scores("ablation", model, data, "arc")[1]
    expected = sample_losses(other.eval(), data).mean() - sample_losses(model, data).mean()
    assert scored["up.1"] == pytest.approx(expected, rel=1e-9)


def test_ablation_refuses_too_many_candidates():
    scoring = scoring_of(lively(Blocks()), images(), "channel", limit=5)
    with pytest.raises(InputError, match="each of 13 candidates"):
        SCORES["ablation"](scoring)


def test_energy_by_hand():
    model, data = lively(Worked()), vectors(width=3, classes=3)
    scored = scores("energy", model, data)[1]
    with torch.no_grad():
        hidden = model.f1(data[0])
        branch = model.f2(hidden)
        share = branch.square().sum() / (data[0] + branch).square().sum()
        of_unit = hidden[:, 1].square().sum() / hidden.square().sum()
    assert scored["f2"] == pytest.approx(float(share), rel=1e-12)
    assert scored["f1.weight[1]"] == pytest.approx(float(of_unit), rel=1e-12)
    split = scores("energy", model, data, batch_size=2)[1]
    assert all(split[name] == pytest.approx(value, rel=1e-12) for name, value in scored.items())


def test_magnitude_is_the_sum_of_all_weights_that_go():
    model = lively(Blocks())
    scored = scores("magnitude", model, images())[1]
    model.requires_grad_(False)
    both = model.down[1].weight.abs().sum() + model.up[1].weight.abs().sum()
    assert scored["up.1"] == pytest.approx(float(both), rel=1e-12)
    unit = model.down[1].weight[2].abs().sum() + model.up[1].weight[:, 2].abs().sum()
    assert scored["down.1.weight[2]"] == pytest.approx(float(unit), rel=1e-12)
    dense = lively(Dense())
    scored = scores("magnitude", dense, images(), "arc")[1]
    dense.requires_grad_(False)
    assert scored["convs.0 -> cat#3"] == pytest.approx(float(dense.convs[2].weight[:, 3:5].abs().sum()), rel=1e-12)


def test_through_mass_by_products_of_matrices():
    """Of y = rho(x + f2(f1(x))) the mass of all paths is 1'(I + |W2| |W1|)1, that of the branch 1'|W2| |W1|1."""
    model, data = lively(Worked()), vectors(width=3, classes=3)
    scored = scores("through", model, data)[1]
    one = torch.ones(3, dtype=torch.float64)
    w1, w2 = model.f1.weight.detach().abs(), model.f2.weight.detach().abs()
    assert scored["f2"] == pytest.approx(float(one @ w2 @ w1 @ one), rel=1e-12)
    assert scored["f1.weight[1]"] == pytest.approx(float(one @ w2[:, 1] * (w1[1] @ one)), rel=1e-12)


@pytest.mark.parametrize("make", [Blocks, Dense])
def test_the_mass_that_a_candidate_takes_is_what_the_others_lack(make):
    """Dropping it leaves the mass of all paths less its own."""
    model, data = lively(make()), images()
    scoring, scored = scores("through", model, data)
    network, contributions = scoring.network, Contributions(scoring.network)
    entry = contributions.arcs[next(a for a, arc in enumerate(network.dag.arcs) if arc.source in network.dag.inputs)]
    names = prunable_parameters(model)

    def total(state):
        return path_mass(network, contributions, network.masks(state, names))[0, entry]

    total_mass = total(scoring.parts)
    for candidate, after in zip(scoring.candidates, scoring.after, strict=True):
        if candidate.name.startswith("stem"):
            continue  # The mass is looked at behind the stem, whose own units are gone there already.
        mass = total(after or scoring.parts.without(units=[candidate.unit]))
        assert scored[candidate.name] == pytest.approx(total_mass - mass, rel=1e-9)
