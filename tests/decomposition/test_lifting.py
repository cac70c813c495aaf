"""The level factors: their product is the network, each is undone by its negative, the determinant is one."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from tests.dag.nets import PUBLISHED, ConstantSlot, DenseBlock, PlainReluNet, Worked, lively, normal
from tests.zoo import SMALL, small, small_densenet
from topo.dag import coarsen, count_paths
from topo.decomposition.lifting import Lifting
from topo.decomposition.normal_form import normal_form
from topo.decomposition.state import State
from topo.errors import InputError

# Tracing and multiplying out takes a while for most of the networks here.
pytestmark = pytest.mark.slow


@cache
def lifted(name: str, *, coarse: bool = True, double: bool = True) -> tuple[nn.Module, tuple[Tensor, ...], Lifting]:
    model, inputs = small(name)
    model.eval()
    if double:
        model.double()
        inputs = tuple(x.double() for x in inputs)
    return model, inputs, topo.lift(model, tuple(x[:1] for x in inputs), coarse=coarse)


def leaves(value: object) -> list[Tensor]:
    return pytree.tree_leaves(value)


def equal(a: object, b: object) -> bool:
    assert pytree.tree_structure(a) == pytree.tree_structure(b)
    return all(torch.equal(x, y) for x, y in zip(leaves(a), leaves(b), strict=True))


def close(a: State, b: State) -> bool:
    return torch.allclose(a.flatten(), b.flatten(), rtol=1e-10, atol=1e-10)


def random_like(z: State, seed: int = 3) -> State:
    flat = z.flatten()
    generator = torch.Generator().manual_seed(seed)
    return z.unflatten(torch.randn(flat.shape, generator=generator, dtype=flat.dtype))


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_the_product_is_the_network(name: str, coarse: bool) -> None:
    model, inputs, lifting = lifted(name, coarse=coarse, double=False)
    outputs, expected = lifting(*inputs), model(*inputs)
    assert equal(outputs, expected)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_product_is_the_published_network(name: str) -> None:
    model = PUBLISHED[name]().eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(topo.lift(model, x[:1])(x), model(x))


def test_densenet() -> None:
    model = small_densenet().eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    lifting = topo.lift(model, x[:1])
    assert torch.equal(lifting(x), model(x))
    # In a dense block the inputs are read whole by every layer: each layer doubles the ways.
    assert count_paths(lifting.dag) == 2 ** (3 + 4 + 2)


@pytest.mark.parametrize("name", SMALL)
def test_levels_rise_along_arcs_and_are_the_longest_way_from_the_input(name: str) -> None:
    _, _, lifting = lifted(name, coarse=False)
    dag = lifting.dag

    def longest(node: int) -> int:
        return max((1 + longest(arc.source) for arc in dag.arcs_into[node]), default=0)

    assert [node.level for node in dag.nodes] == [longest(i) for i in range(len(dag.nodes))]
    assert all(dag.nodes[arc.source].level < dag.nodes[arc.target].level for arc in dag.arcs)
    assert lifting.levels == dag.nodes[lifting.sink].level
    assert sorted(lifting.order) == list(range(len(dag.nodes)))


@pytest.mark.parametrize("name", SMALL)
def test_the_normal_form_keeps_paths_and_the_places_of_arcs(name: str) -> None:
    model, inputs = small(name)
    dag = coarsen(topo.trace(model, tuple(x[:1] for x in inputs)))
    form = normal_form(dag)
    assert count_paths(form) == count_paths(dag)
    assert form.arcs[: len(dag.arcs)] == dag.arcs
    assert len(form.outputs) == 1 and form.outputs[0].steps == ()
    assert [leaf.shape for leaf in leaves(form(*inputs))] == [leaf.shape for leaf in leaves(dag(*inputs))]


def test_an_output_that_is_an_input_gets_a_sink() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> dict[str, object]:
            return {"same": x, "none": None, "twice": x * 2}

    x, y = torch.randn(2, 3), torch.randn(2, 1)
    lifting = topo.lift(Both(), (x, y))
    assert lifting.levels == 2 and count_paths(lifting.dag) == 2
    outputs = lifting(x, y)
    assert torch.equal(outputs["same"], x) and torch.equal(outputs["twice"], 2 * x) and outputs["none"] is None
    identity = topo.lift(nn.Identity(), x)
    assert torch.equal(identity(x), x) and identity.factor(1).rows() == {"output": ["I", "I"]}


def test_a_node_named_output_is_not_hidden() -> None:
    model = nn.Sequential()
    model.add_module("output", nn.Linear(2, 2))
    model.add_module("end", nn.ReLU())
    lifting = topo.lift(model, torch.zeros(1, 2))
    assert [node.name for node in lifting.dag.nodes] == ["input", "output", "output#2"]


@pytest.mark.parametrize("name", SMALL)
def test_states_are_final_up_to_their_level_and_zero_above(name: str) -> None:
    _, inputs, lifting = lifted(name)
    final = lifting.state(*inputs)
    for level in range(lifting.levels + 1):
        z = lifting.state(*inputs, level=level)
        for index in lifting.order:
            node = lifting.dag.nodes[index]
            if node.level <= level:
                assert equal(z[node.name], final[node.name])
            else:
                assert not any(leaf.any() for leaf in leaves(z[node.name]))
                assert [t.shape for t in leaves(z[node.name])] == [t.shape for t in leaves(final[node.name])]


@pytest.mark.parametrize("name", SMALL)
def test_every_factor_is_undone_by_its_negative(name: str) -> None:
    _, inputs, lifting = lifted(name)
    z = random_like(lifting.state(*inputs))
    for level in range(1, lifting.levels + 1):
        factor = lifting.factor(level)
        assert not close(factor(z), z)
        assert close(factor.inverse(factor(z)), z)
        assert close(factor(factor.inverse(z)), z)


@pytest.mark.parametrize("name", SMALL)
def test_the_inverse_reads_every_factor_at_the_final_state(name: str) -> None:
    _, inputs, lifting = lifted(name)
    start = lifting.embed(*inputs)
    assert close(lifting.inverse(lifting.apply(start)), start)
    z = random_like(lifting.state(*inputs))
    assert close(lifting.inverse(lifting.apply(z)), z)
    assert close(lifting.apply(lifting.inverse(z)), z)
    one_by_one = z
    for level in reversed(range(1, lifting.levels + 1)):
        one_by_one = lifting.factor(level).inverse(one_by_one)
    assert close(one_by_one, lifting.inverse(z))


@pytest.mark.parametrize("name", SMALL)
def test_shears_of_a_level_commute_and_make_its_factor(name: str) -> None:
    _, inputs, lifting = lifted(name)
    z = random_like(lifting.state(*inputs))
    for level in range(1, lifting.levels + 1):
        factor = lifting.factor(level)
        forwards = backwards = z
        for arc in factor.arcs:
            forwards = lifting.shear(arc)(forwards)
        for arc in reversed(factor.arcs):
            backwards = lifting.shear(arc)(backwards)
        assert close(forwards, backwards) and close(forwards, factor(z))
        for arc in factor.arcs:
            assert close(lifting.shear(arc).inverse(lifting.shear(arc)(z)), z)


def test_a_constant_slot_comes_with_the_first() -> None:
    model = lively(ConstantSlot())
    x = normal(3, 2)
    lifting = topo.lift(model, x[:1])
    assert torch.equal(lifting(x), model(x))
    (level,) = {node.level for node in lifting.dag.nodes if node.kind == "concat"}
    z = random_like(lifting.state(x))
    both = lifting.factor(level)
    one, two = (lifting.shear(arc) for arc in both.arcs)
    assert close(one(two(z)), both(z)) and close(two(one(z)), both(z))


def test_shears_of_two_levels_do_not_commute() -> None:
    lifting = topo.lift(lively(Worked()), torch.zeros(1, 3, dtype=torch.float64))
    z = lifting.embed(normal(2, 3))
    first, second = lifting.shear(lifting.factor(1).arcs[0]), lifting.factor(2)
    assert close(second(first(z)), lifting.state(normal(2, 3), level=2))
    assert not close(first(second(z)), second(first(z)))


def test_pruning_an_arc_replaces_its_shear_by_the_identity() -> None:
    lifting = topo.lift(lively(Worked()), torch.zeros(1, 3, dtype=torch.float64))
    x = normal(2, 3)
    skip, branch = (lifting.labels.index(label) for label in ("I", "f2"))
    z = lifting.factor(3)(lifting.factor(2, [skip])(lifting.factor(1)(lifting.embed(x))))
    assert torch.equal(lifting.pick(z), torch.relu(x))
    assert branch not in lifting.factor(2, [skip]).arcs


def test_the_worked_example() -> None:
    lifting = topo.lift(Worked(), torch.zeros(1, 3))
    assert [node.name for node in lifting.dag.nodes] == ["input", "f1", "f2", "output"]
    assert lifting.factor(1).rows() == {"f1": ["f1", "I", "0", "0"]}
    assert lifting.factor(2).rows() == {"f2": ["I", "f2", "I", "0"]}
    assert lifting.factor(3).rows() == {"output": ["0", "0", "relu", "I"]}
    assert count_paths(lifting.dag) == 2
    assert repr(lifting) == "Lifting(4 nodes, 4 arcs, 3 levels, 2 paths)"
    assert lifting.describe().splitlines() == [
        "level  node    is",
        "    0  input   the input",
        "    1  f1      f1(input)",
        "    2  f2      input + f2(f1)",
        "    3  output  relu(f2)",
    ]
    counts = lifting.path_counts()
    label = {lifting.labels[a]: a for a in counts.live}
    with pytest.raises(InputError, match="would cut every path"):
        counts.drop([label["relu"]])
    assert counts.drop([label["f2"]]) == tuple(sorted((label["f1"], label["f2"])))


def test_rows_of_fusion_nodes_and_parallel_arcs() -> None:
    _, _, lifting = lifted("doubling")
    assert lifting.factor(1).rows()["add"][:2] == ["I + I", "I"]
    _, _, lifting = lifted("u-net")
    assert lifting.factor(4).rows()["cat"] == ["0", "relu∘bn", "0", "slot 1", "I", "0", "0", "0"]
    assert "cat(relu∘bn(enter.0), up)" in lifting.describe()


def autograd_jacobian(lifting: Lifting, inputs: tuple[Tensor, ...]) -> Tensor:
    z = lifting.embed(*inputs)
    return torch.autograd.functional.jacobian(lambda v: lifting.apply(z.unflatten(v)).flatten(), z.flatten())


@pytest.mark.parametrize("name", ["mlp", "attention", "explicit-attention", "two-in-two-out", "shared", "doubling"])
def test_the_jacobian_has_determinant_one_and_is_that_of_autograd(name: str) -> None:
    _, inputs, lifting = lifted(name)
    inputs = tuple(x[:1] for x in inputs)
    jacobian, arcs = lifting.jacobian(*inputs), lifting.arc_jacobian(*inputs)
    unit = torch.eye(len(jacobian), dtype=torch.float64)
    torch.testing.assert_close(jacobian, autograd_jacobian(lifting, inputs), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(jacobian @ (unit - arcs), unit, rtol=1e-9, atol=1e-9)
    assert torch.equal(arcs.tril(-1), arcs)
    assert torch.linalg.det(autograd_jacobian(lifting, inputs)).item() == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("make", [lambda: DenseBlock(3), PlainReluNet, ConstantSlot])
def test_the_jacobian_of_concatenations(make) -> None:
    model = lively(make())
    x = normal(1, 2, 4, 4) if isinstance(model, PlainReluNet) else normal(1, 2)
    lifting = topo.lift(model, x)
    torch.testing.assert_close(lifting.jacobian(x), autograd_jacobian(lifting, (x,)), rtol=1e-9, atol=1e-9)


class Linear(nn.Module):
    """Linear on every arc: two ways, one of them over two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(3, 3, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x) + x
        return self.c(self.b(h)) + h + x


