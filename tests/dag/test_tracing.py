"""A traced network computes what the model computes, bit for bit, and says why when it cannot be traced."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from tests.zoo import NAMED, SMALL, small
from topo.dag import Dag, coarsen, count_paths
from topo.errors import InputError


def assert_equal_outputs(model: nn.Module, inputs: tuple[Tensor, ...], dag: Dag) -> None:
    modes = [module.training for module in model.modules()]
    model.eval()
    # Gradients stay on: without them nn.MultiheadAttention takes a fused kernel that rounds differently.
    expected, outputs = model(*inputs), dag(*inputs)
    assert pytree.tree_structure(expected) == pytree.tree_structure(outputs)
    for a, b in zip(pytree.tree_leaves(expected), pytree.tree_leaves(outputs), strict=True):
        assert torch.equal(a, b)
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode


def assert_well_formed(dag: Dag) -> None:
    """Levels are longest paths and path counts are right, by networkx and brute force."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(len(dag.nodes)))
    graph.add_edges_from((arc.source, arc.target) for arc in dag.arcs)
    assert nx.is_directed_acyclic_graph(graph)
    longest = dict.fromkeys(graph, 0)
    for node in nx.topological_sort(graph):
        for _, after in graph.out_edges(node):
            longest[after] = max(longest[after], longest[node] + 1)
    assert longest == {i: node.level for i, node in enumerate(dag.nodes)}
    assert len({node.name for node in dag.nodes}) == len(dag.nodes)
    for i, node in enumerate(dag.nodes):
        assert (not dag.arcs_into[i]) == (node.kind == "input")


def paths_one_by_one(dag: Dag) -> int:
    """Every path walked one by one."""
    ends = [o.node for o in dag.outputs]

    def walk(node: int) -> int:
        return ends.count(node) + sum(walk(arc.target) for arc in dag.arcs_from[node])

    return sum(walk(i) for i in dag.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str) -> None:
    model, inputs = small(name)
    dag = topo.trace(model, tuple(x[:1] for x in inputs))
    for view in (dag, coarsen(dag)):
        assert_equal_outputs(model, inputs, view)
        assert_well_formed(view)
        assert count_paths(view) == paths_one_by_one(view)
    assert count_paths(coarsen(dag)) >= 1
    assert len(coarsen(dag).nodes) <= len(dag.nodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_published_networks(name: str) -> None:
    model = NAMED[name]()
    dag = topo.trace(model, torch.zeros(1, 3, 32, 32))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for view in (dag, coarsen(dag)):
        assert_equal_outputs(model, (x,), view)
        assert_well_formed(view)


@pytest.mark.slow
def test_path_counts_of_residual_networks() -> None:
    dag = topo.trace(topo.models.build("resnet20"), torch.zeros(1, 3, 32, 32))
    assert count_paths(dag) == count_paths(coarsen(dag)) == 2**9


@pytest.mark.slow
def test_path_count_beyond_64_bits() -> None:
    class Tower(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for _ in range(80):
                x = torch.relu(x) + x
            return x

    assert count_paths(topo.trace(Tower(), torch.zeros(1, 2))) == 2**80


@pytest.mark.slow
def test_any_number_of_samples() -> None:
    model, inputs = small("attention")
    dag = topo.trace(model, inputs)
    assert dag.samples == 1
    for count in (1, 2, 7):
        assert_equal_outputs(model, (torch.randn(count, 5, 4),), dag)


@pytest.mark.slow
def test_number_of_samples_fixed_by_the_model() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[i] * (i + 1) for i in range(x.shape[0])]).relu()

    model = Fixed()
    dag = topo.trace(model, torch.zeros(3, 2))
    for count in (3, 4, 1):
        assert_equal_outputs(model, (torch.randn(count, 2),), dag)
    assert dag.single().samples == 1
    assert dag.single() is dag.single()


def test_names_of_parameters() -> None:
    model, inputs = small("shared")
    dag = coarsen(topo.trace(model, inputs))
    read = [dag.parameters(arc) for arc in dag.arcs if arc.steps]
    assert ("layer.weight", "layer.bias") in read
    # A tied weight goes by the first of its names, as in `named_parameters`.
    assert ("layer.weight", "tied.bias") in read
    names = {name for names in read for name in names}
    assert names == {name for name, _ in model.named_parameters()}


