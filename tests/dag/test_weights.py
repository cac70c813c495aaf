"""What is a weight: the table of a model's parameters, names behind parametrisations, and what is kept of weights."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

import topo
from tests.public_models import public_dag, public_model
from topo.dag.derived_weights import carried_elements, kept_elements
from topo.dag.parameter_axes import parameter_axis
from topo.errors import InputError
from topo.masks import Masks, prunable_parameters
from topo.parameter_names import masks_within, named_parameters


def old_weight_norm(layer: nn.Module, **settings) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer, **settings)


class Straight(nn.Module):
    """Rounds in the forward pass alone, as quantisation-aware training does."""

    def forward(self, w: Tensor) -> Tensor:
        return w + ((w * 1024).round() / 1024 - w).detach()


class Centred(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, w / (w.std(dim=(1, 2, 3), keepdim=True) + 1e-5), self.bias)


class Own(nn.Module):
    """A layer of one parameter that multiplies by it in a way of its own."""

    def __init__(self, multiply, *shape: int) -> None:
        super().__init__()
        self.multiply = multiply
        self.w = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.w)


PARAMETRISED = {
    "weight norm": lambda layer: parametrizations.weight_norm(layer),
    "weight norm of the whole": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "weight norm of columns": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "older weight norm": old_weight_norm,
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer),
    "older spectral norm": lambda layer: nn.utils.spectral_norm(layer),
    "both": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    "straight through": lambda layer: _parametrised(layer, Straight()),
    "mask of torch": lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 2),
}


def _parametrised(layer: nn.Module, part: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", part)
    return layer


def roles(model: nn.Module, example) -> dict[str, str]:
    table = topo.weights(model, example)
    return dict(zip(table["name"], table["role"], strict=True))


@pytest.mark.parametrize("kind", PARAMETRISED)
class TestParametrised:
    def model(self, kind: str) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        PARAMETRISED[kind](net[0])
        return net.eval()

    def test_names_are_those_of_the_plain_model(self, kind):
        net, plain = self.model(kind), nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        dag = topo.trace(net, (4,))
        assert [node.name for node in dag.nodes] == [node.name for node in topo.trace(plain, (4,)).nodes]
        assert list(prunable_parameters(dag)) == list(prunable_parameters(net)) == ["0.weight", "2.weight"]
        assert prunable_parameters(net)["0.weight"].shape == (5, 4)
        masks = topo.prune(plain, "er", sparsity=0.5)
        masks.check(net)
        graphs = [topo.encode(m, masks, example=(4,), encoding="rolled") for m in (net, plain)]
        assert list(graphs[0]) == list(graphs[1]) == ["0", "2"]

    def test_a_mask_makes_the_weight_zero_and_is_what_is_kept_of_it(self, kind):
        net = self.model(kind)
        mask = torch.rand(5, 4) < 0.5
        mask[0], mask[1], mask[:, 2] = False, True, False
        Masks({"0.weight": mask}).apply(net)
        within = masks_within(net).get("0.weight", torch.ones(5, 4, dtype=torch.bool))
        jacobian = torch.autograd.functional.jacobian(lambda x: net[0](x), torch.randn(4))
        assert torch.equal(jacobian != 0, mask & within)
        dag = topo.trace(net, (4,))
        assert torch.equal(kept_elements(dag, dag.arcs[0].steps[0].args[1].name, {"0.weight": mask}), mask & within)
        counts = topo.encode(dag, {"0.weight": mask}, encoding="rolled")["0"].attributes
        assert (counts["weights_total"], counts["weights_kept"]) == (20, int((mask & within).sum()))
        assert not net(torch.randn(2, 4)).isnan().any()

    def test_training_holds_it(self, kind):
        net = self.model(kind).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1, weight_decay=0.1)
        mask = torch.rand(5, 4) < 0.5
        mask[0], mask[1] = False, True
        Masks({"0.weight": mask}).hold(net, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(6, 4)).square().sum().backward()
            optimizer.step()
        jacobian = torch.autograd.functional.jacobian(lambda x: net.eval()[0](x), torch.randn(4))
        assert not jacobian[~mask].any() and jacobian.isfinite().all() and jacobian[1].any()

    def test_copies_and_pruners(self, kind):
        net = self.model(kind)
        before = copy.deepcopy(net.state_dict())
        for pruner in ("magnitude", "erk", "iterative-snip"):
            data = torch.randn(8, 4), torch.arange(8) % 3
            masks = topo.prune(net, pruner, sparsity=0.6, data=data)
            assert masks.counts()["kept"].sum() == 14
            assert all((masks[name] <= mask).all() for name, mask in masks_within(net).items())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

    def test_magnitudes_are_those_of_what_multiplies(self, kind):
        net = self.model(kind)
        magnitude = topo.pruning.score(net, "magnitude", example=(4,))["0.weight"]
        net(torch.zeros(1, 4))
        torch.testing.assert_close(magnitude, net[0].weight.detach().abs())


def test_the_sparsity_is_that_of_the_network():
    torch.manual_seed(0)
    net = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(10, 20)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(20, 20)),
        nn.ReLU(),
        nn.Linear(20, 10),
    ).eval()
    masks = topo.prune(net, "magnitude", sparsity=0.9, example=(10,), allocation="uniform")
    masks.apply(net)
    zeros = sum(int((net[place].weight == 0).sum()) for place in (0, 2, 4))
    assert zeros == 0.9 * 800 and masks.sparsity == pytest.approx(0.9)


OWN = {
    "x @ w": (lambda x, w: x @ w, (4, 3)),
    "x @ w.t()": (lambda x, w: x @ w.t(), (3, 4)),
    "linear": (F.linear, (3, 4)),
    "linear of a multiple": (lambda x, w: F.linear(x, w * 2), (3, 4)),
    "linear of a multiple moved": (lambda x, w: F.linear(x, torch.tanh(w.t())), (4, 3)),
    "einsum": (lambda x, w: torch.einsum("bi,io->bo", x, w), (4, 3)),
    "einsum with experts": (lambda x, w: torch.einsum("bi,eio->beo", x, w).sum(1), (2, 4, 3)),
    "bmm with experts": (lambda x, w: torch.bmm(x.expand(2, *x.shape), w).sum(0), (2, 4, 3)),
    "parts": (lambda x, w: torch.cat([F.linear(x, part) for part in w.chunk(3)], 1), (3, 4)),
    "one of several": (lambda x, w: F.linear(x, w[1]), (2, 3, 4)),
    "cast": (lambda x, w: F.linear(x, w.double().float()), (3, 4)),
    "convolution": (lambda x, w: F.conv1d(x[:, None], w).flatten(1), (2, 1, 3)),
}


@pytest.mark.parametrize("kind", OWN)
class TestOwnLayers:
    def test_their_parameter_is_a_weight(self, kind):
        multiply, shape = OWN[kind]
        net = nn.Sequential(Own(multiply, *shape), nn.ReLU(), nn.LazyLinear(2))
        net(torch.zeros(1, 4))
        assert roles(net, (4,)) == {"0.w": "weight", "2.weight": "weight", "2.bias": "bias"}
        masks = topo.prune(net, "magnitude", sparsity=0.5, example=(4,))
        assert list(masks) == ["0.w", "2.weight"]
        with pytest.raises(UserWarning, match=r"'0.w' .* give example="):
            topo.prune(net, "magnitude", sparsity=0.5)

    def test_kept_zeros_are_edges(self, kind):
        multiply, shape = OWN[kind]
        net = Own(multiply, *shape)
        masks = {"w": torch.ones(shape, dtype=torch.bool)}
        try:
            full = topo.encode(net, example=(4,)).n_edges
        except InputError as error:
            pytest.skip(str(error))
        with torch.no_grad():
            net.w.view(-1)[:2] = 0
        assert topo.encode(net, masks, example=(4,)).n_edges == full


def test_what_is_no_weight_says_why():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.position = nn.Parameter(torch.zeros(1, 3, 4))
            self.token = nn.Parameter(torch.zeros(1, 1, 4))
            self.norm = nn.LayerNorm(4)
            self.slope = nn.PReLU(4)
            self.gain = nn.Parameter(torch.ones(4))
            self.left, self.right = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.zeros(2, 4))
            self.unused = nn.Linear(3, 3)
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.embed(x) + self.position) * self.gain
            x = self.slope(torch.cat([self.token.expand(len(x), 1, 4), x], 1).transpose(1, 2)).transpose(1, 2)
            return self.head(F.linear(x, self.left @ self.right))

    net = Net()
    tokens = torch.zeros(1, 3, dtype=torch.long)
    table = topo.weights(net, tokens).set_index("name")
    assert table["role"].to_dict() == {
        "position": "added",
        "token": "joined",
        "gain": "scale",
        "left": "factor",
        "right": "factor",
        "embed.weight": "embedding",
        "norm.weight": "norm",
        "norm.bias": "norm",
        "slope.weight": "slope",
        "unused.weight": "unused",
        "unused.bias": "unused",
    }
    assert not table["pruned"].any() and table["why_not"].all()
    assert table.loc["embed.weight", "operations"] == "embedding, linear"
    with pytest.raises(InputError, match="nothing is left to prune; pruning does not touch 'left', 'right'"):
        prunable_parameters(net, example=tokens)
    included = prunable_parameters(net, include=["embed.*", "left"], example=tokens)
    assert list(included) == ["left", "embed.weight"]


def test_mixed_elements_are_left_by_name():
    net = nn.Sequential(Centred(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    assert roles(net, (2, 4, 4))["0.weight"] == "computed weight"
    with pytest.warns(UserWarning, match=r"does not touch '0.weight' \(its elements are mixed"):
        masks = topo.prune(net, "erk", sparsity=0.5, example=(2, 4, 4))
    assert list(masks) == ["3.weight"]
    assert list(topo.prune(net, "erk", sparsity=0.5, example=(2, 4, 4), include=["0.weight"])) == ["0.weight"]


def test_parametrisations_that_mix():
    net = parametrizations.orthogonal(nn.Linear(4, 4))
    assert roles(net, (4,)) == {"bias": "bias", "weight": "computed weight"}


def test_a_scale_learnt_for_each_weight_is_none():
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3, bias=False)
            self.scores = nn.Parameter(torch.ones(3, 4))
            self.rows = nn.Parameter(torch.ones(3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight * self.scores * self.rows)

    assert roles(Masked(), (4,)) == {"weight": "weight", "scores": "weight scale", "rows": "weight scale"}


def test_every_element_of_a_product_of_low_rank_depends_on_several():
    class LowRank(nn.Module):
        def __init__(self, rank: int) -> None:
            super().__init__()
            self.left, self.right = nn.Parameter(torch.zeros(3, rank)), nn.Parameter(torch.randn(rank, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.left @ self.right)

    dag = topo.trace(LowRank(2), (4,))
    (product,) = dag.constants
    assert carried_elements(dag, product, "left") is None
    kept = kept_elements(dag, product, {"left": torch.tensor([[1, 0], [0, 0], [1, 1]]).bool()})
    assert kept.tolist() == [[True] * 4, [False] * 4, [True] * 4]


def test_named_parameters_follow_the_models_order():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))
    assert list(named_parameters(net)) == [
        "0.bias",
        "0.parametrizations.weight.original0",
        "0.weight",
        "1.weight",
        "1.bias",
    ]


def test_a_spectral_norm_keeps_a_weight():
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)))
    with pytest.raises(InputError, match=r"whole of '0.weight', which a spectral norm divides"):
        Masks({"0.weight": torch.zeros(3, 4)}).apply(net)


def test_pruned_weights_that_are_no_numbers_are_not_seen():
    net = nn.Sequential(nn.Conv2d(1, 2, 2))
    mask = torch.ones(2, 1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0, 0], mask[1, 0, 0, 1] = False, False
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0], net[0].weight[1, 0, 0, 1] = torch.nan, torch.inf
    for encoding in ("rolled", "rolled-channel", "unrolled"):
        matrix = topo.encode(net, {"0.weight": mask}, example=(1, 3, 3), encoding=encoding)["0"].matrix
        assert torch.from_numpy(matrix.data).isfinite().all()


def test_quantised_layers_are_named():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    net[0].register_buffer("qweight", torch.zeros(3, 4, dtype=torch.int8))
    with pytest.warns(UserWarning, match=r"does not touch '0' \(quantised"):
        prunable_parameters(net)


def test_weights_from_the_input_are_named():
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Linear(8, 24)

        def forward(self, x: Tensor) -> Tensor:
            return F.conv1d(x.reshape(1, 2, 4), self.kernel(x).reshape(4, 2, 3)).flatten(1)

    net = nn.Sequential(Dynamic(), nn.Linear(8, 2))
    with pytest.warns(UserWarning, match=r"does not touch '0' \(its weight is computed from the input\)"):
        assert list(prunable_parameters(net, example=(8,))) == ["0.kernel.weight", "1.weight"]


def test_every_matrix_of_a_public_language_model_is_a_weight():
    model, _ = public_model("gpt2")
    table = topo.weights(public_dag("gpt2")).set_index("name")
    matrices = [name for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    assert list(table.index[table["pruned"]]) == matrices and len(matrices) == 8
    tables = table.index[table["role"] == "embedding"]
    assert list(tables) == ["transformer.wte.weight", "transformer.wpe.weight"]
    with pytest.raises(InputError, match=r"c_attn.weight'.* and 3 more .* give example="):
        prunable_parameters(model)
    masks = topo.prune(public_dag("gpt2"), "magnitude", sparsity=0.75)
    assert list(masks) == matrices and masks.sparsity == 0.75


def test_torchs_own_masks_are_of_the_whole():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 5))
    nn.utils.prune.random_unstructured(net[0], "weight", 0.5)
    own = masks_within(net)["0.weight"]
    assert torch.equal(Masks.dense(net)["0.weight"], own) and torch.equal(Masks.from_nonzero(net)["0.weight"], own)
    for pruner, data in (("uniform", None), ("l1-filter", None), ("rigl", (torch.randn(40, 4), torch.arange(40) % 5))):
        recipe = topo.training.recipe("digits", epochs=2)
        masks = topo.prune(net, pruner, sparsity=0.5, example=(4,), data=data, recipe=recipe)
        assert (masks["0.weight"] <= own).all()
        kept = masks.counts()["kept"].sum()
        assert kept == 65 if pruner != "l1-filter" else kept <= 65
    assert topo.prune(net, "magnitude", sparsity=0).counts()["kept"].sum() == 110
    with pytest.raises(InputError, match=r"keep 110 of its 130 weights, and sparsity 0.1 asks for 117"):
        topo.prune(net, "magnitude", sparsity=0.1)


class Stacked(nn.Module):
    """Two weights that are multiplied as one, and a mask of the first that is all zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(2, 4))
        self.register_buffer("mask", torch.zeros(3, 4))

    def forward(self, x):
        return x @ torch.cat([self.first * self.mask, self.second]).T


