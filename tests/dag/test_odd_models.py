"""Models that are not as usual: what they return, where they are, and how their weights are stored."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import topo
from topo.errors import InputError


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


class Returning(nn.Module):
    """Two layers, and what is made of their results."""

    def __init__(self, make: Any):
        super().__init__()
        self.first, self.second, self.make = nn.Linear(4, 3), nn.Linear(3, 2), make

    def forward(self, x: Tensor) -> Any:
        hidden = self.first(x).relu()
        return self.make(self.second(hidden), hidden)


@dataclass
class Scores:
    logits: Tensor
    rank: int = 3
    hidden: Tensor | None = None


@pytest.mark.parametrize(
    "make",
    [
        lambda logits, hidden: Scores(logits, 5, hidden),
        lambda logits, hidden: {"scores": [Scores(logits)], "hidden": hidden},
    ],
)
def test_outputs_are_looked_for_in_dataclasses(make):
    model, x = Returning(make).double(), torch.randn(3, 4, dtype=torch.float64)
    dag = topo.trace(model, (4,))
    flat, spec = pytree.tree_flatten(dag(x))
    mine, same = pytree.tree_flatten(model(x))
    assert spec == same
    assert all(torch.equal(one, other) if isinstance(one, Tensor) else one == other for one, other in zip(flat, mine))
    kept = topo.masks.prunable_parameters(model)
    masks = {name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in kept.items()}
    small = topo.compact(model, masks, (4,))
    assert pytree.tree_structure(small(x)) == spec
    outputs = [part.name for part in topo.encode(dag).parts if part.role == "output"]
    assert outputs[-1] == "second"


def test_other_classes_of_outputs_are_named():
    with pytest.raises(InputError, match="returns an object of class 'SimpleNamespace', into which torch cannot look"):
        topo.trace(Returning(lambda logits, hidden: SimpleNamespace(logits=logits)), (4,))


def test_outputs_of_transformers():
    transformers = pytest.importorskip("transformers")
    output = transformers.modeling_outputs.BaseModelOutput
    model = Returning(lambda logits, hidden: output(last_hidden_state=logits, hidden_states=(hidden,)))
    x = torch.randn(2, 4)
    assert torch.equal(topo.trace(model, (4,))(x).hidden_states[0], model(x).hidden_states[0])


def test_what_needs_no_values_works_on_the_meta_device():
    with torch.device("meta"):
        model = net()
    assert topo.cost(model, (4,)) == {"parameters": 23, "macs": 18}
    channels = topo.dag.coupled_channels(topo.trace(model, (4,)))
    assert channels.count == 3
    for verb in (
        lambda: topo.encode(model, example=(4,)),
        lambda: topo.prune(model, "magnitude", sparsity=0.5),
        lambda: topo.compact(model, {}, (4,)),
        lambda: topo.masks.Masks.from_nonzero(model),
    ):
        with pytest.raises(InputError, match=r"needs the values of the weights, and '0\.weight' has none on the meta"):
            verb()


def stored_sparse(layout: str) -> nn.Module:
    model = net()
    model[2].weight = nn.Parameter(getattr(model[2].weight.detach(), layout)())
    return model


UNREADABLE = {
    "script": (lambda: torch.jit.script(net()), "TorchScript: the model is a RecursiveScriptModule"),
    "traced": (lambda: torch.jit.trace(net(), torch.zeros(1, 4)), "the model is a TopLevelTracedModule; give the nn.M"),
    "within": (lambda: nn.Sequential(nn.Linear(4, 4), torch.jit.script(net())), "TorchScript: module '1' is a Recurs"),
    "coo": (lambda: stored_sparse("to_sparse"), r"'2\.weight' is stored as torch\.sparse_coo; give .*to_dense"),
    "csr": (lambda: stored_sparse("to_sparse_csr"), r"'2\.weight' is stored as torch\.sparse_csr; give .*to_dense"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("name", UNREADABLE)
def test_models_that_cannot_be_read(name):
    make, sentence = UNREADABLE[name]
    for verb in (
        lambda model: topo.trace(model, (4,)),
        lambda model: topo.encode(model, example=(4,)),
        lambda model: topo.prune(model, "magnitude", sparsity=0.5),
        lambda model: topo.compact(model, {}, (4,)),
    ):
        with pytest.raises(InputError, match=sentence):
            verb(make())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_models_that_cannot_be_traced():
    quantised = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(InputError, match=r"cannot follow the quantised module '0' \(Linear\), whose weights are no"):
        topo.trace(quantised, (4,))
    with pytest.raises(InputError, match=r"'0\.weight' has no shape yet; run the model once on an input"):
        topo.trace(nn.Sequential(nn.LazyLinear(3)), (4,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_shape_stands_for_inputs_of_the_type_of_the_model(dtype):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).to(dtype)
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=(1, 4, 4), device="cpu")
    assert topo.encode(model, masks, example=(1, 4, 4)).n_edges > 0
    assert {p.dtype for p in topo.compact(model, masks, (1, 4, 4)).parameters()} == {dtype}


@pytest.mark.parametrize("use", [lambda table, x: table(x), lambda table, x: table.weight[x]])
def test_shapes_for_models_of_tokens(use):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 2)

        def forward(self, x):
            return use(self.table, x)

    with pytest.raises(InputError, match=r"give tokens, such as torch\.zeros\(1, 16, dtype=torch\.long\)\.$"):
        topo.trace(Tokens(), (3, 32, 32))


def test_wrapped_and_compiled_models():
    model, x = net(), torch.randn(2, 4)
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        assert torch.equal(topo.trace(wrapped, (4,))(x), model(x))
