"""A network is traced once: again only where its structure, its code or its inputs' form has changed."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import topo
from topo.dag import kept_traces, tracing
from topo.training import Recipe

SCALE = 2.0


def scaled(x: Tensor) -> Tensor:
    return x * SCALE


class Settings:
    def __init__(self) -> None:
        self.negative = False


class Net(nn.Module):
    """Reads all that may change: modules, a buffer, a plain tensor, an object, a list, a function and a global."""

    factor = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)
        self.settings = Settings()
        self.activations = [nn.ReLU()]
        self.register_buffer("shift", torch.zeros(2))
        self.index = torch.tensor([1, 0])

    def forward(self, x: Tensor) -> Tensor:
        z = scaled(self.norm(self.conv(x)))
        for activation in self.activations:
            z = activation(z)
        z = self.head(z.mean((2, 3))) * self.factor + self.shift.exp()
        return (-z if self.settings.negative else z)[:, self.index]


X = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What has been exported so far: one entry a trace that was made and not found."""
    made: list[Any] = []
    export = tracing.export

    def counted(model: nn.Module, *inputs: Any) -> Any:
        made.append(type(model))
        return export(model, *inputs)

    monkeypatch.setattr(tracing, "export", counted)
    monkeypatch.setattr(kept_traces, "_kept", OrderedDict())
    yield made


def assert_follows(net: nn.Module, x: Tensor = X) -> None:
    """The trace computes what the model computes now."""
    net.eval()
    with torch.no_grad():
        assert torch.equal(topo.trace(net, x[:1])(x), net(x))


def _sets(path: str, value: Any) -> Callable[[nn.Module], None]:
    def change(net: Any) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            net = getattr(net, parent)
        setattr(net, name, value() if callable(value) and not isinstance(value, type) else value)

    return change


def _parametrise(net: Any) -> None:
    nn.utils.parametrizations.weight_norm(net.head)


def _prune(net: Any) -> None:
    prune.random_unstructured(net.head, "weight", 0.5)


def _hook(net: Any) -> None:
    net.head.register_forward_hook(lambda module, inputs, result: result * 3)


STRUCTURE: dict[str, Callable[[Any], Any]] = {
    "stride": _sets("conv.stride", (2, 2)),
    "padding": _sets("conv.padding", (1, 1)),
    "module": _sets("head", lambda: nn.Linear(3, 2, bias=False)),
    "module within a list": lambda net: net.activations.append(nn.Tanh()),
    "form of a parameter": lambda net: _sets("conv", lambda: nn.Conv2d(1, 3, 5))(net),
    "type": lambda net: net.float().half().float() and net.register_buffer("shift", torch.zeros(1)),
    "tied parameters": lambda net: _sets("norm.bias", net.norm.weight)(net),
    "object": _sets("settings.negative", True),
    "forward": lambda net: _sets("forward", lambda: lambda x: net.head(net.conv(x).mean((2, 3))))(net),
    "hook": _hook,
    "parametrisation": _parametrise,
    "pruning hook": _prune,
    "plain tensor": _sets("index", lambda: torch.tensor([0, 1])),
    "plain tensor in place": lambda net: net.index.zero_(),
}
VALUES: dict[str, Callable[[Any], Any]] = {
    "parameter in place": lambda net: net.head.weight.data.mul_(2),
    "new parameter of the form": _sets("head.weight", lambda: nn.Parameter(torch.ones(2, 3))),
    "buffer in place": lambda net: net.shift.add_(1),
    "new buffer of the form": _sets("shift", lambda: torch.ones(2)),
    "statistics": lambda net: net.norm.running_mean.add_(1),
    "state": lambda net: net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()}),
    "mode": lambda net: net.train(),
}


@pytest.mark.parametrize("change", STRUCTURE)
def test_traced_again(exports: list[Any], change: str) -> None:
    net = Net().eval()
    assert_follows(net)
    STRUCTURE[change](net)
    assert_follows(net)
    assert len(exports) == 2
    assert_follows(net)
    assert len(exports) == 2


@pytest.mark.parametrize("change", VALUES)
def test_values_are_read_live(exports: list[Any], change: str) -> None:
    net = Net().eval()
    assert_follows(net)
    with torch.no_grad():
        VALUES[change](net)
    assert_follows(net)
    assert len(exports) == 1


