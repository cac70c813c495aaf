"""Characters of a text, each to be foretold from those before it."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, counted
from ..validation import real_number, whole_number
from .dataset import Dataset, make_dataset
from .registry import DATASETS
from .split import Split

__all__ = ["perplexity_floor", "text"]

# What a sentence is made of: a word of each line, as likely as its weight (of eight) says, one after the other.
GRAMMAR = (
    {"the": 4, "a": 2, "every": 1, "no": 1},
    {"": 3, "small": 2, "old": 1, "red": 1, "quiet": 1},
    {"cat": 3, "dog": 2, "child": 1, "bird": 1, "fox": 1},
    {"sees": 3, "likes": 2, "follows": 2, "hears": 1},
    {"the": 4, "a": 2, "every": 1, "no": 1},
    {"house": 3, "tree": 2, "river": 1, "moon": 1, "garden": 1},
)
WEIGHTS = 8


@DATASETS.register("text", family="generated", recipe="text", root="a text file; without one, sentences are generated")
def text(
    root: Path | None = None,
    download: bool = False,
    *,
    context: int = 32,
    train: int = 1000,
    test: int = 250,
    test_share: float = 0.1,
) -> Dataset:
    """Next-character prediction on generated sentences, or on a text file of one's own (`root`).

    A sample are `context` characters in a row, as whole numbers that count the characters of the vocabulary in the
    order of their code points; its targets are the characters that follow each of them. Without a file, sentences of
    six words such as "the small cat sees a tree. " are drawn from a grammar with a generator whose stream NumPy keeps
    (`numpy.random.RandomState`), so they are the same everywhere; no model that knows what came before foretells them
    with a perplexity below `perplexity_floor()`, in the long run.

    Parameters
    ----------
    root
        A text file in UTF-8, which is cut into windows that do not overlap; the last ones are to test on.
    download
        Not used.
    context
        Characters of a sample.
    train, test
        Numbers of samples of generated sentences.
    test_share
        The share of a file's samples that are to test on.

    Returns
    -------
    Dataset
        As many classes as there are characters.

    Raises
    ------
    InputError
        When the file is no text or shorter than two samples, or a number is out of range.

    Examples
    --------
    >>> data = text()
    >>> data.input_shape, data.n_classes, data.train.targets.shape
    ((32,), 25, torch.Size([1000, 32]))
    """
    whole_number("context, a number of characters,", context, minimum=1)
    if root is None:
        sizes = (whole_number("train, a number of samples,", train, minimum=1), whole_number("test", test, minimum=1))
        parts = [_sentences(size * context + 1, seed) for seed, size in enumerate(sizes, start=1)]
        vocabulary = sorted({" ", "."}.union(*(word for words in GRAMMAR for word in words)))
    else:
        parts = _of_file(root, context, real_number("test_share", test_share, above=0, below=1))
        vocabulary = sorted(set().union(*parts))
    numbers = {character: number for number, character in enumerate(vocabulary)}
    splits = [_windows(torch.tensor([numbers[c] for c in part]), context) for part in parts]
    return make_dataset("text", splits[0], splits[1], n_classes=len(vocabulary))


def perplexity_floor() -> float:
    """The perplexity of the generated sentences: exp of their entropy (nats) a character.

    No sentence begins another and each is made in one way, so that the entropy of a sentence is that of its words,
    and the entropy a character is this divided by the mean length.

    Returns
    -------
    float
        What a model with all that came before as its context can reach.

    Examples
    --------
    >>> round(perplexity_floor(), 3)
    1.345
    """
    entropy = length = 0.0
    for words in GRAMMAR:
        for word, weight in words.items():
            share = weight / WEIGHTS
            entropy -= share * log(share)
            length += share * (len(word) + bool(word))
    return float(np.exp(entropy / (length + 1)))


def _sentences(length: int, seed: int) -> str:
    """So many characters of sentences, the last of which may be cut."""
    random, text = np.random.RandomState(seed), ""
    drawn = [[word for word, weight in words.items() for _ in range(weight)] for words in GRAMMAR]
    while len(text) < length:
        words = [choices[number] for choices, number in zip(drawn, random.randint(0, WEIGHTS, len(drawn)), strict=True)]
        text += " ".join(filter(None, words)) + ". "
    return text[:length]


def _of_file(path: Path, context: int, test_share: float) -> list[str]:
    """The two parts of a file, each of whole samples and one character more."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no text file in UTF-8 ({error}); give dataset 'text' one as root.") from error
    samples = (len(text) - 1) // context
    if samples < 2:
        raise InputError(
            f"{path} has {counted(len(text), 'character')}, and two samples of {context} need {2 * context + 1}; "
            "give a longer text or a smaller context."
        )
    cut = min(max(round(samples * (1 - test_share)), 1), samples - 1) * context
    return [text[: cut + 1], text[cut : samples * context + 1]]


def _windows(numbers: torch.Tensor, context: int) -> Split:
    samples = (len(numbers) - 1) // context
    inputs, targets = (numbers[start : start + samples * context].view(samples, context) for start in (0, 1))
    return Split(inputs, targets)
