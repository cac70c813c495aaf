from __future__ import annotations

from itertools import product
from math import exp, log, prod

import pytest
import torch

from topo.datasets import load
from topo.datasets.text import GRAMMAR, WEIGHTS, _sentences, perplexity_floor
from topo.errors import InputError


def test_targets_are_the_next_characters():
    data = load("text", context=8, train=5, test=3)
    assert (data.input_shape, data.n_classes) == ((8,), 25)
    for split, count in ((data.train, 5), (data.test, 3)):
        assert split.inputs.shape == split.targets.shape == (count, 8) and split.inputs.dtype == torch.int64
        assert torch.equal(split.inputs.flatten()[1:], split.targets.flatten()[:-1])
    assert not torch.equal(data.train.inputs[:3], data.test.inputs)


def test_the_sentences_are_the_same_everywhere_and_of_the_grammar():
    start = "a small dog sees no house. the old fox sees the house. "
    assert _sentences(len(start), 1) == start
    for sentence in _sentences(600, 2).split(". ")[:-1]:
        words = iter(sentence.split(" "))
        word = next(words)
        for choices in GRAMMAR:
            if word in choices:
                word = next(words, None)
            else:
                assert "" in choices
        assert word is None
    assert all(sum(words.values()) == WEIGHTS for words in GRAMMAR)


def test_the_floor_is_the_entropy_of_all_sentences():
    """By enumeration: every sentence comes about in one way, and none begins another, for each ends in its own dot."""
    shares: dict[str, float] = {}
    for words in product(*GRAMMAR):
        sentence = " ".join(filter(None, words)) + ". "
        assert sentence not in shares
        shares[sentence] = prod(choices[word] / WEIGHTS for choices, word in zip(GRAMMAR, words, strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    entropy = -sum(share * log(share) for share in shares.values())
    length = sum(share * len(sentence) for sentence, share in shares.items())
    assert perplexity_floor() == pytest.approx(exp(entropy / length))


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("abcé" * 11, encoding="utf-8")
    data = load("text", root=file, context=4, test_share=0.3)
    assert (data.n_classes, len(data.train), len(data.test)) == (4, 7, 3)
    assert data.train.inputs[0].tolist() == [0, 1, 2, 3] and data.train.targets[0].tolist() == [1, 2, 3, 0]
    for content, message in (("abcde", "has 5 characters, and two samples of 4 need 9"), (b"\xff\xfe", "no text file")):
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(InputError, match=message):
            load("text", root=file, context=4)
    with pytest.raises(InputError, match="is no text file"):
        load("text", root=tmp_path / "none.txt")


def test_a_subset_and_a_balanced_batch_are_of_samples():
    data = load("text", context=10, train=50, test=20)
    assert [len(split) for split in (data.subset(4).train, data.subset(4).test, data.subset(99).test)] == [4, 4, 20]
    inputs, targets = data.balanced_batch(2, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (5, 10)  # 2 of each of 25 characters, 10 in a sample
