"""Every record of an operation, met in a real export: the edges are the non-zeros of Jacobians.

Functions are traced in families, all of one shape of inputs, so that there are few exports. A record that no family
uses fails the last test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import topo
from topo.dag import Dag
from topo.dag.operators import OPERATORS
from topo.dag.relations import WeightLookup, arc_map, map_of

aten = torch.ops.aten
PLACES = torch.tensor([2, 0, 1])
MASK = torch.tensor([True, False, True])
SCALE = torch.tensor([0.7, 1.1, 0.4])
NUMBERS = torch.tensor([[[1.0, 2, 4], [3, 1, 2], [5, 7, 1]]])
Functions = dict[str, Callable[..., Tensor]]


class Family(nn.Module):
    """Several functions of the same inputs."""

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return [function(*inputs) for function in self.functions.values()]


def reached(dag: Dag) -> list[np.ndarray]:
    """For every output which of its elements (columns) each element of the inputs (rows) reaches, in the fine Dag."""
    lookup = WeightLookup(dag)
    sizes = [prod(dag.nodes[i].shape) for i in dag.inputs]
    known: dict[int, tuple[np.ndarray, ...]] = {}
    for place, index in enumerate(dag.inputs):
        known[index] = (np.eye(sum(sizes))[:, sum(sizes[:place]) : sum(sizes[: place + 1])],)
    for index, node in enumerate(dag.nodes):
        arrived: dict[int, np.ndarray] = {}
        for number, arc in enumerate(dag.arcs_into[index]):
            maps = [arc_map(dag, arc, slot, lookup, {}).matrix() for slot in range(len(known[arc.source]))]
            value = sum(before @ m.toarray() for before, m in zip(known[arc.source], maps, strict=True)) > 0
            if node.combine is not None:
                entry = arc.slot or 0
                combine = map_of(dag, (node.combine,), node.combine.source_shapes[entry], entry, lookup, {})
                value = value @ combine.matrix().toarray()
            arrived[arc.slot if node.kind == "product" else number] = value.astype(float)
        if arrived:
            known[index] = (
                tuple(arrived[e] for e in sorted(arrived)) if node.kind == "product" else (sum(arrived.values()),)
            )
    return [known[output.node][0] != 0 for output in dag.outputs]


def jacobians(function: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]) -> Iterator[np.ndarray]:
    """Non-zeros of the Jacobian at any of more and more random inputs: (elements of inputs, elements of the result)."""
    joined = np.zeros((1, 1), bool)
    for draw in range(48):
        generator = torch.Generator().manual_seed(draw)
        inputs = tuple(torch.rand(s, generator=generator, dtype=torch.float64) * 0.8 + 0.1 for s in shapes)
        if draw % 3 == 1:
            inputs = tuple(x * torch.where(torch.rand(x.shape, generator=generator) < 0.5, -1, 1) for x in inputs)
        inputs = tuple(x.requires_grad_() for x in inputs)
        result = function(*inputs)
        units = torch.eye(result.numel(), dtype=result.dtype).reshape(-1, *result.shape)
        known = {"retain_graph": True, "allow_unused": True}
        try:
            parts = torch.autograd.grad(result, inputs, units, is_grads_batched=True, **known)
        except RuntimeError:  # an operation that can not be batched
            rows = zip(*(torch.autograd.grad(result, inputs, unit, **known) for unit in units), strict=True)
            parts = tuple(None if row[0] is None else torch.stack(row) for row in rows)
        flat = [
            torch.zeros(len(units), prod(s)) if p is None else p.flatten(1) for p, s in zip(parts, shapes, strict=True)
        ]
        found = torch.cat([part.double() for part in flat], 1).T.numpy()
        if np.isfinite(found).all():
            joined = joined | (found != 0)
        yield joined


def differences(found: np.ndarray, function: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]) -> str:
    """What keeps edges from being the non-zeros of Jacobians; nothing where they are."""
    for expected in jacobians(function, shapes):
        if np.array_equal(found, expected):
            return ""
    return f"{(expected & ~found).sum()} edges are missing, {(found & ~expected).sum()} are too many"


def setting(place: object, value: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, place] = value(x)
        return y

    return function


def one_for_both(function: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of one node of the network, which it reads several times, and of a weight."""
    return function(x * 2, torch.eye(3, dtype=x.dtype).roll(1, 0))


