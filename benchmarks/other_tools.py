"""Other public tools on the same work: Torch-Pruning, scikit-network, deepstruct, shrinkbench and open_lth.

    pip install torch-pruning==1.6.1 scikit-network==0.33.5 deprecated && pip install --no-deps deepstruct==0.10.0
    python benchmarks/other_tools.py [--clones FOLDER] [--only PART ...] [--output FILE]

Each tool gets the same network, weights and graph as `topo` in the same process, on one thread; seconds are of the
processor, the least of three runs unless said otherwise. shrinkbench and open_lth are in no package index: FOLDER holds
clones of them by these names. `docs/comparison_tables.py` writes the tables of its page from the record.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import write_record
from other_tools_models import zoo
from scipy import sparse
from torch import Tensor, nn

import topo
from topo.torchvision_import import import_torchvision

HERE = Path(__file__).parent
RUNS = 3
PATIENCE = 120
"""Seconds that a tool has for a model."""
CLONES = {
    "shrinkbench": "b24497451b6815a4dbdf2ded7b10c264805e772b",
    "open_lth": "2ce732fe48abd5a80c10a153c45d397b048e980c",
}
DISTRIBUTIONS = ("torch-pruning", "scikit-network", "deepstruct")

Prune = Callable[[nn.Module, Tensor], tuple[nn.Module, nn.Module]]


def least(call: Callable[[], Any], runs: int = RUNS) -> tuple[float, Any]:
    """The fewest seconds of the processor that a call took, and what it returned last."""
    seconds, result = [], None
    for _ in range(runs):
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def with_statistics(model: nn.Module) -> nn.Module:
    """The model in float64 and evaluation, with batch norms that have seen data."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.double().eval()


# --- Torch-Pruning: the same channels out of the same networks


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    torchvision = import_torchvision()
    resnet20 = topo.models.build("resnet20", input_shape=(3, 32, 32), n_classes=10, shortcut="projection", seed=0)
    torch.manual_seed(0)
    resnet18 = torchvision.models.resnet18(weights=None)
    return {
        "resnet20": (with_statistics(resnet20), torch.rand(2, 3, 32, 32, dtype=torch.float64)),
        "torchvision resnet18": (with_statistics(resnet18), torch.rand(2, 3, 64, 64, dtype=torch.float64)),
    }


def removal() -> list[dict[str, Any]]:
    """Half of the weights by group norm here; the same channels then removed by Torch-Pruning."""
    tp = importlib.import_module("torch_pruning")
    topo.trace(nn.Linear(2, 2), torch.zeros(1, 2))  # whatever only the first trace of a process does
    rows = []
    for name, (model, x) in networks().items():

        def graph(model: nn.Module = model, x: Tensor = x) -> Any:
            return topo.dag.coupled_channels(topo.trace(model, x))

        def dependencies(model: nn.Module = model, x: Tensor = x) -> Any:
            return tp.DependencyGraph().build_dependency(copy.deepcopy(model), example_inputs=x)

        graph_s, channels = least(graph, 1)  # from the second call on, the trace is found and not made
        again_s, _ = least(graph)
        theirs_graph_s, _ = least(dependencies)
        masks = topo.prune(model, "group-norm", sparsity=0.5, example=x, device="cpu")
        compact_s, small = least(lambda model=model, masks=masks, x=x: topo.compact(model, masks, x))
        theirs, removed = copy.deepcopy(model), 0
        dependency = tp.DependencyGraph().build_dependency(theirs, example_inputs=x)
        start = time.process_time()
        for _, module, prune, gone in removed_channels(tp, theirs, channels, masks):
            dependency.get_pruning_group(module, prune, idxs=gone).prune()
            removed += len(gone)
        theirs_s = time.process_time() - start
        masked = copy.deepcopy(model)
        topo.masks.Masks(masks).apply(masked)
        with torch.no_grad():
            ours_y, theirs_y, masked_y = small(x), theirs(x), masked(x)
        rows.append(
            {
                "network": name,
                "channels_removed": removed,
                "trace_and_groups_s": graph_s,
                "again_s": again_s,
                "compact_s": compact_s,
                "torch_pruning_graph_s": theirs_graph_s,
                "torch_pruning_removal_s": theirs_s,
                "parameters": [count(model), count(small), count(theirs)],
                "largest_difference_compact_masked": float((ours_y - masked_y).abs().max()),
                "largest_difference_compact_torch_pruning": float((ours_y - theirs_y).abs().max()),
            }
        )
        print(rows[-1], flush=True)
    return rows


