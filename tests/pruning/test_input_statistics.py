from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

import topo.pruning.input_statistics as module
from topo.errors import InputError
from topo.masks import prunable_parameters
from topo.pruning import Task
from topo.pruning.input_statistics import Rows, gram, squares, visit_layers
from topo.torchvision_import import import_torchvision


def task_of(model: nn.Module, **weights: nn.Parameter) -> Task:
    weights = weights or prunable_parameters(model)
    return Task(model.eval(), weights, 1, None, torch.Generator(), torch.device("cpu"), name="some")


def collect(model: nn.Module, inputs: torch.Tensor, task: Task | None = None, **options) -> dict:
    statistics = {}
    visit_layers(task or task_of(model), (inputs, torch.zeros(len(inputs))), statistics.__setitem__, **options)
    return statistics


def seeded(make, *shape: int):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double(), torch.randn(*shape, dtype=torch.float64)


LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear, 4 axes": (lambda: nn.Linear(4, 3, bias=False), (5, 2, 3, 4)),
    "one output": (lambda: nn.Linear(4, 1), (5, 4)),
    "one input": (lambda: nn.Linear(1, 4), (5, 1)),
    "one weight": (lambda: nn.Linear(1, 1), (5, 1)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 4, stride=3, padding=2, dilation=2), (4, 2, 11)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (3, 4, 7, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4), (3, 4, 5, 5)),
    "same": (lambda: nn.Conv2d(2, 3, (3, 5), padding="same", dilation=(2, 1)), (3, 2, 6, 7)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (3, 2, 5, 4)),
    "conv3d": (lambda: nn.Conv3d(2, 2, (1, 2, 3), stride=(1, 2, 1)), (2, 2, 3, 4, 5)),
    "transposed1d": (lambda: nn.ConvTranspose1d(3, 2, 4, stride=3, padding=1, output_padding=2, dilation=2), (4, 3, 5)),
    "transposed2d": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=2, dilation=(2, 1)),
        (3, 4, 4, 3),
    ),
    "transposed, cut": (lambda: nn.ConvTranspose2d(2, 3, 2, padding=2), (3, 2, 5, 5)),
}


@pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("chunk", [2**25, 1])
def test_the_gram_matrix_gives_the_norm_of_the_outputs_of_any_weights(make, shape, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    layer, inputs = seeded(make, *shape)
    ((rows, seen),) = collect(layer, inputs)["weight"].items()
    assert seen.dtype == torch.float64
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        other = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
        zero = {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}
        outputs = functional_call(layer, {"weight": other} | zero, inputs)
        matrices = rows.matrices(other)
        per_row = (matrices @ seen * matrices).sum(-1).flatten()
        channels = outputs.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)
        torch.testing.assert_close(per_row, channels.square().sum(1))


@pytest.mark.parametrize("make, shape", LAYERS.values(), ids=LAYERS)
def test_squares_are_the_diagonal_of_the_gram_matrix(make, shape):
    layer, inputs = seeded(make, *shape)
    ((_, a),) = collect(layer, inputs)["weight"].items()
    ((_, b),) = collect(layer, inputs, statistic=squares)["weight"].items()
    torch.testing.assert_close(b, a.diagonal(dim1=-2, dim2=-1))


def test_attention_is_seen_in_parts():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = nn.MultiheadAttention(4, 2, batch_first=True).double()
        query, key, value = torch.randn(3, 3, 5, 4, dtype=torch.float64).unbind()

    class Net(nn.Module):
        def __init__(self, same: int):
            super().__init__()
            self.attention, self.same = attention, same

        def forward(self, stacked: torch.Tensor) -> torch.Tensor:
            query, key, value = stacked.unbind(1)
            parts = {3: (query, query, query), 2: (query, key, key), 1: (query, key, value)}[self.same]
            return self.attention(*parts, need_weights=False)[0]

    stacked = torch.stack([query, key, value], 1)
    for same, parts in {3: [(0, 12, query)], 2: [(0, 4, query), (4, 12, key)]}.items():
        statistics = collect(Net(same), stacked)
        expected = {Rows("attention.in_proj_weight", 0, a, b): gram(x.reshape(1, -1, 4)) for a, b, x in parts}
        torch.testing.assert_close(statistics["attention.in_proj_weight"], expected)
    statistics = collect(Net(1), stacked)
    assert [(rows.start, rows.stop) for rows in statistics["attention.in_proj_weight"]] == [(0, 4), (4, 8), (8, 12)]
    q, k, v = (
        (x @ w.T).unflatten(-1, (2, 2)).transpose(1, 2)
        for x, w in zip((query, key, value), attention.in_proj_weight.chunk(3))
    )
    heads = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, 4)
    torch.testing.assert_close(
        statistics["attention.out_proj.weight"], {Rows("attention.out_proj.weight", 0, 0, 4): gram(heads)}
    )