# One input of (1, 3, 4). Nothing here makes torch decompose the others.
PLAIN: Functions = {
    "bending": lambda x: torch.stack(
        [
            *(x.relu(), F.relu6(x), F.hardtanh(x), F.leaky_relu(x), F.rrelu(x), F.prelu(x, SCALE.double())),
            *(F.threshold(x, 0.1, 0.0), F.hardshrink(x, 0.2), F.softshrink(x, 0.2), F.elu(x), F.celu(x), F.selu(x)),
            *(F.gelu(x), F.silu(x), F.mish(x), F.hardswish(x), F.softplus(x), x.sigmoid(), F.hardsigmoid(x), x.tanh()),
            *(F.logsigmoid(x), F.softsign(x), F.tanhshrink(x)),
        ],
        1,
    ),
    "shapes": lambda x: aten._unsafe_view(x.view(1, 12).reshape(3, 4, 1), [2, 6, 1]).squeeze(2).unsqueeze(0).flatten(1),
    "repeated": lambda x: (
        x.repeat(1, 2, 1).tile(2).repeat_interleave(2, 1)[:, :1].expand(1, 3, 8).broadcast_to(2, 3, 8)
    ),
}

# One input of (1, 3, 4).
ELEMENTS: Functions = {
    "copies": lambda x: aten.alias(aten.lift_fresh_copy(F.dropout(x, training=False).to(torch.float32).double())),
    "dropout": lambda x: aten.native_dropout(x, 0.5, False)[0],
    "negative": lambda x: torch.rsub(-x, 1.0) - 3,
    "times": lambda x: x * torch.tensor([0.0, 1.0, 0.0, 2.0]) / 3,
    "where": lambda x: torch.where(MASK[:, None], x, 2.0),
    "masked_fill": lambda x: x.masked_fill(~MASK[:, None], 0.3),
    "lower half": lambda x: x.tril() + 0 * x,
    "upper half": lambda x: x.triu(1),
    "clamp": lambda x: x.clamp(-0.5, 0.6).abs(),
    "powers": lambda x: x.square() ** 2 + x.exp().log().expm1().log1p(),
    "roots": lambda x: (x.square() + 0.1).sqrt().rsqrt().reciprocal(),
    "waves": lambda x: x.sin().cos().erf() + x.sinc() + x.tan() + x.atan() + x.asin() + x.acos() + x.sinh() + x.cosh(),
    "hyperbolic": lambda x: x.asinh() + (x + 2).acosh() + x.atanh(),
    "special": lambda x: x.erfc() + x.erfinv() + (x + 2).digamma() + (x + 2).lgamma() + x.exp2() + (x * x).logit(),
    "logarithms": lambda x: (x + 2).log2() + (x + 2).log10() + x.deg2rad() + x.rad2deg() + x.nan_to_num(),
    "fractions": torch.frac,
    "comparisons": lambda x: x * (x > 0.2) * ~(x.argmax(1, keepdim=True) * x.argsort(1) == 1),
    "truths": lambda x: x * (((x > 0.2) & (x < 0.8)) | (x < 0.1)).logical_not(),
    "counts": lambda x: x * F.one_hot(x.argmin(2), 4) * torch.bucketize(x, torch.tensor([0.3, 0.6])),
    "filled by shape": lambda x: x * torch.ones_like(x) + torch.zeros_like(x) + x.new_full((4,), 2.0),
    # Some of the elements, moved.
    "laid out": lambda x: aten._reshape_alias(x.permute(0, 2, 1).transpose(1, 2), [2, 6], [6, 1]).t(),
    "strided": lambda x: x.contiguous().as_strided((1, 2, 2), (12, 5, 2)),
    "axes": lambda x: x.movedim(1, 2).swapaxes(1, 2).unflatten(2, (2, 2)),
    "pieces": lambda x: (
        x[:, 1:].split(1, 1)[1][..., :2] + x.chunk(2, 2)[1] + x.narrow(2, 1, 2) + x.unbind(1)[0][:, None, :2]
    ),
    "split": lambda x: x.split_with_sizes([1, 2], 1)[1],
    "windows": lambda x: x.unfold(2, 2, 1),
    "chosen": lambda x: x[:, PLACES].index_select(2, PLACES) + x.take(PLACES),
    "gathered": lambda x: x.gather(1, PLACES[None, :, None].expand(1, 3, 4)),
    "taken": lambda x: torch.take_along_dim(x, PLACES[None, :, None], 1).diagonal(dim1=1, dim2=2).diag_embed(),
    "turned": lambda x: x.flip(1).roll(1, 2).rot90(1, (1, 2)),
    "padded": lambda x: F.pad(F.pad(x, (1, 1), value=2.0), (1, 1), mode="circular"),
    "padded by code": lambda x: aten.constant_pad_nd(x, [1, 0], 0.0),
    "mirrored": lambda x: aten.replication_pad1d(aten.reflection_pad1d(x, [1, 1]), [1, 1]),
    "joined": lambda x: torch.cat([x, x.flip(1)], 1)[:, ::2],
    "scattered": lambda x: torch.zeros(1, 5, 4, dtype=x.dtype).scatter(1, PLACES[None, :, None].expand(1, 3, 4), x),
    "copied": lambda x: x.index_copy(1, PLACES, x.flip(2)).index_fill(1, PLACES[:1], 0.0),
    "scattered under a mask": lambda x: x.masked_scatter(MASK[:, None], x.flip(2).sin()),
    "on the diagonal": lambda x: x.diagonal_scatter(x[:, :, 0], dim1=1, dim2=2),
    "slices set": lambda x: x.slice_scatter(x[:, :1], 1, 2, 3).select_scatter(x[:, :, 1], 2, 0),
    "added in places": lambda x: x.scatter_add(1, PLACES[None, :1, None].expand(1, 1, 4), x[:, 2:]),
    "index added": lambda x: x.index_add(1, PLACES[[0, 0, 1]], x.flip(2)),
    # Along axes.
    "means": lambda x: x.mean(1) + x.sum(1),
    "statistics": lambda x: x.std(1) + x.var((1,)) + torch.std_mean(x, 1)[1] + torch.var_mean(x, 1)[0] + x.prod(1),
    "norms": lambda x: torch.linalg.vector_norm(x, dim=1) + x.logsumexp(1) + x.nanmean(1) + x.nansum(1),
    "biased deviation": lambda x: x.flatten().std(unbiased=False)[None],
    "extremes": lambda x: x.amax(1) + x.amin(1) + x.max(1)[0] + x.min(1).values + x.aminmax(dim=1).max,
    "ranks": lambda x: x.median(1)[0] + x.kthvalue(2, 1)[0] + x.mode(1)[0] + x.quantile(0.3, dim=1),
    "places of extremes": lambda x: x[:, 0] * (x.max(1)[1] + 1) * (x.topk(1, 1)[1][:, 0] + x.sort(1)[1][:, 0]),
    "running": lambda x: x.cumsum(1),
    "running others": lambda x: torch.stack([x.cumprod(2), x.logcumsumexp(2), x.cummax(2)[0]]),
    "sorted": lambda x: torch.stack([x.sort(1)[0], x.sort(dim=1, stable=True)[0], x.msort().mT.mT], 1),
    "largest": lambda x: x.topk(2, 1)[0],
    "by data": lambda x: x.gather(1, x.argsort(1)),
    "differences": lambda x: x.diff(dim=2, n=2),
    "soft": lambda x: torch.stack([F.softmax(x, 1), F.log_softmax(x, 2)]),
    "gated": lambda x: F.glu(x, 2),
    "pooled": lambda x: F.avg_pool1d(F.max_pool1d(x, 2, 1), 2, 1, padding=1),
    "pooled to a size": lambda x: F.adaptive_avg_pool1d(x, 3) + F.adaptive_max_pool1d(x, 3),
    "larger": lambda x: F.interpolate(x, size=6) + F.interpolate(x, size=6, mode="nearest-exact"),
    "larger, smooth": lambda x: F.interpolate(x, size=6, mode="linear"),
    "layers": lambda x: F.linear(x, torch.tensor([[0.0, 1, 0, 2], [1, 1, 0, 0]], dtype=x.dtype)),
    "products": lambda x: (SCALE.double() @ x) + (torch.eye(4)[:2].double() @ x.mT).sum(2)[:, :1],
    "product and sum": lambda x: torch.addmm(x[0, :, :2], x[0], torch.eye(4, dtype=x.dtype)[:, 1:3]),
    "product added to a factor": lambda x: (
        torch.addmm(x[0, :, :3], x[0, :, :3], torch.eye(3, dtype=x.dtype).roll(1, 0))
        + one_for_both(lambda y, w: torch.addmm(y, w, y, alpha=2, beta=0.5), x[0, :, :3])
    ),
    "product added to both factors": lambda x: one_for_both(lambda y, _: torch.baddbmm(y, y, y), x[:, :, 1:]),
    "layer whose input is its bias": lambda x: one_for_both(lambda y, w: F.linear(y, w, y), x[0, 0, :3]),
    "bilinear layer whose inputs are its bias": lambda x: one_for_both(
        lambda y, w: F.bilinear(y, y, w[:, :, None] * torch.eye(3, dtype=x.dtype)[0], y), x[0, 0, :3]
    ),
    "of another type": lambda x: (x.double().float().type_as(x) + x.to(x[0, :1]) + x.type(x.dtype)).type_as(x[:, :2]),
    "batched": lambda x: torch.bmm(x, torch.eye(4, dtype=x.dtype)[None].triu(1) + 0 * x[0, 0, 0].detach()),
    "einsum": lambda x: torch.einsum("...ij,kj->...ik", x, torch.tensor([[0.0, 1, 0, 2]], dtype=x.dtype)),
    "einsum with several weights": lambda x: (
        torch.einsum("bij,kj,k->bik", x, torch.eye(4)[1:].to(x), SCALE.to(x))
        + torch.einsum("bij,jk,kl->bil", x, torch.eye(4)[:, :2].to(x), torch.ones(2, 3).to(x).triu())
    ),
    "einsum to a number": lambda x: torch.einsum("i,i->", x[0, :, 0], torch.tensor([1.0, 0, 2]).to(x))[None],
    "diagonals": lambda x: torch.einsum("bii->bi", x[:, :, :3]) + torch.einsum("bij,bij->b", x, x)[:, None],
    "tensordot": lambda x: torch.tensordot(x, torch.tensor([[0.0, 1], [0, 0], [3, 4]], dtype=x.dtype), ([1], [0])),
    "inner": lambda x: torch.inner(x, torch.tensor([[0.0, 1, 0, 2]], dtype=x.dtype)),
    "convolution": lambda x: F.conv1d(x, torch.tensor([[[1.0, 0]], [[1, 2]], [[0, 3]]], dtype=x.dtype), groups=3),
    "convolution by code": lambda x: aten.convolution(
        x, torch.ones(2, 3, 2, dtype=x.dtype), None, [1], [0], [1], False, [0], 1
    ),
    "transposed": lambda x: F.conv_transpose1d(x, torch.tensor([[[1.0, 0]]] * 3, dtype=x.dtype), stride=2, groups=3),
}

