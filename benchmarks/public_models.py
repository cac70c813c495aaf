"""Whether the Dags of public models of timm equal them bit for bit, how large they are and what tracing takes.

    python benchmarks/public_models.py [--models NAME ...] [--output FILE]

Models are built from their configurations, without weights from elsewhere, and run on two random images of the size
given below, or their own where they take no other. Needs timm. Every model runs in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from measuring import peak_memory, write_record

import topo
from topo.torchvision_import import import_torchvision

OWN_SIZE = None
MODELS = {
    "dm_nfnet_f0": 64,
    "nf_regnet_b0": 64,
    "hrnet_w18_small": 64,
    "res2net50_14w_8s": 64,
    "swinv2_cr_tiny_ns_224": OWN_SIZE,
    "davit_tiny": 64,
    "volo_d1_224": OWN_SIZE,
    "mixer_s32_224": OWN_SIZE,
    "gmixer_12_224": OWN_SIZE,
    "resmlp_12_224": OWN_SIZE,
    "mambaout_femto": 64,
    "maxvit_rmlp_pico_rw_256": OWN_SIZE,
    "fastvit_t8": 64,
    "mobilevit_xxs": 64,
}


def row(name: str) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(1)
    import_torchvision()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    size = MODELS.get(name) or model.default_cfg["input_size"][-1]
    x = torch.randn(2, 3, size, size)
    start = time.process_time()
    dag = topo.trace(model, x[:1])
    traced = time.process_time()
    channels = topo.dag.coupled_channels(dag)
    found = time.process_time()
    with torch.no_grad():
        equal = torch.equal(dag(x), model(x))
    return {
        "model": name,
        "size": size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "nodes": len(dag.nodes),
        "equal": equal,
        "free_samples": bool(dag.symbols),
        "units": channels.count,
        "trace_s": round(traced - start, 1),
        "units_s": round(found - traced, 1),
        "peak_mib": peak_memory(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names of models of timm")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "public_models.json")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.models:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            rows.append(alone.submit(row, name).result())
        print(*rows[-1].values(), sep="\t", flush=True)
    write_record(arguments.output, {"torch": torch.__version__, "machine": platform.machine(), "rows": rows})


if __name__ == "__main__":
    main()
