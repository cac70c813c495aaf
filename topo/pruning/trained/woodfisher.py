"""WoodFisher: second-order pruning with the empirical Fisher (Singh & Alistarh, NeurIPS 2020, arXiv 2004.14340)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...datasets.inputs import map_inputs
from ...validation import one_of, real_number, whole_number
from ..allocation import ALLOCATIONS, SHARES
from ..masks_within import kept_within
from ..registry import PRUNERS
from ..schedules import exponential
from ..task import Task
from .obs import inverse_diagonal, optimum

__all__ = ["fisher_blocks", "woodfisher"]


@PRUNERS.register(
    "woodfisher", family="trained", stage="trained", paper="Singh & Alistarh 2020, Kuznedelev et al. 2023",
    needs_data=True,
)  # fmt: skip
def woodfisher(
    task: Task,
    *,
    block: int = 50,
    rounds: int = 1,
    allocation: str = "global",
    damping: float = 1e-5,
    samples: int = 128,
) -> dict[str, Tensor]:
    """Rise of the loss when a weight goes and others make up for it, w^2 / (2 [F^-1]_qq), F the empirical Fisher.

    F = damping + mean over samples of g g^T, g the gradient of a sample's loss, between weights of one block of a
    parameter only. The weights that stay are then the optimum of the quadratic model within their block, which is what
    removing one after the other comes to; they go with the masks. The public code adds up what each weight that goes
    would ask of the others if it went alone. Blocks are inverted as they are; the Woodbury
    identity, from which the paper has its name, gives the same.

    Parameters
    ----------
    block
        Number of consecutive weights of a parameter that make up for each other, from 1 up: 1 is the diagonal Fisher.
        The public code has 1000 to 10000.
    rounds
        Number of rounds, from 1 up. With one, all rises are those of the dense network. With more, the density falls
        exponentially and what remains is scored anew, so that correlated weights are not removed together, as in CAP;
        F stays that of the dense network, where the public code of WoodFisher takes gradients anew.
    allocation
        Where the kept weights may lie: ``"global"`` compares all weights; ``"uniform"``, ``"er"`` and ``"erk"`` fix how
        many each parameter keeps.
    damping
        What is added to the diagonal of F, above 0.
    samples
        About how many samples are looked at, from 1 up, as many of each class; given batches, one of them is used.

    Notes
    -----
    Kuznedelev, Kurtic, Frantar & Alistarh, *CAP: correlation-aware pruning for highly-accurate sparse vision models*,
    NeurIPS 2023, arXiv 2210.09223.
    """
    size = whole_number("block", block, minimum=1)
    whole_number("rounds", rounds, minimum=1)
    damping = real_number("damping", damping, above=0)
    allocate = ALLOCATIONS[one_of("allocation", allocation, ("global", *SHARES))]
    fishers = fisher_blocks(task, size, damping, whole_number("samples", samples, minimum=1))
    dense = {name: _in_blocks(weight.detach().double(), size) for name, weight in task.weights.items()}
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in task.weights.items()}
    masks |= {name: mask.to(task.device) for name, mask in task.within.items()}
    values = dense
    for density in exponential(task.kept / task.total, rounds):
        scores = {}
        for name, weight in task.weights.items():
            inside = _in_blocks(masks[name], size)
            score = values[name].square() / (2 * inverse_diagonal(name, fishers[name], inside))
            scores[name] = _unblocked(score, weight).masked_fill(~masks[name], -torch.inf)
        masks = allocate(scores, round(density * task.total))
        if task.within:
            masks = kept_within(masks, task.within, True, task.generator)
            masks = {name: mask.to(task.device) for name, mask in masks.items()}
        values = {
            name: optimum(name, dense[name], fishers[name], _in_blocks(mask, size)) for name, mask in masks.items()
        }
    with torch.no_grad():
        for name, weight in task.weights.items():
            weight.copy_(_unblocked(values[name], weight))
    task.keep_state = True
    return masks


def fisher_blocks(task: Task, block: int, damping: float, samples: int) -> dict[str, Tensor]:
    """Diagonal blocks of the damped empirical Fisher of every weight.

    Parameters
    ----------
    task
        The model, its weights and its data.
    block
        Number of consecutive weights of a block; the last one of a weight is filled up with weights that matter to
        nothing.
    damping
        What is added to the diagonal.
    samples
        About how many samples are looked at.

    Returns
    -------
    dict
        Name -> float64, (blocks, block, block).
    """
    fishers: dict[str, Tensor] = {}
    count = 0
    for gradients in _of_samples(task, samples):
        count += 1
        for name, gradient in gradients.items():
            rows = _in_blocks(gradient.detach().double(), block)
            if name not in fishers:
                fishers[name] = rows.new_zeros(len(rows), rows.shape[2], rows.shape[2])
            fishers[name].baddbmm_(rows.mT, rows)
    unit = {
        name: torch.eye(fisher.shape[1], dtype=fisher.dtype, device=task.device) for name, fisher in fishers.items()
    }
    return {name: fisher / count + damping * unit[name] for name, fisher in fishers.items()}


def _of_samples(task: Task, samples: int) -> Iterator[Mapping[str, Tensor]]:
    inputs, targets = task.moved(task.samples.batch(samples))
    for i in range(len(targets)):
        one = map_inputs(lambda tensor: tensor[i : i + 1], inputs)  # noqa: B023
        yield task.gradients(task.loss(one, targets[i : i + 1]), may_be_constant=True)


def _in_blocks(tensor: Tensor, size: int) -> Tensor:
    """The elements as (blocks, 1, size); the last block is filled up with zeros, of masks with what is kept."""
    flat = tensor.reshape(-1)
    size = min(size, len(flat))
    blocks = -(-len(flat) // size)
    return torch.cat([flat, flat.new_full((blocks * size - len(flat),), tensor.dtype == torch.bool)]).view(
        blocks, 1, size
    )


def _unblocked(blocks: Tensor, like: Tensor) -> Tensor:
    return blocks.flatten()[: like.numel()].view(like.shape)
