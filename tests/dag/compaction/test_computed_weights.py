"""Units of weights that are computed, looked up, or parts of a parameter: masked is compacted, and budgets are met."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import Tensor, nn

import topo
from topo.dag import compact, coupled_channels, trace
from topo.errors import InputError
from topo.parameter_names import copied

parametrise = nn.utils.parametrizations
IMAGE = (torch.zeros(1, 3, 6, 6, dtype=torch.float64),)


class Normalised(nn.Module):
    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = wrap(nn.Conv2d(3, 6, 3)), wrap(nn.Conv2d(6, 4, 3))
        self.head = wrap(nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


class Masked(nn.Linear):
    """A weight times a mask, as a matrix or transposed, with rows and columns of zeros."""

    def __init__(self, inputs: int, outputs: int, transposed: bool = False) -> None:
        super().__init__(inputs, outputs)
        self.transposed = transposed
        self.register_buffer("mask", (torch.rand(outputs, inputs) < 0.6).double())
        self.mask[1], self.mask[:, 2] = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if self.transposed:
            return x @ (self.weight * self.mask).t() + self.bias
        return F.linear(x, self.weight * self.mask, self.bias)


def pruned_by_torch() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
    nn.utils.prune.random_unstructured(model[0], "weight", 0.5)
    nn.utils.prune.ln_structured(model[2], "weight", 0.25, n=1, dim=0)
    return model


def with_masks_of_its_own() -> nn.Module:
    return nn.Sequential(Masked(6, 20), nn.ReLU(), Masked(20, 20, True), nn.ReLU(), nn.Linear(20, 3))


class AsMatrices(nn.Module):
    """Weights multiplied as they are and transposed, and halves of one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(4, 8))
        self.halves = nn.Parameter(torch.randn(12, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(torch.relu(x @ self.up) @ self.down.t())
        left, right = self.halves.chunk(2)
        return F.linear(torch.relu(F.linear(x, left)) * F.linear(x, right), 2 * self.up[:3, :6])


class OtherKeys(nn.Module):
    """Attention whose keys and values are the same other tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.other = nn.Linear(5, 8), nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        keys = torch.relu(self.other(y))
        return self.head(self.attention(self.enter(x), keys, keys, need_weights=False)[0])


class Tokens(nn.Module):
    """Embeddings of tokens and places, the one tied to the head or not, and a bag."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(9, 6), nn.Embedding(4, 6)
        self.bag = nn.EmbeddingBag(9, 6, mode="sum")
        self.hidden, self.last = nn.Linear(6, 7), nn.Linear(7, 6 if tied else 3)
        self.tied = tied

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(4)) + self.bag(ids)[:, None]
        x = self.last(torch.relu(self.hidden(x)))
        return F.linear(x, self.tokens.weight) if self.tied else x


IDS = (torch.zeros(1, 4, dtype=torch.long),)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "weight norm": (lambda: Normalised(parametrise.weight_norm), IMAGE),
    "older weight norm": (lambda: Normalised(nn.utils.weight_norm), IMAGE),
    "spectral norm": (lambda: Normalised(parametrise.spectral_norm), IMAGE),
    "older spectral norm": (lambda: Normalised(nn.utils.spectral_norm), IMAGE),
    "pruned by torch": (pruned_by_torch, (torch.zeros(1, 6, dtype=torch.float64),)),
    "masks of its own": (with_masks_of_its_own, (torch.zeros(1, 6, dtype=torch.float64),)),
    "matrices": (AsMatrices, (torch.zeros(1, 5, dtype=torch.float64),)),
    "other keys": (OtherKeys, (torch.zeros(1, 2, 5, dtype=torch.float64), torch.zeros(1, 3, 6, dtype=torch.float64))),
    "embeddings": (lambda: Tokens(False), IDS),
    "tied embeddings": (lambda: Tokens(True), IDS),
}


def drawn(example: tuple[Tensor, ...], samples: int = 3) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(samples, *x.shape[1:], dtype=x.dtype, generator=generator)
        if x.is_floating_point()
        else torch.randint(9, (samples, *x.shape[1:]), generator=generator)
        for x in example
    )


