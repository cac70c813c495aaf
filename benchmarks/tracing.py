"""Time of tracing a network over its export by torch alone; with torch's decompositions, and found again, over it.

    python benchmarks/tracing.py [--repeats 3] [--output FILE]

The four ways take turns in one process on one thread, and the least time of the processor counts for each.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from time import process_time

import torch
from measuring import times, write_record

import topo
from topo.dag import export
from topo.dag.kept_traces import forget_traces

NETWORKS = (
    *("conv6", "resnet20", "resnet56", "mobilenet_v2"),
    *("torchvision:resnet50", "torchvision:googlenet", "torchvision:densenet121"),
)
SHAPE = (3, 32, 32)


def measured(name: str, repeats: int) -> dict[str, object]:
    """One row: seconds of each way, in turns, the least of `repeats`."""
    model = topo.models.build(name, input_shape=SHAPE, n_classes=10).eval()
    x = torch.zeros(2, *SHAPE)
    ours = export.functionalised

    def decomposed() -> None:
        export.functionalised = lambda graph: False
        try:
            traced()
        finally:
            export.functionalised = ours

    def exported() -> None:
        with torch.no_grad():
            torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)

    def traced() -> None:
        forget_traces()
        topo.trace(model, x)

    def found() -> None:
        topo.trace(model, x)

    traced()
    rounds = [
        [times(way, clock=process_time)[0] for way in (traced, decomposed, exported, found)] for _ in range(repeats)
    ]
    trace, with_decompositions, alone, again = (min(seconds) for seconds in zip(*rounds, strict=True))
    return {
        "network": name,
        "trace_s": round(trace, 3),
        "trace_per_export": round(trace / alone, 2),
        "decomposed_per_trace": round(with_decompositions / trace, 2),
        "again_per_trace": round(again / trace, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "tracing.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(name, arguments.repeats) for name in NETWORKS]
    write_record(arguments.output, {"torch": torch.__version__, "machine": platform.machine(), "rows": rows})
    for row in rows:
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main()