def test_layers_that_torchs_own_masks_prune_whole_are_layers_still():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    nn.utils.prune.custom_from_mask(net[0], "weight", torch.zeros(6, 4))
    assert roles(net, (4,)) == {"0.bias": "bias", "0.weight": "weight", "2.weight": "weight", "2.bias": "bias"}
    dag = topo.trace(net, (4,))
    axis = parameter_axis(dag, dag.arcs[0].steps[0].args[1].name, 0)
    assert (axis.name, axis.axis, axis.places.tolist()) == ("0.weight", 0, list(range(6)))
    masks = topo.prune(net, "magnitude", sparsity=0.7, example=(4,))
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    assert kept == {"0.weight": 0, "2.weight": 13}
    counts = topo.encode(dag, encoding="rolled")["0"].attributes
    assert (counts["weights_total"], counts["weights_kept"]) == (24, 0)
    x = torch.randn(5, 4)
    torch.testing.assert_close(topo.compact(net, masks, (4,))(x), masks.apply(net)(x))


def test_a_part_of_a_weight_that_a_mask_makes_zero_is_a_weight_still():
    assert roles(Stacked(), (4,)) == {"first": "weight", "second": "weight"}


@pytest.mark.parametrize("kind", ["both", "older weight norm"])
@pytest.mark.parametrize("pruner", ["l1-filter", "taylor"])
def test_units_of_normalised_weights_go_whole(kind, pruner):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    PARAMETRISED[kind](net[2])
    x = torch.randn(3, 4, dtype=torch.float64)
    masks = topo.prune(net.eval(), pruner, sparsity=0.4, data=(x, torch.arange(3)), device="cpu")
    assert 0 < masks.counts()["kept"].sum() <= 0.6 * 68
    small = topo.compact(net, masks, x[:1])
    torch.testing.assert_close(small(x), masks.apply(net)(x), rtol=0, atol=1e-12)


