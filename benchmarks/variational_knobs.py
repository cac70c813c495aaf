"""What nu and kappa trade, how deterministic theta becomes, and whether gates that close early are worth nothing.

    python benchmarks/variational_knobs.py [--model digits-cnn] [--epochs 10] [--nu 0 0.1 0.3] [--kappa 0.1 0.5 0.9]

Every kappa is run at the first nu above 0, every nu at kappa 1/2, for each seed. A row has what remains and the
accuracy; the share of thetas between .01 and .99 after every epoch before gates are decided; the accuracy of a dense
network of the same family, whose width has it cost as many multiply-accumulates, trained by the same recipe; and, of
the gates whose theta is 0 before gates are decided, most of them closed for good, how many have theta above 1/2 then in
a run of the same seed in which theta below .01 alone closes a gate and the network is not rebuilt. These came back.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from measuring import write_record

import topo
from topo.pruning.variational import VariationalConfig, VariationalRun
from topo.pruning.variational import train as train_pruning
from topo.training import evaluate, recipe, train


class Knobs:
    """Runs of one model on one dataset.

    Parameters
    ----------
    a
        The arguments of the program.
    """

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.plan = a, recipe(a.recipe, epochs=a.epochs)
        self.data = topo.datasets.load(a.dataset)
        self.shape = self.data.input_shape
        self.macs = {width: self._cost(self.net(0, width)) for width in range(1, a.widest + 1)}
        self.dense: dict[tuple[int, int], float] = {}

    def _cost(self, net: torch.nn.Module) -> float:
        return float(topo.cost(net, self.shape)["macs"])

    def net(self, seed: int, width: int | None = None) -> torch.nn.Module:
        """A fresh network."""
        options = {} if width is None else {"width": width}
        n_classes = self.data.n_classes
        return topo.models.build(self.a.model, input_shape=self.shape, n_classes=n_classes, seed=seed, **options)

    def dense_accuracy(self, seed: int, macs: float) -> tuple[int, float]:
        """The width whose cost is nearest, and its accuracy after dense training."""
        width = min(self.macs, key=lambda w: abs(self.macs[w] - macs))
        if (seed, width) not in self.dense:
            net = self.net(seed, width)
            train(net, self.data, self.plan, seed=seed, device="cpu", progress=False)
            self.dense[seed, width] = evaluate(net, self.data, device="cpu")["accuracy"]
        return width, self.dense[seed, width]

    def run(self, seed: int, nu: float, kappa: float, **settings: float) -> VariationalRun:
        """One training with pruning."""
        config = VariationalConfig(**settings)
        options = {"seed": seed, "device": "cpu", "progress": False}
        return train_pruning(self.net(seed), self.data, self.plan, nu=nu, kappa=kappa, config=config, **options)

    def row(self, seed: int, nu: float, kappa: float) -> dict[str, Any]:
        """One setting, beside its dense network and the run in which nothing closes early."""
        run = self.run(seed, nu, kappa)
        free = self.run(seed, nu, kappa, margin=0.0, min_saving=1.0)
        decided = int(0.8 * self.a.epochs)
        theta = run.thetas[1:decided]
        early = (theta[-1] == 0) if len(theta) else torch.zeros(run.gates.count, dtype=torch.bool)
        accuracy = evaluate(run.model, self.data, device="cpu")["accuracy"]
        last = run.record.iloc[-1]
        width, dense = self.dense_accuracy(seed, last["macs"])
        return {
            "seed": seed,
            "nu": nu,
            "kappa": kappa,
            **{name: float(last[name] / run.record[name].iloc[0]) for name in ("parameters", "macs")},
            **{name: int(last[name]) for name in ("units", "layers")},
            "accuracy": accuracy,
            "dense_width": width,
            "dense_accuracy": dense,
            "undecided": [round(float(((t > 0.01) & (t < 0.99)).float().mean()), 3) for t in theta],
            "closed_early": int(early.sum()),
            "would_come_back": int((free.thetas[decided - 1][early] > 0.5).sum()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits-cnn")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--nu", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--kappa", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--widest", type=int, default=16)
    parser.add_argument("--output", type=Path)
    a = parser.parse_args()
    torch.set_num_threads(1)
    output = a.output or Path(__file__).parent / "results" / f"variational_knobs_{a.dataset}_{a.model}.json"
    knobs, rows = Knobs(a), []
    nu = next(nu for nu in a.nu if nu > 0)
    cells = dict.fromkeys([*((each, 0.5) for each in a.nu), *((nu, kappa) for kappa in a.kappa)])
    settings = {name: getattr(a, name) for name in ("model", "dataset", "recipe", "epochs")}
    for seed in a.seeds:
        for cell in cells:
            rows.append(knobs.row(seed, *cell))
            print(rows[-1], flush=True)
            write_record(output, {"torch": torch.__version__, **settings, "rows": rows})


if __name__ == "__main__":
    main()