def test_follows_the_training_of_the_model() -> None:
    model, (x,) = small("mlp")
    dag = topo.trace(model, x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert_equal_outputs(model, (x,), dag)


def test_bind_reads_another_model() -> None:
    model, (x,) = small("u-net")
    other, _ = small("u-net", seed=1)
    dag = topo.trace(model, x)
    for view in (dag, coarsen(dag)):
        assert_equal_outputs(other, (x,), view.bind(other))
        assert_equal_outputs(model, (x,), view)
    with pytest.raises(InputError, match=r"does not fit the traced network: 'enter.0.weight' is missing"):
        dag.bind(nn.Linear(2, 2))


def test_leaves_the_model_as_it_was() -> None:
    model, (x,) = small("in-place")
    model.bn.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    topo.trace(model, x)
    assert model.training and not model.bn.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_parametrised_weights() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2))
    dag = topo.trace(model, torch.zeros(1, 3))
    assert_equal_outputs(model, (torch.randn(5, 3),), dag)
    assert [node.name for node in dag.nodes] == ["input", "0", "1", "2"]
    first = coarsen(dag).arcs[0]
    assert set(dag.parameters(first)) == {
        "0.parametrizations.weight.original0",
        "0.weight",
        "0.bias",
    }


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return self.inner(x)
        return x


def test_data_dependent_control_flow_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), Branching())
    with pytest.raises(InputError, match=r"cannot trace module '1' \(Branching\): `if x.sum\(\) > 0:` failed"):
        topo.trace(model, torch.zeros(1, 2))
    assert not any(module._forward_hooks for module in model.modules())


def test_data_dependent_control_flow_prints_nothing(capfd) -> None:
    with pytest.raises(InputError):
        topo.trace(Branching(), torch.zeros(1, 2))
    assert capfd.readouterr() == ("", "")


def test_sizes_that_depend_on_values_are_refused() -> None:
    class Selecting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[x > 0] * 2

    with pytest.raises(InputError, match=r"the size of the result of aten\.index\.Tensor depends on the values"):
        topo.trace(Selecting(), torch.randn(2, 3))


def test_wrong_input_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"does not take inputs of shape \(1, 2, 8, 8\).* in module '0' \(Conv2d\)"):
        topo.trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 2, 8, 8))
    dag = topo.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(InputError, match=r"input 'input' has shape \(2, 4\); expected \(N, 3\)"):
        dag(torch.zeros(2, 4))
    with pytest.raises(InputError, match="has 1 input; got 2 tensors"):
        dag(torch.zeros(2, 3), torch.zeros(2, 3))


TOO_WIDE = torch.zeros(6, 5), torch.arange(6) % 3


@pytest.mark.parametrize(
    "call",
    [
        lambda model: topo.trace(model, (5,)),
        lambda model: topo.cost(model, (5,)),
        lambda model: topo.lift(model, (5,)),
        lambda model: topo.encode(model, example=(5,)),
        lambda model: topo.compact(model, topo.Masks.dense(model), (5,)),
        lambda model: topo.prune(model, "synflow", sparsity=0.5, example=(5,), device="cpu"),
        lambda model: topo.prune(model, "snip", sparsity=0.5, data=TOO_WIDE, device="cpu"),
        lambda model: topo.training.train(model, TOO_WIDE, "digits", device="cpu"),
        lambda model: topo.training.evaluate(model, TOO_WIDE, device="cpu"),
    ],
)
def test_every_verb_refuses_inputs_of_a_wrong_shape_in_the_same_sentence(call) -> None:
    sentence = (
        r"^the model does not take inputs of shape \([16], 5\)( of dataset 'data')?, samples along the first axis: "
        r"mat1 and mat2 shapes cannot be multiplied \([16]x5 and 4x3\) in module '0' \(Linear\); "
        r"give inputs of the shape that it is built for\.$"
    )
    with pytest.raises(InputError, match=sentence):
        call(nn.Sequential(nn.Linear(4, 3)))


def test_a_model_that_fails_by_itself_is_no_wrong_shape() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.offset

    with pytest.raises(InputError, match=r"cannot trace module '0' \(Broken\): .* failed with AttributeError"):
        topo.trace(nn.Sequential(Broken()), (5,))


@pytest.mark.parametrize("inputs", [(), torch.tensor(1.0), None, {"x": 1}])
def test_needs_example_tensors(inputs: object) -> None:
    with pytest.raises(InputError, match=r"topo\.trace needs an example of the model's input"):
        topo.trace(nn.Linear(2, 2), inputs)
    with pytest.raises(InputError, match=r"needs an nn\.Module or a traced network; got str"):
        topo.trace("resnet20", torch.zeros(1, 2))


def test_constant_output_is_refused() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(3)

    with pytest.raises(InputError, match="does not depend on its input"):
        topo.trace(Constant(), torch.zeros(1, 2))


def test_unused_input_and_plain_values_returned() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> dict[str, object]:
            return {"twice": x * 2, "none": None, "same": x}

    x = torch.randn(2, 3)
    dag = topo.trace(Odd(), (x, torch.randn(2, 1)))
    outputs = dag(x, torch.zeros(2, 1))
    assert torch.equal(outputs["twice"], x * 2) and outputs["none"] is None and torch.equal(outputs["same"], x)