# One input of (1, 3, 4), written into.
WRITTEN: Functions = {
    "set to zero": setting(1, lambda x: 0.0),
    "set to another": setting(1, lambda x: x[:, 0] * 2),
    "set in places": setting(PLACES, lambda x: x * 2),
    "set under a mask": setting(MASK, lambda x: 0.0),
}

# Normalised by statistics that count as constants: beside each the function that it counts as.
NORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "batch": (lambda x: F.batch_norm(x, SCALE.double(), SCALE.double(), SCALE.double()), lambda x: x),
    "batch, by itself": (lambda x: F.batch_norm(torch.cat([x, x]), None, None, training=True)[:1], lambda x: x),
    "instance": (lambda x: F.instance_norm(x, weight=SCALE.double(), bias=SCALE.double()), lambda x: x),
    "group": (lambda x: F.group_norm(x, 3, SCALE.double()), lambda x: x),
    "group by code": (
        lambda x: aten.native_group_norm(x, SCALE.double(), None, 1, 3, 4, 3, 1e-5)[0],
        lambda x: x,
    ),
    "layer": (lambda x: F.layer_norm(x, (4,)), lambda x: x),
    "root mean square": (lambda x: F.rms_norm(x, (4,)), lambda x: x),
    "scaled by activations": (
        lambda x: F.batch_norm(x, SCALE.double(), SCALE.double(), x[0, :, 0]),
        lambda x: x * x[:, :, :1],
    ),
}

