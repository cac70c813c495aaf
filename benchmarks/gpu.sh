#!/usr/bin/env bash
# Check and time topo on a GPU against the CPU, in ten minutes; one exit status for all checks.
#
#   benchmarks/gpu.sh [--dry-run] [--seconds 600] [--data-root FOLDER] [--out FOLDER]
#
# Pruners and training on both devices, bfloat16 and channels-last, times, then as many networks of CIFAR-10 as fit
# into what is left of the time. --dry-run does all of it on the CPU alone, with small numbers, in a minute or two, to
# see that it is complete. FOLDER/cifar10 holds the images; without it the comparison draws shapes. Results are gpu.json
# and the study's folder, in benchmarks/results/gpu unless told otherwise. Tolerances are stated in benchmarks/gpu.py.
set -euo pipefail

seconds=600 dry="" data_root="" here=$(cd "$(dirname "$0")/.." && pwd)
out="$here/benchmarks/results/gpu"
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=1 ;;
        --seconds) seconds=$2; shift ;;
        --data-root) data_root=$2; shift ;;
        --out) out=$2; shift ;;
        *) echo "gpu.sh: unknown option $1; see the head of the file." >&2; exit 2 ;;
    esac
    shift
done
python=${PYTHON:-$here/.venv/bin/python}
[ -x "$python" ] || python=python3
started=$(date +%s)
mkdir -p "$out"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

status=0
"$python" "$here/benchmarks/gpu.py" ${dry:+--dry-run} --seconds $((seconds * 6 / 10)) --out "$out" || status=$?

# What is left goes to networks: a study goes on where it was stopped, so that another call adds to it.
"$python" "$here/benchmarks/gpu.py" ${dry:+--dry-run} --study --data-root "$data_root" --out "$out"
left=$((seconds - ($(date +%s) - started) - 10))
[ $left -gt 20 ] || left=20
workers=4
[ -z "$dry" ] || workers=1
echo "networks for $left s:"
timeout --signal=INT --kill-after=10 "$left" "$python" -m topo study run "$out/study.yaml" --into "$out/study" \
    --workers $workers ${dry:+--device cpu} || [ $? -eq 124 ] || status=1
"$python" "$here/benchmarks/gpu.py" --summary --out "$out"
exit $status