def test_the_product_of_a_linear_network_is_the_sum_of_powers() -> None:
    model = lively(Linear())
    x = normal(1, 3)
    lifting = topo.lift(model, x)
    n = lifting.arc_jacobian(x)
    torch.testing.assert_close(n, lifting.arc_jacobian(0 * x))
    unit = torch.eye(len(n), dtype=torch.float64)
    powers = [torch.linalg.matrix_power(n, m) for m in range(lifting.levels + 2)]
    assert not powers[lifting.levels + 1].any() and powers[lifting.levels].any()
    torch.testing.assert_close(sum(powers), torch.linalg.inv(unit - n))
    torch.testing.assert_close(lifting.jacobian(x), sum(powers))
    where = lifting.state(x).slices()
    names = [node.name for node in lifting.dag.nodes]
    entry = lifting.jacobian(x)[where[names[lifting.sink]], where["input"]]
    a, b, c = model.a.weight, model.b.weight, model.c.weight
    small_unit = torch.eye(3, dtype=torch.float64)
    by_paths = c @ b @ a + c @ b + a + small_unit + small_unit
    torch.testing.assert_close(entry, by_paths.detach())
    torch.testing.assert_close(lifting(x), x @ by_paths.T)
    assert count_paths(lifting.dag) == 5


def test_states_from_values() -> None:
    _, inputs, lifting = lifted("gate")
    z = lifting.state(*inputs)
    again = lifting.state_of(dict(z))
    assert close(again, z) and list(z) == [lifting.dag.nodes[i].name for i in lifting.order]
    assert close(lifting.state_of({"input": inputs[0]}), lifting.embed(*inputs))
    assert "10 nodes, 1 of them" in repr(lifting.embed(*inputs))
    assert sum(s.stop - s.start for s in z.slices().values()) == z.flatten().numel()