# Two inputs of (1, 3, 3).
PAIRS: Functions = {
    "sums": lambda x, y: x + y - 2 * y,
    "larger sums": lambda x, y: x[:, :1] + torch.rsub(x, y, alpha=2),
    "products": lambda x, y: x * y / (x + 3),
    "bounds": lambda x, y: (
        torch.maximum(x, y) + torch.max(x, y) + torch.min(x, y) + torch.fmax(x, y) + torch.fmin(x, y)
    ),
    "mixtures": lambda x, y: torch.lerp(x, y, 0.3) + torch.lerp(x, y, x.sigmoid()),
    "part of a mixture": lambda x, y: torch.lerp(x, y, MASK.to(x.dtype)),
    "sums of products": lambda x, y: torch.addcmul(x, y, torch.tensor([0.0, 1, 2]).to(x)) + torch.addcdiv(x, x, y + 3),
    "angles": lambda x, y: torch.atan2(x, y) + torch.hypot(x, y) + torch.logaddexp(x, y) + torch.logaddexp2(x, y),
    "remainders": lambda x, y: (
        torch.fmod(x, y) + torch.remainder(x, y) + torch.copysign(x, y) + torch.xlogy(x, y.abs())
    ),
    "powers": lambda x, y: torch.float_power(x.abs(), y) + x.abs() ** y,
    "chosen": lambda x, y: torch.where(MASK, x, y),
    "filled": lambda x, y: x.masked_fill(MASK, y[0, 0, 0]),
    "joined": lambda x, y: torch.cat([x, y], 1) + torch.stack([y, x], 1).flatten(1, 2),
    "cross product": lambda x, y: torch.cross(x, y, dim=1),
    "matrix product": lambda x, y: x @ y,
    "product of some": lambda x, y: x.tril() @ y,
    "product and sum": lambda x, y: torch.baddbmm(x[:, :1], x, y),
    "vectors": lambda x, y: x @ y[0, 0] + torch.dot(x[0, 0], y[0, 0]) + torch.mv(x[0], y[0, 1]),
    "einsum": lambda x, y: torch.einsum("bij,bjk->bki", x, y),
    "einsum, diagonal": lambda x, y: torch.einsum("bii,bij->j", x, y),
    "einsum, dots": lambda x, y: torch.einsum("...ij,...kj", x, y),
    "tensordot": lambda x, y: torch.tensordot(x, y, ([2], [1])),
    "inner": lambda x, y: torch.inner(x[0], y[0]),
    "outer": lambda x, y: torch.outer(x[0, 0], y[0, 1]) + torch.linalg.vecdot(x, y[:, :1])[..., None],
    "bilinear": lambda x, y: F.bilinear(x, y, torch.tensor([[[1.0, 0, 0], [0, 0, 2], [0, 0, 0]]]).to(x)),
    "layer": lambda x, y: F.linear(x, y[0], y[0, 0]),
    "convolution": lambda x, y: F.conv1d(x, y[:, :, :2].mT[:, :1].reshape(3, 1, 1), groups=3, padding=1),
    "dynamic convolution": lambda x, y: F.conv1d(x, y.reshape(3, 1, 3), y[0, 0], padding=1, groups=3),
    "dynamic transposed": lambda x, y: F.conv_transpose1d(x, y.reshape(3, 3, 1)[:, :2], stride=2),
    "attention": lambda x, y: F.scaled_dot_product_attention(x, y, y),
    "attention to one token": lambda x, y: F.scaled_dot_product_attention(x, y, NUMBERS.to(x), is_causal=True),
    "attention to one token, written out": lambda x, y: (
        (x @ y.mT).masked_fill(torch.ones(3, 3, dtype=torch.bool).triu(1), -torch.inf).softmax(-1) @ NUMBERS.to(x)
    ),
    "complex": lambda x, y: torch.view_as_real(torch.view_as_complex(torch.stack([x, y], -1)) * (1 + 2j)),
    "batch of products and sum": lambda x, y: torch.addbmm(x[0, 0], x, y),
    "product with a vector and sum": lambda x, y: torch.addmv(y[0, 0], x[0], y[0, 1]),
    "outer product and sum": lambda x, y: torch.addr(x[0], x[0, 0], y[0, 1]),
    "along the first axis": lambda x, y: torch.conv_tbc(
        x + y, torch.ones(2, 3, 2).to(x).tril(), torch.zeros(2).to(x), 1
    ),
    "added at places": lambda x, y: x.index_add(1, PLACES[[0, 0, 1]], y),
    "added at places along an axis": lambda x, y: x.scatter_add(1, PLACES[[0, 0, 1]][None, :, None].expand(1, 3, 3), y),
    "added at places of their own": lambda x, y: x.scatter_add(1, (NUMBERS > 1).long().expand(1, 3, 3), y),
    "softmax of one": lambda x, y: x.mean(1, keepdim=True).softmax(1) + y,
    "set": lambda x, y: x.index_copy(1, PLACES[:1], y[:, :1]).scatter(
        1, PLACES[None, :1, None].expand(1, 1, 3), y[:, 2:]
    ),
    "by data": lambda x, y: torch.take_along_dim(x, y.argsort(1), 1) * y,
    "row of data": lambda x, y: x.index_select(1, y[0, 0].argmax()[None]) + y,
}

