from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

import topo.pruning.unfolding as module
from topo.errors import InputError
from topo.masks import prunable_parameters
from topo.pruning import Task
from topo.pruning.input_statistics import gram, squares, visit_layers
from topo.pruning.weight_rows import Rows, as_matrix, written_back
from topo.torchvision_import import import_torchvision


def task_of(model: nn.Module, *, example: torch.Tensor | None = None, **weights: nn.Parameter) -> Task:
    weights = weights or prunable_parameters(model, example=example)
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

    def rows(start: int, stop: int, name: str = "attention.in_proj_weight") -> Rows:
        return Rows(name, (1, stop - start, 4), (0, 4, 1), 4 * start)

    stacked = torch.stack([query, key, value], 1)
    for same, parts in {3: [(0, 12, query)], 2: [(0, 4, query), (4, 12, key)]}.items():
        statistics = collect(Net(same), stacked)
        expected = {rows(a, b): gram(x.reshape(1, -1, 4)) for a, b, x in parts}
        torch.testing.assert_close(statistics["attention.in_proj_weight"], expected)
    statistics = collect(Net(1), stacked)
    assert [rows.offset for rows in statistics["attention.in_proj_weight"]] == [0, 16, 32]
    q, k, v = (
        (x @ w.T).unflatten(-1, (2, 2)).transpose(1, 2)
        for x, w in zip((query, key, value), attention.in_proj_weight.chunk(3))
    )
    heads = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, 4)
    torch.testing.assert_close(
        statistics["attention.out_proj.weight"], {rows(0, 4, "attention.out_proj.weight"): gram(heads)}
    )


def test_every_weight_of_encoders_and_vision_transformers_is_seen():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert list(collect(layer, torch.randn(3, 5, 8))) == list(prunable_parameters(layer))
    vit = import_torchvision().models.VisionTransformer(
        image_size=8, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
    )
    statistics = collect(vit, torch.randn(4, 3, 8, 8), task_of(vit, example=torch.zeros(1, 3, 8, 8)))
    assert statistics.keys() == prunable_parameters(vit, example=(3, 8, 8)).keys()
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
        (
            lambda m, x: m.other(m.layer(x)) @ m.other.weight,
            "used in different ways, as by a tied layer, .*exclude",
        ),
        (lambda m, x: m.other(m.layer(x)) + x @ m.other.weight[:1].T, "other.weight is used in different ways"),
        (lambda m, x: m.layer(x) + x @ m.other.weight[1:].T, "other.weight is used only in part, so that its"),
        (lambda m, x: m.layer(x) * m.other.weight.sum(), "multiplies its inputs by other.weight"),
    ],
)
@pytest.mark.parametrize("sequential", [True, False])
def test_weights_without_one_input_are_refused_by_name(use, message, sequential):
    with pytest.raises(InputError, match=message):
        collect(Odd(use), torch.randn(4, 3), sequential=sequential)


def test_transposed_and_expanded_matrices():
    net, inputs = seeded(lambda: Odd(lambda m, x: m.other(x @ m.layer.weight)), 5, 3)
    assert list(collect(net, inputs)["layer.weight"]) == [Rows("layer.weight", (1, 3, 3), (0, 1, 3))]
    net.use = lambda m, x: m.other(torch.bmm(x[None].expand(2, -1, -1), m.layer.weight.T.expand(2, 3, 3)))
    ((rows, seen),) = collect(net, inputs)["layer.weight"].items()
    assert rows == Rows("layer.weight", (1, 3, 3), (0, 3, 1))
    torch.testing.assert_close(seen, 2 * gram(inputs[None]))


class Used(nn.Module):
    """A parameter and how it is used."""

    def __init__(self, shape: tuple[int, ...], use) -> None:
        super().__init__()
        self.w, self.use = nn.Parameter(torch.randn(shape)), use

    def forward(self, *inputs):
        return self.use(self.w, *inputs)


