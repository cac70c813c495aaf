"""Tiny models of public architectures, built offline from configurations of `transformers`, with inputs to call them.

Random weights, two layers at most, widths of 8 to 16 and a vocabulary of 20, so that a Jacobian of all of it is small.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from topo.dag import Dag, trace
from topo.torchvision_import import import_torchvision

__all__ = ["TRANSFORMERS", "public_dag", "public_inputs", "public_model"]

VOCABULARY = 20
TOKENS = 5


def _bert(transformers: Any, **shared: Any) -> nn.Module:
    configuration = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=8,
        **shared,
    )
    return transformers.BertForMaskedLM(configuration)


def _gpt2(transformers: Any, **shared: Any) -> nn.Module:
    configuration = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_positions=8,
        n_inner=12,
        bos_token_id=0,
        eos_token_id=0,
        **shared,
    )
    return transformers.GPT2LMHeadModel(configuration)


def _llama(transformers: Any, **shared: Any) -> nn.Module:
    """Four query heads in two groups, rotary positions, RMS norms and gated units."""
    configuration = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        **shared,
    )
    return transformers.LlamaForCausalLM(configuration)


def _t5(transformers: Any, **shared: Any) -> nn.Module:
    configuration = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=8,
        d_kv=4,
        d_ff=12,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        decoder_start_token_id=0,
        **shared,
    )
    return transformers.T5ForConditionalGeneration(configuration)


def _vit(transformers: Any, **shared: Any) -> nn.Module:
    configuration = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=2,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        num_labels=3,
        **shared,
    )
    return transformers.ViTForImageClassification(configuration)


def _tokens(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, VOCABULARY, (samples, TOKENS), generator=generator)}


def _source_and_target(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
    target = torch.randint(1, VOCABULARY, (samples, 3), generator=generator)
    return {**_tokens(samples, generator), "decoder_input_ids": target}


def _images(samples: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(samples, 2, 8, 8, generator=generator)}


TRANSFORMERS: dict[str, tuple[Callable[..., nn.Module], Callable[[int, torch.Generator], dict[str, Tensor]]]] = {
    "bert": (_bert, _tokens),
    "gpt2": (_gpt2, _tokens),
    "llama": (_llama, _tokens),
    "t5": (_t5, _source_and_target),
    "vit": (_vit, _images),
}
"""Name -> how the model is built, and how so many inputs of it are drawn."""


def public_model(name: str, *, samples: int = 1, attention: str = "sdpa", seed: int = 0) -> tuple[Any, dict[str, Any]]:
    """A tiny model in evaluation mode, and keyword arguments to call it with; skips without `transformers`.

    Parameters
    ----------
    name
        One of `TRANSFORMERS`.
    samples
        In the inputs.
    attention
        ``"sdpa"``: PyTorch's attention; ``"eager"``: written with matrix products and a softmax.
    seed
        Of weights and inputs.
    """
    return copy.deepcopy(_built(name, attention, seed)), public_inputs(name, samples, torch.float32)


def public_inputs(name: str, samples: int = 1, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    """Keyword arguments for a tiny model of floating-point type `dtype`."""
    inputs = TRANSFORMERS[name][1](samples, torch.Generator().manual_seed(seed))
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}


@cache
def public_dag(name: str, attention: str = "sdpa") -> Dag:
    """A tiny model's `Dag` in double precision, traced once for all tests, which leave its model as it is."""
    model, _ = public_model(name, attention=attention)
    return trace(model.double(), public_inputs(name))


@cache
def _built(name: str, attention: str, seed: int) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    import_torchvision()  # transformers imports it, which needs care where torch has another build
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TRANSFORMERS[name][0](transformers, attn_implementation=attention).eval()