# One input of (1, 4, 4, 4).
IMAGES: Functions = {
    "pooled": lambda x: F.avg_pool2d(F.max_pool2d(x, 2, 1), 2, 1),
    "pooled, with places": lambda x: F.max_pool2d(x, 3, 2, padding=1, return_indices=True)[0],
    "pooled to a size": lambda x: F.adaptive_avg_pool2d(x, (2, 3)) + F.adaptive_max_pool2d(x, (2, 3)),
    "larger": lambda x: F.interpolate(x, size=(5, 6)) + F.interpolate(x, size=(5, 6), mode="nearest-exact"),
    "larger, smooth": lambda x: F.interpolate(x, size=(5, 6), mode="bilinear", align_corners=True),
    "larger, smoother": lambda x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, size=(5, 6), mode="bicubic"),
    "shuffled": lambda x: F.pixel_unshuffle(F.pixel_shuffle(F.channel_shuffle(x, 2), 2), 4),
    "windows": lambda x: F.unfold(x, 2),
    "windows laid over": lambda x: F.fold(x.flatten(2)[:, :, :9], (4, 4), 2),
    "mirrored": lambda x: F.pad(F.pad(x, (1, 1, 1, 1), mode="reflect"), (1, 1, 1, 1), mode="replicate"),
    "mirrored by code": lambda x: aten.replication_pad2d(aten.reflection_pad2d(x, [1, 1, 1, 1]), [1, 1, 1, 1]),
    "sampled": lambda x: F.grid_sample(x, torch.linspace(-0.9, 0.8, 12).to(x).reshape(1, 3, 2, 2), align_corners=False),
    "sampled by data": lambda x: F.grid_sample(
        x[:, :2, :2, :2], torch.sin(5 * x[:, 2:]).permute(0, 2, 3, 1), align_corners=True
    ),
    "placed": lambda x: F.affine_grid(x.flatten()[:6].reshape(1, 2, 3), [1, 1, 2, 2], align_corners=False),
    "convolution": lambda x: F.conv2d(x, torch.ones(2, 4, 2, 2).to(x).tril(), padding="same"),
    "transposed": lambda x: F.conv_transpose2d(x, torch.ones(4, 1, 2, 2).to(x).triu(), stride=2, padding=1),
}

