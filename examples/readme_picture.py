"""The picture of the README: a small residual network after SynFlow, as the graph of its tensors.

Run it from the root of the repository:

    python examples/readme_picture.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import topo
from topo.models import build

SHAPE = (1, 8, 8)


def draw(path: Path, *, sparsity: float = 0.95, seed: int = 0) -> Path:
    """Prune digits-cnn, encode it and write the drawing as a PNG file."""
    model = build("digits-cnn", input_shape=SHAPE, n_classes=10, seed=seed)
    masks = topo.prune(model, "synflow", sparsity=sparsity, seed=seed, example=SHAPE)
    graph = topo.encode(model, masks, example=SHAPE)
    axes = topo.plots.draw_graph(graph, title=f"digits-cnn, synflow at {sparsity:.0%} sparsity")
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, dpi=160)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the picture of the README.")
    parser.add_argument("path", nargs="?", type=Path, default=Path("docs/multipartite.png"), help="the PNG to write")
    print(draw(parser.parse_args().path))