def test_every_weight_of_encoders_and_vision_transformers_is_seen():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert list(collect(layer, torch.randn(3, 5, 8))) == list(prunable_parameters(layer))
    vit = import_torchvision().models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
    )
    statistics = collect(vit, torch.randn(4, 3, 8, 8))
    assert statistics.keys() == prunable_parameters(vit).keys()
    assert next(iter(statistics)) == "conv_proj.weight" and list(statistics)[-1] == "heads.head.weight"
    assert torch.backends.mha.get_fastpath_enabled()


def test_all_awkward_layers_in_parts_or_together(awkward, images):
    whole = collect(awkward, images[0])
    parts = collect(awkward, images[0], sequential=False, batch_size=5)
    assert list(whole) == list(parts) and whole.keys() == prunable_parameters(awkward).keys()
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-4)


def test_a_weight_used_twice_has_the_inputs_of_both_and_is_visited_before_the_last():
    layer, inputs = seeded(lambda: nn.Linear(4, 4, bias=False), 6, 4)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    hidden = inputs @ layer.weight.detach().T
    expected = gram(inputs[None]) + gram(hidden.relu()[None])
    seen = []

    def visit(name, inputs):
        seen.append(name)
        torch.testing.assert_close(list(inputs.values()), [expected])
        task.weights[name].fill_(0.0)

    task = task_of(net)
    with torch.no_grad():
        visit_layers(task, (inputs, torch.zeros(6)), visit)
    assert seen == ["0.weight"]


@pytest.mark.parametrize("sequential", [True, False])
def test_changes_of_earlier_layers_reach_later_ones_only_in_sequence(sequential):
    net, inputs = seeded(lambda: nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2)), 70, 3)
    before = net[0].weight.detach().clone()
    statistics = {}

    def visit(name, inputs):
        statistics[name] = next(iter(inputs.values()))
        task.weights[name][0] = 7.0

    task = task_of(net)
    with torch.no_grad():
        visit_layers(task, (inputs, torch.zeros(70)), visit, sequential=sequential)
    after = before.clone()
    after[0] = 7.0
    torch.testing.assert_close(statistics["1.weight"], gram((inputs @ (after if sequential else before).T)[None]))


class Odd(nn.Module):
    def __init__(self, use):
        super().__init__()
        self.layer, self.other, self.use = nn.Linear(3, 3), nn.Linear(3, 2), use

    def forward(self, x):
        return self.use(self, x)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m, x: m.layer(x), "multiplies its inputs by other.weight, .*exclude"),
        (lambda m, x: m.other(m.layer(x)) @ m.other.weight, "other.weight is used in different parts or also transp"),
        (lambda m, x: m.other(m.layer(x)) + x @ m.other.weight[:1].T, "other.weight is used in different parts"),
        (lambda m, x: m.layer(x) + x @ m.other.weight[1:].T, "other.weight is used in different parts"),
        (lambda m, x: m.layer(x) * m.other.weight.sum(), "multiplies its inputs by other.weight"),
    ],
)
@pytest.mark.parametrize("sequential", [True, False])
def test_weights_without_one_input_are_refused_by_name(use, message, sequential):
    with pytest.raises(InputError, match=message):
        collect(Odd(use), torch.randn(4, 3), sequential=sequential)


def test_transposed_and_expanded_matrices():
    net, inputs = seeded(lambda: Odd(lambda m, x: m.other(x @ m.layer.weight)), 5, 3)
    assert list(collect(net, inputs)["layer.weight"]) == [Rows("layer.weight", 1, 0, 3)]
    net.use = lambda m, x: m.other(torch.bmm(x[None].expand(2, -1, -1), m.layer.weight.T.expand(2, 3, 3)))
    ((rows, seen),) = collect(net, inputs)["layer.weight"].items()
    assert rows == Rows("layer.weight", 0, 0, 3)
    torch.testing.assert_close(seen, 2 * gram(inputs[None]))


def test_recurrent_layers_are_refused_by_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.recurrent(x)[0][:, -1])

    net = Net()
    head = task_of(net, **{"head.weight": net.head.weight})
    assert list(collect(net, torch.randn(2, 5, 3), head)) == ["head.weight"]
    with pytest.raises(InputError, match=r"recurrent.weight_ih_l0, recurrent.weight_hh_l0"):
        collect(net, torch.randn(2, 5, 3))


def test_errors_of_the_visitor_are_its_own():
    def visit(name, inputs):
        raise InputError("no such luck.")

    with pytest.raises(InputError, match=r"^no such luck\.$"):
        visit_layers(task_of(nn.Linear(2, 2)), (torch.ones(2, 2), torch.zeros(2)), visit)