def removed_channels(tp: Any, model: nn.Module, channels: Any, masks: Any) -> Any:
    """One layer of each group of coupled channels, with the channels of it that the masks remove."""
    done: set[int] = set()
    for weight, layers in channels.layers.items():
        if weight not in channels.axes:
            continue
        units = channels.axes[weight][layers[0].writes]
        if units.max() < 0 or int(units[0]) in done:
            continue
        done.update(units.tolist())
        mask = masks[weight]
        gone = (~mask.flatten(1).any(1)).nonzero().flatten().tolist()
        module = model.get_submodule(weight.removesuffix(".weight"))
        prune = tp.prune_conv_out_channels if isinstance(module, nn.Conv2d) else tp.prune_linear_out_channels
        if gone:
            yield weight, module, prune, gone


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# --- Torch-Pruning: which models each can prune


def models(names: Iterable[str]) -> list[dict[str, Any]]:
    """What each tool makes of a model: whether it prunes, runs, keeps the shape, and equals the network it prunes."""
    rows, known = [], zoo()
    for name in names:
        build, x = known[name]
        torch.manual_seed(0)
        model = with_statistics(build())
        normalised = any(isinstance(module, nn.LayerNorm) for module in model.modules())
        row = {"model": name, "parameters": count(model), "layer_norm": normalised}
        for tool, prune in (("topo", by_topo), ("torch_pruning", by_torch_pruning)):
            row |= {f"{tool}_{key}": value for key, value in in_a_child(prune, model, x.double()).items()}
        rows.append(row)
        print(row, flush=True)
    return rows