def test_a_model_that_cannot_be_traced_is_read_by_its_classes():
    class Branching(nn.Module):
        def __init__(self, **parameters: nn.Parameter) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            for name, parameter in parameters.items():
                self.register_parameter(name, parameter)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) if x.sum() > 0 else x

    data = torch.rand(8, 4), torch.arange(8) % 4
    assert list(topo.prune(Branching(), "snip", sparsity=0.5, data=data)) == ["inner.weight"]
    with pytest.warns(UserWarning, match=r"does not touch 'w' .* cannot be seen, for cannot trace .* in include"):
        topo.prune(Branching(w=nn.Parameter(torch.ones(4, 4))), "magnitude", sparsity=0.5, data=data)


class _ByHand(nn.Linear):
    """Divides every row of its weight by its norm, or by a step of quantisation."""

    def __init__(self, quantised: bool) -> None:
        super().__init__(8, 8)
        self.quantised = quantised

    def forward(self, x):
        weight = self.weight
        if not self.quantised:
            return F.linear(x, weight / weight.norm(dim=1, keepdim=True), self.bias)
        step = weight.abs().amax(1, keepdim=True) / 127
        return F.linear(x, weight + ((weight / step).round() * step - weight).detach(), self.bias)


@pytest.mark.parametrize("quantised", [False, True])
def test_masks_that_make_a_computed_weight_no_number_are_told(quantised: bool):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), _ByHand(quantised), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(4, 6)
    with pytest.warns(UserWarning, match=r"weights computed from '2.weight' NaN.*rows of it that are pruned whole"):
        masks = topo.prune(model, "l1-filter", sparsity=0.4, example=x, device="cpu")
    with pytest.warns(UserWarning, match="computed from '2.weight'"):
        small = topo.compact(model, masks, x)
    with pytest.warns(UserWarning, match="computed from '2.weight'"):
        topo.encode(model, masks=masks, example=x)
    assert masks.install(model)(x).isnan().any() and small(x).isfinite().all()