USES = {
    "transposed": ((3, 5), (4, 3), lambda w, x: x @ w),
    "addmm": ((3, 5), (4, 3), lambda w, x: torch.addmm(torch.zeros(5, dtype=x.dtype), x, w)),
    "reshaped": ((3, 2, 2), (4, 3), lambda w, x: x @ w.reshape(3, 4)),
    "matrix first": ((5, 3), (4, 3), lambda w, x: (w @ x.mT).mT),
    "experts": ((2, 3, 5), (2, 4, 3), lambda w, x: torch.bmm(x, w)),
    "experts of several samples": ((2, 3, 5), (4, 2, 6, 3), lambda w, x: x @ w),
    "einsum, heads": ((5, 2, 3), (4, 2, 3), lambda w, x: torch.einsum("bhi,ohi->bo", x, w)),
    "einsum, moved": ((2, 3, 5), (4, 3), lambda w, x: torch.einsum("bi,eio->beo", x, w)),
    "tensordot": ((2, 3, 5), (4, 2, 3), lambda w, x: torch.tensordot(x, w, dims=2)),
    "copied": ((5, 3), (4, 3), lambda w, x: F.linear(x, w.flip(0).contiguous())),
}


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("name", USES)
def test_however_a_weight_is_used_its_rows_times_the_gram_matrix_give_the_norm_of_the_outputs(name, sequential):
    shape, inputs, use = USES[name]
    net, x = seeded(lambda: Used(shape, use), *inputs)
    statistics = collect(net, x, task_of(net, w=net.w), sequential=sequential)["w"]
    other = torch.randn_like(net.w)
    norm = sum((rows.matrices(other) @ seen * rows.matrices(other)).sum() for rows, seen in statistics.items())
    torch.testing.assert_close(norm, use(other, x).square().sum())
    for rows in statistics:
        assert rows.computed is None
    changed = as_matrix(other, list(statistics))
    torch.testing.assert_close(written_back(changed, list(statistics), net.w), other.detach())


def test_a_bilinear_layer_has_products_of_its_inputs():
    layer, x = seeded(lambda: nn.Bilinear(2, 3, 4, bias=False), 5, 5)
    net = Used((4, 2, 3), lambda w, x: F.bilinear(x[:, :2], x[:, 2:], w))
    net.w = layer.weight
    ((rows, seen),) = collect(net, x, task_of(net, w=net.w))["w"].items()
    products = (x[:, :2, None] * x[:, None, 2:]).flatten(1)
    torch.testing.assert_close(seen, gram(products[None]))
    torch.testing.assert_close(rows.matrices(net.w)[0], layer.weight.detach().flatten(1))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_layers_have_the_inputs_of_all_steps(kind):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = getattr(nn, kind)(3, 4, batch_first=True)

        def forward(self, x):
            return self.recurrent(x)[0]

    net, x = seeded(Net, 6, 5, 3)
    statistics = collect(net, x, sequential=False)
    assert list(statistics) == ["recurrent.weight_ih_l0", "recurrent.weight_hh_l0"]
    (of_inputs,), (of_states,) = (part.values() for part in statistics.values())
    before = torch.cat([torch.zeros(6, 1, 4), net(x).detach()[:, :-1]], 1)
    torch.testing.assert_close(of_inputs, gram(x.reshape(1, -1, 3)))
    torch.testing.assert_close(of_states, gram(before.double().reshape(1, -1, 4)))


def test_a_table_of_embeddings_is_multiplied_by_the_tokens():
    table, tokens = nn.Embedding(5, 2), torch.tensor([[1, 3, 3], [0, 1, 3]])
    net = nn.Sequential(table, nn.Linear(2, 2))
    ((rows, seen),) = collect(net, tokens, task_of(net, table=table.weight), statistic=squares)["table"].items()
    assert seen.tolist() == [[1, 2, 0, 3, 0]] and rows == Rows("table", (1, 2, 5), (0, 1, 2))
    head = nn.Linear(2, 5, bias=False)
    head.weight = table.weight
    tied = nn.Sequential(table, head)
    with pytest.raises(InputError, match="table is used in different ways, as by a tied layer"):
        collect(tied, tokens, task_of(tied, table=table.weight))


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_computed_weights_are_told_apart_and_are_what_the_inputs_are_multiplied_by(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        layer, x = seeded(lambda: norm(nn.Linear(3, 4, bias=False)), 6, 3)
    (weight,) = [p for p in layer.parameters() if p.shape == (4, 3)]
    ((rows, seen),) = collect(layer, x, task_of(layer, v=weight))["v"].items()
    torch.testing.assert_close(seen, gram(x[None]))
    torch.testing.assert_close(rows.computed[0], layer.weight.detach())
    torch.testing.assert_close(rows.view(weight)[0], weight.detach())


def test_what_is_done_to_a_weight_reaches_the_copy_that_is_used():
    """Also a computed weight is zero where its parameter has become zero."""
    for use in (lambda w, x: F.linear(x, w.flip(0).contiguous()), lambda w, x: F.linear(x, w * 2)):
        net, x = seeded(lambda use=use: Used((5, 3), use), 4, 3)
        task, outputs = task_of(net, w=net.w), []

        def visit(name, inputs, net=net):
            net.w.data[1] = 0

        net.use = lambda w, x, use=use, outputs=outputs: outputs.append(use(w, x))
        visit_layers(task, (x, torch.zeros(4)), visit)
        torch.testing.assert_close(outputs[-1], use(net.w, x).detach())


def test_errors_of_the_visitor_are_its_own():
    def visit(name, inputs):
        raise InputError("no such luck.")

    with pytest.raises(InputError, match=r"^no such luck\.$"):
        visit_layers(task_of(nn.Linear(2, 2)), (torch.ones(2, 2), torch.zeros(2)), visit)