def in_a_child(prune: Prune, model: nn.Module, x: Tensor) -> dict[str, Any]:
    """`outcome` in a process of its own, which is ended when it takes too long."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    child = fork.Process(target=lambda: there.send(outcome(prune, model, x)))
    child.start()
    found = here.recv() if here.poll(PATIENCE) else {"result": f"not done after {PATIENCE} s", "error": ""}
    child.kill()
    child.join()
    return found


def outcome(prune: Prune, model: nn.Module, x: Tensor) -> dict[str, Any]:
    """How pruning half of the weights, or 30% of the channels, went: the smaller module beside the one with zeros."""
    start = time.process_time()
    try:
        small, zeroed = prune(copy.deepcopy(model), x)
        seconds = time.process_time() - start
        with torch.no_grad():
            before, after, expected = tensor(model(x)), tensor(small(x)), tensor(zeroed(x))
    except Exception as error:  # whatever a tool raises is its answer
        said = str(error).splitlines()[0][:200] if str(error) else ""
        return {"result": "fails", "error": f"{type(error).__name__}: {said}"}
    if after.shape != before.shape:
        return {"result": "another shape", "error": f"{tuple(before.shape)} became {tuple(after.shape)}"}
    if count(small) == count(model):
        return {"result": "nothing removed", "error": ""}
    difference = float((after - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    return {
        "result": "prunes",
        "error": "",
        "seconds": seconds,
        "parameters": count(small),
        "relative_difference": difference,
    }


def tensor(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def by_topo(model: nn.Module, x: Tensor) -> tuple[nn.Module, nn.Module]:
    masks = topo.prune(model, "group-norm", sparsity=0.5, example=x, device="cpu")
    small = topo.compact(model, masks, x)
    masks.apply(model)
    return small, model


def by_torch_pruning(model: nn.Module, x: Tensor) -> tuple[nn.Module, nn.Module]:
    """As its documentation has it: group magnitudes, 30% of the channels, the last layer spared."""
    tp = importlib.import_module("torch_pruning")
    zeroed = copy.deepcopy(model)
    same = dict(zip((m for _, m in model.named_modules()), (m for _, m in zeroed.named_modules()), strict=True))
    last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    heads = {m: m.num_heads for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    pruner = tp.pruner.BasePruner(
        model, x, importance=importance, pruning_ratio=0.3, ignored_layers=[last], num_heads=heads
    )
    left: dict[nn.Module, list[int]] = {}  # which of its first channels a layer still has
    for group in pruner.step(interactive=True):
        for dependency, channels in group:
            module, function = dependency.target.module, dependency.handler
            if function.__name__.endswith("out_channels") and module in same:
                for parameter in same[module].parameters(recurse=False):
                    here = left.setdefault(module, list(range(len(parameter))))
                    if max(channels) < len(here):
                        parameter.data[[here[channel] for channel in channels]] = 0
                gone = set(channels)
                left[module] = [first for place, first in enumerate(left.get(module, [])) if place not in gone]
        group.prune()
    return model, zeroed


# --- scikit-network: metrics of the same graph


def graph_metrics() -> list[dict[str, Any]]:
    """Metrics that scikit-network has too, of ResNet-20 at 98%; each from the plain adjacency matrix."""
    topology = importlib.import_module("sknetwork.topology")
    linalg = importlib.import_module("sknetwork.linalg")
    model = topo.models.build("resnet20", input_shape=(3, 32, 32), n_classes=10, seed=0)
    graph = topo.encode(model, topo.prune(model, "erk", sparsity=0.98, seed=0), example=(3, 32, 32))
    directed = sparse.csr_matrix(graph.to_scipy().astype(np.float64))
    weighted = sparse.csr_matrix(directed + directed.T)
    pattern = weighted.astype(bool)
    topo.measure(graph, metrics="all")  # compiles

    def ours(*metrics: str) -> Any:
        return topo.measure(graph, metrics=list(metrics))

    def eigenvalues() -> float:
        values = np.sort(np.abs(linalg.LanczosEig("LM").fit(weighted, 6).eigenvalues_))[::-1]
        return float(values[0] - values[2])

    theirs: dict[str, Callable[[], float]] = {
        "k_core": lambda: float(np.mean(topology.get_core_decomposition(pattern))),
        "connected_components": lambda: float(len(np.unique(topology.get_connected_components(pattern)))),
        "spectral_gap": eigenvalues,
    }
    rows = []
    for metric, call in theirs.items():
        theirs_s, value = least(call)
        ours_s, row = least(lambda metric=metric: ours(metric))
        rows.append(
            {
                "metric": metric,
                "nodes": graph.n_nodes,
                "edges": graph.n_edges,
                "scikit_network": value,
                "topo": float(row[metric]),
                "scikit_network_s": theirs_s,
                "topo_s": ours_s,
            }
        )
        print(rows[-1], flush=True)
    return rows


# --- deepstruct: the graph of a network


def graphs_of_networks() -> list[dict[str, Any]]:
    """Graphs of elements of a chain of layers, by deepstruct's transformation and by `multipartite`."""
    transform = importlib.import_module("deepstruct.transform")
    torch.manual_seed(0)
    chains = {
        "linear 784-100-100-10": (
            nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)),
            torch.rand(1, 784),
        ),
        "convolutions 1-4-4 on 14x14": (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)),
            torch.rand(1, 1, 14, 14),
        ),
    }
    rows = []
    for name, (model, x) in chains.items():
        dense = copy.deepcopy(model)
        for parameter in dense.parameters():  # deepstruct leaves out weights of linear layers below 0.01
            parameter.data += 0.02 * parameter.data.sign()
        for what, net in (("dense", dense), ("nine in ten weights zero", mostly_zero(dense))):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs_s, theirs = least(
                    lambda net=net, x=x: transform.GraphTransform(x).transform(copy.deepcopy(net)), 1
                )
            ours_s, ours = least(lambda net=net, x=x: topo.encode(copy.deepcopy(net), example=x))
            rows.append(
                {
                    "network": name,
                    "weights": what,
                    "deepstruct": [theirs.number_of_nodes(), theirs.number_of_edges()],
                    "topo": [ours.n_nodes, ours.n_edges],
                    "deepstruct_s": theirs_s,
                    "topo_s": ours_s,
                }
            )
            print(rows[-1], flush=True)
    return rows