def built(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    make, example = MODELS[name]
    torch.manual_seed(0)
    model = make().double()
    model(*drawn(example))  # what older parametrisations compute with every call
    return model.eval(), example


@pytest.mark.filterwarnings("ignore:the smaller network holds parts of the same parameter apart")
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm`")
@pytest.mark.parametrize("name", MODELS)
def test_masked_is_compacted(name: str):
    model, example = built(name)
    inputs = drawn(example)
    channels = coupled_channels(trace(model, example))
    include = [f"{child}.weight" for child, _ in model.named_children()] if "embeddings" in name else None
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=example, include=include, device="cpu")
    asked = sum(mask.numel() for mask in masks.values()) / 2
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert asked - 120 < kept <= asked
    assert torch.equal(compact(model, None, channels=channels)(*inputs), model(*inputs))
    smaller = compact(model, masks, channels=channels)
    masked = masks.apply(copied(model))(*inputs)
    if not masked.isnan().any():
        assert torch.allclose(smaller(*inputs), masked, rtol=0, atol=1e-12)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert not smaller(*inputs).isnan().any()


def test_tables_of_embeddings_keep_their_columns_unless_they_are_named():
    model, example = built("embeddings")
    masks = topo.prune(model, "l1-filter", sparsity=0.4, example=example, device="cpu")
    assert set(masks) == {"hidden.weight", "last.weight"} and masks["hidden.weight"].any(0).all()
    with pytest.raises(InputError, match="leave fewer layers out than"):
        topo.prune(model, "l1-filter", sparsity=0.97, example=example, device="cpu")


def test_what_no_rule_knows_is_named_where_nothing_can_go():
    class Transformed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(torch.fft.fft(self.first(x)).real)

    with pytest.raises(InputError, match="no rule says what operation 'fft_fft' of the model does"):
        topo.prune(Transformed(), "l1-filter", sparsity=0.5, example=(5,), device="cpu")
    with pytest.raises(InputError, match="all its layers write to an output"):
        topo.prune(nn.Linear(5, 4), "l1-filter", sparsity=0.5, example=(5,), device="cpu")


class MeanAdded(nn.Module):
    """Adds the mean of its input, or of what a layer writes, to all channels of that layer."""

    def __init__(self, of_input: bool) -> None:
        super().__init__()
        self.first, self.second, self.of_input = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), of_input

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(torch.relu(y + (x if self.of_input else y).mean())).mean((2, 3))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


def test_a_mean_of_the_input_that_is_added_leaves_the_units():
    model = MeanAdded(True).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=x, device="cpu")
    smaller = topo.compact(model, masks, x)
    assert smaller.get_submodule("first").out_channels == 3
    assert torch.allclose(smaller(x), masks.apply(model)(x), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:pruning does not touch")
@pytest.mark.parametrize(
    ("make", "shape", "why"),
    [
        (
            lambda: nn.Sequential(Standardised(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
            (3, 6, 6),
            "the weight of 'conv2d' of module '0' is no parameter",
        ),
    ],
)
def test_why_a_model_has_no_units(make: Callable[[], nn.Module], shape: tuple[int, ...], why: str):
    with pytest.raises(InputError, match=f"no unit that could be removed: {why}"):
        topo.prune(make(), "l1-filter", sparsity=0.5, example=shape, device="cpu")


def test_a_mean_that_is_added_to_what_it_is_made_of_holds_this_together():
    with pytest.raises(InputError, match="for channels that a norm or a sum holds together go only all at once"):
        topo.prune(MeanAdded(False), "l1-filter", sparsity=0.5, example=(3, 6, 6), device="cpu")


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(F.linear(x, self.weight)), self.weight.t())


def test_a_tied_autoencoder_stays_tied():
    model, x = TiedAutoencoder().double(), torch.randn(3, 6, dtype=torch.float64)
    masks = topo.prune(model, "l1-filter", sparsity=0.5, example=x, device="cpu")
    smaller = topo.compact(model, masks, x)
    assert sum(p.numel() for p in smaller.parameters()) == 24
    assert torch.allclose(smaller(x), masks.apply(model)(x), rtol=0, atol=1e-12)


def test_a_layer_that_is_written_as_product_and_sum_is_a_weight_without_units():
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.randn(4, 5)), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu((x[:, None] * self.weight).sum(-1)))

    assert topo.weights(Written(), (5,))["role"].tolist()[0] == "weight"
    with pytest.raises(InputError, match="multiplies by 'weight' is added up by another operation"):
        topo.prune(Written(), "l1-filter", sparsity=0.5, example=(5,), device="cpu")
    masks = {"weight": torch.eye(4, 5, dtype=torch.bool)}
    (edges,) = {sum(block.matrix.nnz for block in topo.encode(Written(), masks, example=(5,)).blocks)}
    assert edges == 4 * 2