# One input of (1, 2, 3, 3, 3).
VOLUMES: Functions = {
    "pooled": lambda x: F.avg_pool3d(F.max_pool3d(x, 2, 1), 2, 1),
    "pooled, with places": lambda x: F.max_pool3d(x, 2, return_indices=True)[0],
    "pooled to a size": lambda x: F.adaptive_avg_pool3d(x, 2) + F.adaptive_max_pool3d(x, 2),
    "larger": lambda x: F.interpolate(x, size=4) + F.interpolate(x, size=4, mode="nearest-exact"),
    "larger, smooth": lambda x: F.interpolate(x, size=(4, 3, 3), mode="trilinear"),
    "mirrored": lambda x: F.pad(x, (1, 0) * 3, mode="reflect"),
    "mirrored by code": lambda x: aten.replication_pad3d(aten.reflection_pad3d(x, [1, 0] * 3), [0, 1] * 3),
    "convolution": lambda x: F.conv3d(x, torch.ones(1, 2, 2, 2, 2).to(x).tril()),
    "transposed": lambda x: F.conv_transpose3d(x, torch.ones(2, 1, 2, 2, 2).to(x).triu(), stride=2)[..., :3],
}

FAMILIES = {
    "plain": (PLAIN, ((1, 3, 4),)),
    "elements": (ELEMENTS, ((1, 3, 4),)),
    "written": (WRITTEN, ((1, 3, 4),)),
    "pairs": (PAIRS, ((1, 3, 3), (1, 3, 3))),
    "images": (IMAGES, ((1, 4, 4, 4),)),
    "volumes": (VOLUMES, ((1, 2, 3, 3, 3),)),
}
TRACED: dict[str, Dag] = {}


