"""A small transformer that foretells the next token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from ..validation import flag, whole_number
from .registry import MODELS

__all__ = ["GPT", "gpt"]


@MODELS.register("gpt", family="sequences", sample=("positions",), tokens=True)
def gpt(
    input_shape: tuple[int], n_classes: int, *, width: int = 32, layers: int = 2, heads: int = 4, tied: bool = False
) -> nn.Module:
    """Decoder-only transformer in the manner of GPT-2: logits of the next token at each of (positions,) tokens.

    Parameters
    ----------
    width
        Channels of the residual stream; the hidden layers of the MLPs are four times as wide.
    layers
        Number of blocks of causal self-attention and MLP, each behind a layer norm.
    heads
        Attention heads of a block, which divide the width.
    tied
        Whether the head multiplies by the table of the token embedding, which then is one parameter with it.

    References
    ----------
    Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """
    for name, number in (("width", width), ("layers", layers), ("heads", heads)):
        whole_number(name, number, minimum=1)
    if width % heads:
        raise InputError(f"width {width} must be a multiple of the {heads} heads.")
    return GPT(input_shape[0], n_classes, width, layers, heads, flag("tied", tied))


class GPT(nn.Module):
    """The network of `gpt`; it also takes fewer tokens than `positions`.

    Parameters
    ----------
    positions
        The most tokens of a sample.
    tokens
        Size of the vocabulary.
    width, layers, heads, tied
        As for `gpt`.
    """

    def __init__(self, positions: int, tokens: int, width: int, layers: int, heads: int, tied: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                # what is written to the residual stream adds up over the layers
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if name.endswith("project.weight") else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (samples, positions, tokens) of whole numbers (samples, positions)."""
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class Block(nn.Module):
    """Causal self-attention and an MLP, each added to the residual stream.

    Parameters
    ----------
    width
        Channels of the residual stream.
    heads
        Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.ModuleDict({"attend": nn.Linear(width, 3 * width), "project": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"expand": nn.Linear(width, 4 * width), "project": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream behind the block, (samples, positions, width)."""
        parts = self.attention["attend"](self.attention_norm(x)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention["project"](mixed.transpose(1, 2).flatten(2))
        return x + self.mlp["project"](F.gelu(self.mlp["expand"](self.mlp_norm(x))))
