"""Operations without a rule: their edges are the non-zeros of their Jacobian at random inputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import topo
from tests.dag.test_relations import Apply, assert_one_map
from tests.dag.test_selection import jacobian, paths
from topo.dag.operators import probing
from topo.dag.structure import structure
from topo.errors import InputError

UNKNOWN = {
    "renorm": (lambda x: torch.renorm(x, 2, 1, 0.5), (4, 3)),
    "linalg_inv": (torch.linalg.inv, (3, 3)),
    "cdist": (lambda x: torch.cdist(x, x), (3, 2)),
    "linalg_cholesky": (lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(3)), (3, 3)),
    "fft_rfft": (lambda x: torch.fft.rfft(x, dim=1).abs(), (5, 2)),
    "trapezoid": (lambda x: torch.trapezoid(x, dim=2), (2, 4)),
    "special_erfcx": (torch.special.erfcx, (2, 3)),
    "linalg_det": (torch.linalg.det, (3, 3)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_operation_without_a_rule_is_its_jacobian_with_one_warning(name: str) -> None:
    function, shape = UNKNOWN[name]
    x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1)) + 0.4
    dag = topo.trace(Apply(function), x)
    with pytest.warns(UserWarning, match=f"operation '{name}' of the model has no rule") as warned:
        network = structure(dag)
    assert len(warned) == 1 and "elements) at random inputs" in str(warned[0].message)
    assert "edges that only other inputs would show may be missing" in str(warned[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = structure(dag)  # what is known is not found again
    for arc in network.arcs:
        assert_one_map(arc.relation)
    reached = sum(arc.relation.matrix().toarray() for arc in again.arcs if not again.nodes[arc.target].relay)
    if len(network.arcs) == 1:
        assert np.array_equal(reached != 0, jacobian(function, x) != 0)


def test_weights_are_those_of_the_jacobian_where_it_is_the_same_everywhere() -> None:
    function = lambda x: torch.trapezoid(x, dx=3.0, dim=1)  # noqa: E731
    with pytest.warns(UserWarning, match="trapezoid"):
        matrix = paths(function, torch.rand(1, 4))
    assert matrix.ravel().tolist() == [1.5, 3.0, 3.0, 1.5]


@pytest.mark.filterwarnings("ignore:operation")
def test_complex_numbers_are_one_element_each() -> None:
    """A circular convolution by the kernel (1, 2, 0, 0), written with Fourier transforms: dense, as each of them is."""
    kernel = torch.fft.fft(torch.tensor([1.0, 2.0, 0.0, 0.0]))
    through = lambda x: torch.fft.ifft(torch.fft.fft(x, dim=1) * kernel, dim=1).real  # noqa: E731
    assert (paths(through, torch.rand(1, 4)) > 0).all()
    parts = lambda x: torch.view_as_real(torch.complex(x, x * 0 + 1)).flatten(1)  # noqa: E731
    assert (paths(parts, torch.rand(1, 3)) > 0).tolist() == np.repeat(np.eye(3, dtype=bool), 2, 1).tolist()


def test_two_inputs_are_probed_together() -> None:
    class Distances(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.cdist(x, y)

    inputs = (torch.rand(1, 3, 2), torch.rand(1, 4, 2))
    with pytest.warns(UserWarning) as warned:
        network = structure(topo.trace(Distances(), inputs))
    assert len(warned) == 1
    counts = [arc.relation.matrix().nnz for arc in network.arcs if arc.relation.edge_count() > 8]
    assert counts == [3 * 4 * 2, 3 * 4 * 2]


def test_independent_axes_keep_the_cost_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_ENTRIES", 6 * 9 * 9)
    with pytest.warns(UserWarning):
        network = structure(topo.trace(Apply(torch.linalg.inv), torch.rand(1, 6, 3, 3)))
    assert network.arcs[0].relation.matrix().nnz == 6 * 9 * 9


def test_what_cannot_be_probed_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "MOST_ENTRIES", 100)
    with pytest.raises(InputError, match=r"cannot encode operation 'linalg_inv' of the model: .* 256 entries"):
        structure(topo.trace(Apply(torch.linalg.inv), torch.rand(1, 4, 4)))


def test_what_has_no_derivative_is_refused_by_name() -> None:
    library = torch.library.Library("topo_probing", "DEF")
    library.define("opaque(Tensor x) -> Tensor")
    torch.library.impl(library, "opaque", "CPU")(lambda x: x.detach() * 2)
    torch.library.register_fake("topo_probing::opaque", lambda x: torch.empty_like(x), lib=library)
    with pytest.raises(InputError, match=r"cannot encode operation 'opaque' of the model: .*can not be differentiated"):
        structure(topo.trace(Apply(lambda x: torch.ops.topo_probing.opaque(x)), torch.rand(1, 4)))


def test_whole_numbers_pass_nothing_on() -> None:
    matrix = paths(lambda x: x + torch.searchsorted(torch.tensor([0.3, 0.6]), x), torch.rand(1, 4))
    assert np.array_equal(matrix, np.eye(4))


def test_channels_that_meet_an_operation_without_a_rule_stay_and_others_go() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.third(torch.relu(self.second(torch.special.erfcx(self.first(x)))))

    torch.manual_seed(0)
    model, x = Net().double(), torch.rand(3, 4, dtype=torch.float64)
    channels = topo.dag.coupled_channels(topo.trace(model, x[:1]))
    assert channels.count == 6 and "first.weight" not in channels.axes
    masks = topo.prune(model, "l1-filter", sparsity=0.3, example=x[:1])
    small = topo.compact(model, masks, x[:1])
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    assert torch.allclose(small(x), model(x), atol=1e-12)