def traced(name: str) -> Dag:
    if name not in TRACED:
        functions, shapes = FAMILIES.get(name, (None, ((1, 3, 4),)))
        model = Family(functions or {key: norm for key, (norm, _) in NORMS.items()})
        inputs = tuple(torch.rand(s, dtype=torch.float64) + 0.5 for s in shapes)
        TRACED[name] = topo.trace(model, inputs).single()
    return TRACED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_edges_are_the_non_zeros_of_jacobians(name: str) -> None:
    functions, shapes = FAMILIES[name]
    counted_as = {"soft": lambda x: torch.stack([x, x])}
    wrong = {
        case: difference
        for (case, function), found in zip(functions.items(), reached(traced(name)), strict=True)
        if (difference := differences(found, counted_as.get(case, function), shapes))
    }
    assert wrong == {}


def test_norms_are_the_identity() -> None:
    for (_, twin), found in zip(NORMS.values(), reached(traced("norms")), strict=True):
        assert differences(found, twin, ((1, 3, 4),)) == ""


# Met in networks of other tests: most reshape, and exports of older programs have the others.
ELSEWHERE = {"view", "_unsafe_view", "bernoulli", "native_group_norm", "normalize"}


@pytest.mark.slow
def test_every_record_is_met_in_an_export() -> None:
    met = {step.name for name in (*FAMILIES, "norms") for arc in traced(name).arcs for step in arc.steps}
    met |= {node.combine.name for name in FAMILIES for node in traced(name).nodes if node.combine is not None}
    records = dict.fromkeys(record for record in OPERATORS.values() if record.map is not None and not record.composite)
    missing = [record.names[0] for record in records if not met & set(record.names) and not record.lookup]
    assert [name for name in missing if name not in ELSEWHERE] == []