@pytest.mark.parametrize("pruner", ["l1-filter", "variational"])
def test_a_pruner_traces_a_network_with_attention_once(exports: list[Any], pruner: str) -> None:
    """Though it works on a copy, some of whose parameters are frozen, with attention's exact kernel."""
    net = nn.TransformerEncoderLayer(2, 2, 2, batch_first=True)
    model = nn.Sequential(net, nn.Flatten(), nn.Linear(4, 2))
    data = torch.randn(8, 2, 2), torch.arange(8) % 2
    training = {"recipe": Recipe(epochs=1)} if pruner == "variational" else {}
    topo.prune(model, pruner, sparsity=0.2, data=data, device="cpu", **training)
    assert len(exports) == 1


def test_types_and_inputs(exports: list[Any]) -> None:
    net = Net().eval()
    assert_follows(net)
    net.double()
    assert_follows(net, X.double())
    topo.trace(net, torch.zeros(1, 1, 8, 8).double())
    topo.trace(net, {"x": X[:1].double()})
    assert len(exports) == 4
    topo.trace(net, (1, 8, 8))
    topo.trace(net, {"x": (1, 6, 6)})
    assert len(exports) == 4


def test_code_around_a_model(exports: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net().eval()
    assert_follows(net)
    for number, (owner, name, value) in enumerate(
        [
            (Net, "factor", 3),
            (Net, "forward", lambda self, x: self.head(scaled(self.conv(x)).mean((2, 3)))),
            (nn.ReLU, "forward", lambda self, x: x.tanh()),
            (__import__(__name__, fromlist=["x"]), "SCALE", 5.0),
            (__import__(__name__, fromlist=["x"]), "scaled", lambda x: x - 1),
        ],
        2,
    ):
        monkeypatch.setattr(owner, name, value)
        assert_follows(net)
        assert len(exports) == number


def test_copies_share_a_trace_and_nothing_else(exports: list[Any]) -> None:
    net = Net().eval()
    dag = topo.trace(net, X[:1])
    again = pickle.loads(pickle.dumps(net))
    fork = copy.deepcopy(net)
    with torch.no_grad():
        fork.head.weight.zero_()
        fork.shift.add_(1)
    for one in (fork, again, net):
        assert_follows(one)
    assert len(exports) == 1
    assert dag.model is net and topo.trace(fork, X[:1]).model is fork
    fork.conv.stride = (2, 2)
    for one in (fork, net):
        assert_follows(one)
    assert len(exports) == 2


def _adding(module: Any) -> Callable[..., Tensor]:
    return lambda _, inputs, result: result + module.bias


def test_models_are_freed(exports: list[Any]) -> None:
    net = Net()
    net.head.register_forward_hook(_adding(net.head))
    topo.trace(net, X[:1])
    alive = [weakref.ref(net), weakref.ref(net.head.weight), weakref.ref(net.shift)]
    del net
    gc.collect()
    assert [one() for one in alive] == [None] * 3


def test_what_cannot_be_seen_is_traced_each_time(exports: list[Any]) -> None:
    net = Net()
    net.steps = iter([])  # type: ignore[assignment]
    for _ in range(2):
        topo.trace(net, X[:1])
    assert len(exports) == 2


def test_counters_and_caches_of_a_forward(exports: list[Any]) -> None:
    """A forward that behaves differently at its second call is traced anew."""

    class Counting(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x) * self.calls

    net = Counting(3, 2)
    x = torch.randn(2, 3)
    first = topo.trace(net, x[:1])
    net(x)
    assert not torch.equal(topo.trace(net, x[:1])(x), first(x))


def test_verbs_share_a_trace(exports: list[Any]) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    masks = topo.prune(net, "l1-filter", sparsity=0.5, example=(1, 6, 6))
    for _ in range(2):
        topo.encode(net, masks, example=(1, 6, 6))
    topo.cost(net, (1, 6, 6))
    topo.compact(net, masks, (1, 6, 6))
    assert exports == [nn.Sequential]


def test_a_state_takes_a_small_part_of_a_trace(exports: list[Any]) -> None:
    net = topo.models.build("resnet20").eval()
    state = kept_traces.ModelState(net, X)
    assert len(state.tensors) == len({*net.parameters(), *net.buffers()}) + 1
    assert len(state.key) < 10_000  # type: ignore[arg-type]


class Slotted:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 1


def test_objects_with_slots(exports: list[Any]) -> None:
    net = Net()
    net.slotted = Slotted()  # type: ignore[assignment]
    topo.trace(net, X[:1])
    net.slotted.n = 2  # type: ignore[assignment, union-attr]
    topo.trace(net, X[:1])
    assert len(exports) == 2
