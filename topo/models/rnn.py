"""A recurrent network that classifies sequences."""

from __future__ import annotations

from torch import Tensor, nn

from ..validation import flag, one_of, whole_number
from .registry import MODELS

__all__ = ["RecurrentClassifier", "rnn"]

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


@MODELS.register("rnn", family="sequences", sample=("steps", "features"))
def rnn(
    input_shape: tuple[int, int],
    n_classes: int,
    *,
    cell: str = "gru",
    width: int = 16,
    layers: int = 1,
    bidirectional: bool = False,
) -> nn.Module:
    """Recurrent layers over sequences of (steps, features), and a linear layer on the mean of their outputs.

    Parameters
    ----------
    cell
        ``"gru"``, ``"lstm"`` or ``"rnn"`` (tanh).
    width
        Units of a layer, in each direction.
    layers
        Number of recurrent layers.
    bidirectional
        Whether sequences are read in both directions.
    """
    one_of("cell", cell, CELLS)
    for name, number in (("width", width), ("layers", layers)):
        whole_number(name, number, minimum=1)
    both = flag("bidirectional", bidirectional)
    return RecurrentClassifier(
        CELLS[cell](input_shape[1], width, layers, batch_first=True, bidirectional=both), n_classes
    )


class RecurrentClassifier(nn.Module):
    """The network of `rnn`.

    Parameters
    ----------
    recurrent
        The recurrent layers.
    n_classes
        Number of outputs.
    """

    def __init__(self, recurrent: nn.RNNBase, n_classes: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = nn.Linear(recurrent.hidden_size * (1 + recurrent.bidirectional), n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (samples, classes) of sequences (samples, steps, features)."""
        return self.head(self.recurrent(x)[0].mean(1))
