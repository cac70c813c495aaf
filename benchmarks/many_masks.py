"""Many masks of one network through `topo measure MODEL --masks FOLDER`: seconds and memory, and what 1,000 would take.

    python benchmarks/many_masks.py [--files 60] [--workers 2] [--output FILE]

ResNet-20 on 3x32x32 inputs, random masks at 98%, all metrics. The command runs twice, as a user runs it, on a third of
the files and on all of them: the difference is what a file costs, the rest what starting and tracing cost. Seconds are
of the processor, all threads together, so that what else the machine does matters little; what 1,000 files take on free
cores is worked out from them. Beside it, what encoding a second mask costs when the model is given (its trace is found
again) over encoding from a Dag; and how long `Topometrics` takes with one thread over with two, by turns in one
process, by the clock: only a machine that does nothing else says something there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import times, write_record

import topo

SHAPE, SPARSITY, MANY = (3, 32, 32), 0.98, 1000


def used_by_command(*arguments: str) -> tuple[float, float]:
    """Seconds of the processor and MiB at most that a command takes; it must succeed."""
    process = subprocess.Popen([sys.executable, "-m", "topo", *arguments], stdout=subprocess.DEVNULL)
    peak, ended = 0.0, 0
    while not ended:
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            # What the operating system counts for a child begins with the memory of the process that started it.
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return used.ru_utime + used.ru_stime, peak


def one_thread_over_two(model: torch.nn.Module, masks: list[topo.Masks], repeats: int = 3) -> float:
    """The median over turns of the seconds with one thread over those with two."""

    def seconds(n_jobs: int) -> float:
        measured = topo.Topometrics(example=SHAPE, n_jobs=n_jobs)
        return times(lambda: measured.transform([(model, one) for one in masks]))[0]

    seconds(1)
    return statistics.median(seconds(1) / seconds(2) for _ in range(repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "many_masks.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = topo.models.build("resnet20", input_shape=SHAPE, seed=0)
    masks = topo.prune(model, "er", sparsity=SPARSITY, seed=0)
    dag = topo.trace(model, SHAPE)
    clock = time.process_time
    with_model = min(times(lambda: topo.encode(model, masks, example=SHAPE), 10, clock=clock))
    from_dag = min(times(lambda: topo.encode(dag, masks), 10, clock=clock))
    drawn = [topo.prune(model, "er", sparsity=SPARSITY, seed=seed) for seed in range(options.files)]
    one_over_two = {count: one_thread_over_two(model, drawn[:count]) for count in (4, options.files)}
    few, seconds, peaks = options.files // 3, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for seed, one in enumerate(drawn):
            one.save(Path(folder) / ("few" if seed < few else "rest") / f"{seed}.safetensors")
        used_by_command("measure", "resnet20", "--masks", f"{folder}/few/0.safetensors", "-o", f"{folder}/row.csv")
        for count, parts in ((few, ["few"]), (options.files, ["few", "rest"])):
            named = [word for part in parts for word in ("--masks", f"{folder}/{part}")]
            output = f"{folder}/{count}.parquet"
            seconds[count], peaks[count] = used_by_command(
                *("measure", "resnet20", *named, "-o", output, "--workers", str(options.workers))
            )
    a_file = (seconds[options.files] - seconds[few]) / (options.files - few)
    start = seconds[few] - few * a_file
    record: dict[str, Any] = {
        "what": f"ResNet-20, random masks at {SPARSITY}, all metrics, by topo measure: {few} and {options.files} files",
        "command": f"python benchmarks/many_masks.py --files {options.files}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, which others used too",
        "workers": options.workers,
        "processor_seconds_a_file": a_file,
        "processor_seconds_to_start": start,
        f"minutes_for_{MANY}_on_{options.workers}_free_cores": (start + MANY * a_file) / options.workers / 60,
        "peak_mib": peaks,
        "second_mask_over_encoding_from_a_dag": with_model / from_dag,
        "one_thread_over_two_by_networks": one_over_two,
    }
    write_record(options.output, record)
    for name, value in record.items():
        print(name, value)


if __name__ == "__main__":
    main()
