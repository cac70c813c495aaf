"""Targets of positions: next tokens of texts, with padding, as pairs and as batches for transformers."""

from __future__ import annotations

import math
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import topo
from topo.datasets import as_dataset, load
from topo.datasets.inputs import IGNORED
from topo.errors import InputError
from topo.models import build
from topo.training import evaluate, recipe, train
from topo.training.predictions import answers

TOKENS = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[1, 2, IGNORED, 0]] * 6)


class Returned(nn.Module):
    """A bigram model that returns an object, and takes an attention mask that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 6), nn.Linear(6, 5)

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(logits=self.head(self.table(input_ids)), hidden_states=None)


def bigram() -> Returned:
    torch.manual_seed(0)
    return Returned()


def test_accuracy_loss_and_perplexity_are_over_the_positions_that_have_targets():
    net = bigram()
    logits = net(TOKENS).logits.detach()
    kept = TARGETS != IGNORED
    loss = -logits.log_softmax(-1)[kept].gather(1, TARGETS[kept][:, None]).mean()
    right = (logits.argmax(-1) == TARGETS)[kept].double().mean()
    measured = evaluate(net, (TOKENS, TARGETS), device="cpu", batch_size=4)
    assert measured == pytest.approx({"accuracy": float(right), "loss": float(loss), "perplexity": math.exp(loss)})
    assert "perplexity" not in evaluate(nn.Linear(2, 3), (torch.zeros(6, 2), torch.arange(6) % 3), device="cpu")


def test_an_epoch_is_weighed_by_answers_and_not_by_samples():
    net = bigram()
    targets = TARGETS.clone()
    targets[:3, 1:] = IGNORED
    plan = recipe("text", epochs=1, batch_size=2, learning_rate=1e-12, weight_decay=0.0)
    history = train(net, as_dataset((TOKENS, targets), test=(TOKENS, targets)), plan, device="cpu").history
    assert history["train_loss"].iloc[0] == pytest.approx(history["test_loss"].iloc[0], rel=1e-5)
    assert history["train_accuracy"].iloc[0] == pytest.approx(history["test_accuracy"].iloc[0])


def test_a_batch_without_any_target_changes_nothing():
    targets = torch.full_like(TARGETS, IGNORED)
    targets[0, 0] = 1
    plan = recipe("text", epochs=1, batch_size=1)
    assert train(bigram(), (TOKENS, targets), plan, device="cpu").status == "finished"


def test_classes_may_be_on_the_second_axis_as_torch_has_them():
    logits, targets = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    targets[0, 0, 0] = IGNORED
    assert torch.allclose(F.cross_entropy(*answers(logits, targets)), F.cross_entropy(logits, targets))
    moved = logits.movedim(1, -1)
    assert torch.allclose(F.cross_entropy(*answers(moved, targets)), F.cross_entropy(logits, targets))


LABELS = torch.where(torch.arange(4) < 3, TOKENS, IGNORED)
SHIFTED = torch.cat([LABELS[:, 1:], torch.full((6, 1), IGNORED)], 1)
BATCH = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS), "labels": LABELS}
SAMPLES = [{name: part[i] for name, part in BATCH.items()} for i in range(6)]
FORMS = {
    "a batch": BATCH,
    "batches": [{name: part[:4] for name, part in BATCH.items()}, {name: part[4:] for name, part in BATCH.items()}],
    "samples": SAMPLES,
    "samples of lists": [{name: part.tolist() for name, part in sample.items()} for sample in SAMPLES],
    "loader": DataLoader(SAMPLES, batch_size=4),
    "arrays": {name: part.numpy() for name, part in BATCH.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_transformers_hold_labels_of_the_next_position(form):
    data = as_dataset(FORMS[form])
    assert torch.equal(data.train.targets, SHIFTED) and data.train.inputs.keys() == {"input_ids", "attention_mask"}
    assert torch.equal(data.train.inputs["input_ids"], TOKENS)
    assert train(bigram(), FORMS[form], recipe("text", epochs=1), device="cpu").status == "finished"
    masks = topo.prune(bigram(), "snip", sparsity=0.5, data=FORMS[form], device="cpu")
    looked_at = {"batches": [range(4), range(4, 6)], "loader": combinations(range(6), 4)}.get(form, [range(6)])
    pairs = [({"input_ids": TOKENS[list(rows)]}, SHIFTED[list(rows)]) for rows in looked_at]
    assert masks in [topo.prune(bigram(), "snip", sparsity=0.5, data=pair, device="cpu") for pair in pairs]


def test_other_labels_stay_where_they_are():
    classes = {"input_ids": TOKENS, "labels": torch.arange(6) % 3}
    assert torch.equal(as_dataset(classes).train.targets, classes["labels"])
    masked = TOKENS.clone()
    masked[:, 1] = 0
    labels = torch.full_like(TOKENS, IGNORED)
    labels[:, 1] = TOKENS[:, 1]
    assert torch.equal(as_dataset({"input_ids": masked, "labels": labels}).train.targets, labels)
    copied = {"input_ids": TOKENS, "decoder_input_ids": TOKENS, "labels": TOKENS}
    assert torch.equal(as_dataset(copied).train.targets, TOKENS)
    pair = as_dataset(({"input_ids": TOKENS}, TOKENS))
    assert torch.equal(pair.train.targets, TOKENS)


def test_models_and_targets_that_do_not_fit_are_refused():
    flat = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 5))
    with pytest.raises(InputError, match=r"5 logits a position, of shape \(samples, 4, classes\), .* \(1, 5\)"):
        train(flat, as_dataset((TOKENS, TOKENS)), "text", device="cpu")
    with pytest.raises(InputError, match=r"logits of shape \(6, 5\) for targets of shape \(6, 4\)"):
        topo.prune(flat, "snip", sparsity=0.5, data=(TOKENS, TOKENS), device="cpu")
    with pytest.raises(InputError, match="labels from 0 to 7 and the model has 5 outputs"):
        train(bigram(), (TOKENS, TOKENS + 3), "text", device="cpu")
    nothing = nn.Sequential(nn.Embedding(5, 3), nn.LSTM(3, 5, batch_first=True))
    with pytest.raises(InputError, match=r"must return 5 logits a position, .* but returned tuple"):
        train(nothing, (TOKENS, TOKENS), "text", device="cpu")


@pytest.mark.slow
def test_a_language_model_learns_the_grammar_and_a_recurrent_network_the_waves():
    data = load("text", context=16, train=400, test=50)
    net = build("gpt", input_shape=data.input_shape, n_classes=data.n_classes, layers=1)
    start = evaluate(net, data, device="cpu")["perplexity"]
    assert start == pytest.approx(data.n_classes, rel=0.1)
    train(net, data, recipe("text", epochs=5, batch_size=16), device="cpu", progress=False)
    measured = evaluate(net, data, device="cpu")
    assert topo.datasets.text.perplexity_floor() < measured["perplexity"] < 7 and measured["accuracy"] > 0.4
    waves = load("waves", train=300, test=100)
    net = build("rnn", input_shape=waves.input_shape, n_classes=4, cell="gru")
    train(net, waves, recipe("sequences", epochs=10), device="cpu", progress=False)
    assert evaluate(net, waves, device="cpu")["accuracy"] > 0.4