def test_gradients_reach_the_parameters() -> None:
    model, inputs, lifting = lifted("shared")
    lifting(*inputs).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model(*inputs).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_bad_input() -> None:
    with pytest.raises(InputError, match="cannot trace the model"):
        topo.lift(Branching(), torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"topo\.lift needs an example of the model's input"):
        topo.lift(nn.Linear(2, 2))
    lifting = topo.lift(Worked(), torch.zeros(1, 3))
    with pytest.raises(InputError, match=r"level must be a whole number.*3, not 4"):
        lifting.state(torch.zeros(1, 3), level=4)
    with pytest.raises(InputError, match=r"level must be a whole number.*1.*, not 0"):
        lifting.factor(0)
    with pytest.raises(InputError, match="arcs are numbered from 0 to 3"):
        lifting.shear(9)
    with pytest.raises(InputError, match="does not end at level 1"):
        lifting.factor(1, [3])
    with pytest.raises(InputError, match=r"expected \(N, 3\)"):
        lifting(torch.zeros(2, 4))
    with pytest.raises(InputError, match="has 1 input; got 2"):
        lifting(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(InputError, match="unknown node 'f3'; did you mean"):
        lifting.state_of({"f3": torch.zeros(1, 3)})
    with pytest.raises(InputError, match="no value for input 'input'"):
        lifting.state_of({"f1": torch.zeros(1, 3)})
    with pytest.raises(InputError, match="12 entries, so its derivative would have 12 x 12"):
        lifting.jacobian(torch.zeros(1, 3), limit=10)


def test_a_model_of_a_fixed_number_of_samples() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[i] * (i + 1) for i in range(x.shape[0])]).relu()

    lifting = topo.lift(Fixed(), torch.zeros(3, 2))
    x = torch.randn(3, 2)
    assert torch.equal(lifting(x), Fixed()(x))
    with pytest.raises(InputError, match="traced for exactly 3 samples"):
        lifting(torch.zeros(2, 2))


def test_tokens_have_no_derivative() -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))
    lifting = topo.lift(model, torch.zeros(1, 3, dtype=torch.long))
    x = torch.tensor([[1, 2, 3], [4, 0, 1]])
    assert torch.equal(lifting(x), model(x))
    with pytest.raises(InputError, match="whole numbers"):
        lifting.jacobian(x[:1])
