"""What a study costs around its cells: planning, overhead a cell, memory, status, going on, look-ups, files.

    python benchmarks/study.py [--cells 10000] [--planned 100000] [--output FILE]

Cells compute nothing: each is a made-up row of 60 columns with masks of 8 weights, in a thread of the driver, so that
what is measured is the study and not training. Seconds are of the processor and on the clock; memory is what the
process holds beyond what it held before the run, each time another tenth of the cells is under way. `status` is a
call in a process that has never seen the study, imports aside.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
from measuring import write_record

from topo import Masks
from topo.study import Cell, Study, StudyConfig, attempt
from topo.study.grid import cells_of
from topo.study.plan_file import read_plan, write_plan
from topo.study.store import CellResult

PRUNERS, SPARSITIES = 10, 10
FRESH = """
import json, sys, time
from topo.study import Study
study = Study.load(sys.argv[1])
started = time.perf_counter(), time.process_time()
study.status()
print(json.dumps([time.perf_counter() - started[0], time.process_time() - started[1]]))
"""


def config(cells: int) -> StudyConfig:
    """A study of about so many cells."""
    seeds = max(1, round(cells / (PRUNERS * SPARSITIES + 1)))
    return StudyConfig.parse(
        {
            "name": "many",
            "models": ["digits-mlp"],
            "pruners": [{"name": "snip", "batch_size": 100 + i, "label": f"snip {i}"} for i in range(PRUNERS)],
            "sparsities": [round(i / SPARSITIES, 3) for i in range(SPARSITIES)],
            "seeds": list(range(seeds)),
            "encodings": ["multipartite", "rolled"],
        }
    )


def fake(cell: Cell, *_: Any, **__: Any) -> CellResult:
    """A cell's result without any computation."""
    row = {"status": "finished", "reason": "", "accuracy": 0.5, "loss": 0.1, "device": "cpu"}
    row |= {f"seconds_{i}": cell.seed + i / 7 for i in range(55)}
    if cell.pruner is None:
        return CellResult(row, provenance={"data": "none"})
    layers = pd.DataFrame({"layer": ["0"], "weights": [8], "kept": [4], "mean_abs_weight": [0.1]})
    return CellResult(row, Masks({"0.weight": torch.eye(2, 4) > 0}), layer_facts=layers, provenance={"data": "none"})


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    started = time.perf_counter(), time.process_time()
    found = work()
    return found, {
        "seconds": round(time.perf_counter() - started[0], 3),
        "processor_seconds": round(time.process_time() - started[1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--planned", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "study.json")
    options = parser.parse_args()
    logging.getLogger("topo.study").setLevel(logging.ERROR)
    attempt.compute = fake
    process, memory = psutil.Process(), []
    record: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}

    with tempfile.TemporaryDirectory() as folder:
        large = config(options.planned)
        planned, record["plan"] = timed(lambda: [cell.planned for cell in cells_of(large)])
        file = Path(folder) / "plan.json"
        _, record["write_plan"] = timed(partial(write_plan, file, large, planned))
        _, record["read_plan"] = timed(lambda: read_plan(file))
        record["planned_cells"] = len(planned)

        study = Study(config(options.cells), Path(folder) / "study")
        study.prepare()
        count = record["cells"] = len(study.cells)
        before = process.memory_info().rss

        class Watched(ThreadPoolExecutor):
            def submit(self, *args: Any, **kwargs: Any) -> Any:
                if len(memory) * count < submitted[0] * 10:
                    memory.append((process.memory_info().rss - before) / 2**20)
                submitted[0] += 1
                return super().submit(*args, **kwargs)

        submitted = [0]
        with Watched(1) as here:
            _, record["run"] = timed(lambda: study.run(executor=here, progress=False))
            record["run"]["processor_ms_a_cell"] = round(1000 * record["run"]["processor_seconds"] / count, 3)
            record["memory_mib"] = {"at_tenths": [round(m, 1) for m in memory]}
            _, record["go_on"] = timed(lambda: study.run(executor=here, progress=False))
        done = subprocess.run(
            [sys.executable, "-c", FRESH, str(study.folder)], capture_output=True, text=True, check=True
        )
        record["status"] = dict(zip(("seconds", "processor_seconds"), json.loads(done.stdout)))
        keys = [cell.key for cell in study.plan if cell.identity["pruner"] != "dense"][:50]
        fresh = Study.load(study.folder)
        _, record["fifty_masks"] = timed(lambda: [fresh.masks(key) for key in keys])
        files = [file for file in study.folder.rglob("*") if file.is_file()]
        record["files"] = {"of_masks": len(list((study.folder / "masks").iterdir()))}
        record["files"]["other"] = len(files) - record["files"]["of_masks"]
        record["bytes_a_cell"] = round(sum(f.stat().st_size for f in study.store.records.iterdir()) / count)
    write_record(options.output, record)


if __name__ == "__main__":
    main()