def mostly_zero(model: nn.Module) -> nn.Module:
    pruned = copy.deepcopy(model)
    masks = topo.prune(pruned, "magnitude", sparsity=0.9, include=["*.weight"])
    masks.apply(pruned)
    return pruned


# --- shrinkbench and open_lth: masks of the largest weights


def magnitude_masks(clones: Path) -> list[dict[str, Any]]:
    """The largest tenth of the weights of ResNet-20."""
    model = topo.models.build("resnet20", input_shape=(3, 32, 32), n_classes=10, seed=0)
    weights = topo.masks.prunable_parameters(model)
    ours_s, ours = least(lambda: topo.prune(model, "magnitude", sparsity=0.9))
    rows = []
    for name, masks_of in (("shrinkbench", by_shrinkbench), ("open_lth", by_open_lth)):
        if not (clones / name).is_dir():
            continue
        theirs_s, theirs = least(lambda masks_of=masks_of: masks_of(clones, model, list(weights)))
        same = sum(int((torch.as_tensor(theirs[key]).bool() & ours[key]).sum()) for key in weights)
        kept = sum(int(torch.as_tensor(theirs[key]).bool().sum()) for key in weights)
        rows.append(
            {
                "tool": name,
                "commit": CLONES[name],
                "weights": sum(weight.numel() for weight in weights.values()),
                "kept": [kept, sum(int(ours[key].sum()) for key in weights)],
                "kept_by_both": same,
                "tool_s": theirs_s,
                "topo_s": ours_s,
            }
        )
        print(rows[-1], flush=True)
    return rows


def by_shrinkbench(clones: Path, model: nn.Module, names: list[str]) -> dict[str, Any]:
    sys.path.insert(0, str(clones))
    try:
        import_torchvision()
        magnitude = importlib.import_module("shrinkbench.strategies.magnitude")
    finally:
        sys.path.remove(str(clones))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Its compression counts every parameter; biases and batch norms are not pruned.
        every, pruned = count(model), sum(p.numel() for n, p in model.named_parameters() if n in names)
        pruner = magnitude.GlobalMagWeight(model, compression=every / (every - 0.9 * pruned))
        masks = pruner.model_masks()
    return {name: masks[model.get_submodule(name.removesuffix(".weight"))]["weight"] for name in names}


def by_open_lth(clones: Path, model: nn.Module, names: list[str]) -> dict[str, Any]:
    sys.path.insert(0, str(clones / "open_lth"))
    try:
        # Its models do not import under this PyTorch; what prunes them does not need them.
        with mock.patch.dict(sys.modules, {"models": mock.MagicMock(), "models.base": mock.MagicMock()}):
            strategy = importlib.import_module("pruning.registry").sparse_global.Strategy
    finally:
        sys.path.remove(str(clones / "open_lth"))
    trained = SimpleNamespace(
        prunable_layer_names=names, named_parameters=model.named_parameters, state_dict=model.state_dict
    )
    settings = SimpleNamespace(pruning_fraction=0.9, pruning_layers_to_ignore=None)
    return dict(strategy.prune(settings, trained))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clones", type=Path, default=HERE / "clones", help="folder with shrinkbench and open_lth")
    parts = {
        "removal": removal,
        "models": None,
        "graph_metrics": graph_metrics,
        "graphs_of_networks": graphs_of_networks,
        "magnitude_masks": None,
    }
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="parts to measure anew")
    parser.add_argument("--models", nargs="+", choices=zoo(), default=list(zoo()), help="models to try anew")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "other_tools.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    old = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    found = {name: version(name) for name in DISTRIBUTIONS}
    record = {
        "what": __doc__.splitlines()[0],
        "command": "python benchmarks/other_tools.py --clones FOLDER",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {**found, "torch": torch.__version__, **CLONES},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores with other work to do, one thread",
    }
    for part in parts:
        if part not in arguments.only:
            record[part] = old.get(part, [])
        elif part == "models":
            kept = {row["model"]: row for row in old.get(part, [])}
            kept |= {row["model"]: row for row in models(arguments.models)}
            record[part] = [kept[name] for name in zoo() if name in kept]
        elif part == "magnitude_masks":
            record[part] = magnitude_masks(arguments.clones)
        else:
            record[part] = parts[part]()
    write_record(arguments.output, record)


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
