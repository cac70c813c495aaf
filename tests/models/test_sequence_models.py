from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from topo.errors import InputError
from topo.models import MODELS, build


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_sees_no_later_token_and_gives_logits_of_each_position(tied):
    net = build("gpt", input_shape=(6,), n_classes=9, width=8, heads=2, tied=tied, seed=1).eval()
    assert (net.head.weight is net.tokens.weight) == tied
    tokens = torch.randint(9, (2, 6), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 9
    logits, other = net(tokens), net(changed)
    assert logits.shape == (2, 6, 9)
    assert torch.equal(logits[:, :4], other[:, :4])
    assert all((logits[:, place] != other[:, place]).any() for place in (4, 5))
    assert torch.allclose(net(tokens[:, :3]), logits[:, :3], atol=1e-6)


def test_its_blocks_are_attention_and_an_mlp_on_a_residual_stream():
    """One block by hand, from the paper's equations."""
    net = build("gpt", input_shape=(3,), n_classes=5, width=4, layers=1, heads=2, seed=2).double().eval()
    tokens = torch.tensor([[4, 0, 2]])
    x = net.tokens.weight[tokens[0]] + net.positions
    block = net.blocks[0]
    q, k, v = F.linear(F.layer_norm(x, (4,)), block.attention["attend"].weight).split(4, -1)
    heads = []
    for part in (slice(0, 2), slice(2, 4)):
        scores = (q[:, part] @ k[:, part].T / 2**0.5).masked_fill(~torch.ones(3, 3).tril().bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ v[:, part])
    x = x + torch.cat(heads, -1) @ block.attention["project"].weight.T
    x = x + F.gelu(F.layer_norm(x, (4,)) @ block.mlp["expand"].weight.T) @ block.mlp["project"].weight.T
    assert torch.allclose(net(tokens)[0], F.layer_norm(x, (4,)) @ net.head.weight.T)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_recurrent_network_classifies_sequences_of_any_length(cell):
    net = build("rnn", input_shape=(5, 2), n_classes=3, cell=cell, width=4, layers=2, bidirectional=True)
    assert isinstance(net.recurrent, {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[cell])
    assert net(torch.zeros(2, 7, 2)).shape == (2, 3)


def test_shapes_that_do_not_fit_and_settings_are_refused():
    assert {"gpt", "rnn"} <= set(MODELS)
    with pytest.raises(InputError, match=r"the shape of one sample must be \(positions,\), .* not \(3, 32, 32\)"):
        build("gpt")
    with pytest.raises(InputError, match=r"must be \(steps, features\), .* not \(1, 24, 1\); leave the batch"):
        build("rnn", input_shape=(1, 24, 1))
    with pytest.raises(InputError, match="width 10 must be a multiple of the 4 heads"):
        build("gpt", input_shape=(4,), width=10)


def test_a_network_of_ones_own_is_built_for_an_example_of_tokens():
    @MODELS.register("bag-of-tokens", family="own")
    def bag(input_shape, n_classes):
        return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.LazyLinear(n_classes))

    tokens = torch.zeros(1, 5, dtype=torch.int64)
    assert build("bag-of-tokens", input_shape=(5,), n_classes=3, example=tokens)(tokens).shape == (1, 3)
    del MODELS._entries["bag-of-tokens"]
