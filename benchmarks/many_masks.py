"""Many masks of one network through `topo.features.measure_mask_files`, with one thread and with several.

    python benchmarks/many_masks.py [--files 20] [--threads 2] [--output FILE]

ResNet-20 on 3x32x32 inputs, random masks at 98%, all metrics; the ways take turns, and each keeps its best round.
Beside it, what a second mask costs when the model is given (its trace is found again) over encoding from a Dag.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
from pathlib import Path
from typing import Any

import torch
from measuring import peak_memory, times, write_record

import topo
from topo.features import measure_mask_files
from topo.features.preparation import prepare_kernels

SHAPE, SPARSITY, ROUNDS = (3, 32, 32), 0.98, 3


def processor_seconds() -> float:
    """Of this process, all threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "many_masks.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare_kernels()
    model = topo.models.build("resnet20", input_shape=SHAPE, seed=0)
    masks = topo.prune(model, "er", sparsity=SPARSITY, seed=0)
    dag = topo.trace(model, SHAPE)
    with_model = min(times(lambda: topo.encode(model, masks, example=SHAPE), 10))
    from_dag = min(times(lambda: topo.encode(dag, masks), 10))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.safetensors" for seed in range(options.files)]
        for seed, file in enumerate(files):
            topo.prune(model, "er", sparsity=SPARSITY, seed=seed).save(file)
        measure_mask_files(model, files[:1], example=SHAPE, verbose=False)
        peak = peak_memory()
        best: dict[int, list[float]] = {}
        for _ in range(ROUNDS):
            for threads in (1, options.threads):
                before = processor_seconds()
                seconds = times(
                    lambda n=threads: measure_mask_files(model, files, example=SHAPE, n_jobs=n, verbose=False)
                )[0]
                used = processor_seconds() - before
                best[threads] = [min(pair) for pair in zip(best.get(threads, [seconds, used]), [seconds, used])]
    record: dict[str, Any] = {
        "what": f"ResNet-20, {options.files} random masks at {SPARSITY}, all metrics, best of {ROUNDS} rounds",
        "command": "python benchmarks/many_masks.py",
        "machine": platform.machine(),
        "threads": options.threads,
        "seconds_a_file": {n: wall / options.files for n, (wall, _) in best.items()},
        "processor_seconds_a_file": {n: used / options.files for n, (_, used) in best.items()},
        "times_as_fast": best[1][0] / best[options.threads][0],
        "mib_more_than_for_one_file": peak_memory() - peak,
        "second_mask_over_encoding_from_a_dag": with_model / from_dag,
    }
    write_record(options.output, record)
    for name, value in record.items():
        print(name, value)


if __name__ == "__main__":
    main()
