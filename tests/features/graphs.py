"""Small random multipartite graphs with everything that can go wrong in them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from topo.encoding.graph import BipartiteGraph, Block, MultipartiteGraph, Part


def random_block(shape: tuple[int, int], density: float, rng: np.random.Generator) -> sparse.csr_array:
    """Random entries of which some are stored zeros and some repeat a value."""
    rows, columns = np.nonzero(rng.random(shape) < density)
    weights = np.round(rng.random(len(rows)), 2).astype(np.float32)
    weights[rng.random(len(rows)) < 0.05] = 0.0
    return sparse.csr_array((weights, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape)


def random_graph(
    sizes: list[int], density: float, seed: int, *, skips: float = 0.5, parallel: float = 0.2
) -> MultipartiteGraph:
    """Parts of the given sizes in a row; skip blocks between any two, empty blocks and parallel blocks among them."""
    rng = np.random.default_rng(seed)
    parts, blocks, offset = [], [], 0
    for level, size in enumerate(sizes):
        role = "input" if level == 0 else "output" if level == len(sizes) - 1 else "hidden"
        parts.append(Part(f"part{level}", (size,), level, offset, role))
        offset += size
    for i in range(len(sizes)):
        for j in range(i + 1, len(sizes)):
            if j == i + 1 or rng.random() < skips:
                here = rng.choice([0.0, density, density, 2 * density])
                blocks.append(Block(i, j, random_block((sizes[i], sizes[j]), here, rng), f"layer{len(blocks)}"))
                if rng.random() < parallel:
                    blocks.append(Block(i, j, random_block((sizes[i], sizes[j]), density, rng), f"layer{len(blocks)}"))
    return MultipartiteGraph(parts, [blocks[i] for i in rng.permutation(len(blocks))])


def random_layer(left: int, right: int, density: float, seed: int) -> BipartiteGraph:
    return BipartiteGraph(random_block((left, right), density, np.random.default_rng(seed)))


graphs = st.builds(
    random_graph,
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
    st.sampled_from([0.05, 0.2, 0.4, 0.9]),
    st.integers(0, 10**6),
    skips=st.sampled_from([0.0, 0.5, 1.0]),
)
layers = st.builds(
    random_layer, st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 10**6)
)