def test_weight_norms_that_masks_take_care_of_are_not_warned_of():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)))
    masks = topo.Masks({"2.weight": torch.arange(24).view(3, 8) > 7})
    topo.encode(model, masks=masks, example=(6,))
    topo.compact(model, masks, (6,))
    assert masks.apply(model)(torch.randn(2, 6)).isfinite().all()


class Chained(nn.Module):
    """A product of several matrices in one operation, the input first or last."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last
        self.u, self.v = (nn.Parameter(torch.rand(n, m)) for n, m in (((3, 5), (5, 6)) if last else ((6, 5), (5, 3))))

    def forward(self, x: Tensor) -> Tensor:
        if self.last:
            return torch.linalg.multi_dot([self.u, self.v, x[0].mT])[None]
        return torch.chain_matmul(x[0], self.u, self.v)[None]


@pytest.mark.parametrize("last", [False, True])
def test_matrices_multiplied_in_one_operation_are_weights(last: bool) -> None:
    model, x = Chained(last).double(), torch.rand(1, 4, 6, dtype=torch.float64)
    dag = topo.trace(model, x)
    assert torch.allclose(dag(x), model(x), rtol=1e-12)
    assert topo.weights(model, x).set_index("name")["role"].to_dict() == {"u": "weight", "v": "weight"}
    masks = {name: torch.eye(*p.shape).bool() for name, p in model.named_parameters()}
    counts = {block.matrix.nnz for block in topo.encode(dag, masks).blocks}
    assert counts == {4 * 5, 4 * 3}


@pytest.mark.filterwarnings("ignore:pruning does not touch '0.weight'")
def test_orthogonal_weights_that_are_not_square_are_left_and_scored_around():
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    plain.load_state_dict(
        {
            "0.weight": model[0].weight,
            "0.bias": model[0].bias,
            **{name: value for name, value in model.state_dict().items() if name.startswith("2.")},
        }
    )
    table = topo.weights(model, (6,)).set_index("name")
    assert table.loc["0.weight", "role"] == "computed weight"
    assert set(topo.prune(model, "synflow", sparsity=0.5, example=(6,), device="cpu")) == {"2.weight"}
    scores = topo.pruning.score(model, "synflow", example=(6,), device="cpu")["2.weight"]
    assert torch.allclose(scores, topo.pruning.score(plain, "synflow", example=(6,), device="cpu")["2.weight"])
