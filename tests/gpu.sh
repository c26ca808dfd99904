#!/usr/bin/env bash
# Everything that only a machine with a GPU can tell, in nine minutes: tests/gpu.sh [OUT] [--seconds 540]
#
# Needs torch, numpy, scikit-learn, safetensors, hypothesis and, for the CUDA tests, pytest; iplab need not be
# installed, and no service runs. MNIST and CIFAR-10 are taken from the folder IPLAB_DATA, where there is one
# (`python -m tests.gpu.data` makes a CIFAR-10 that is small enough to carry). PYTHON names the interpreter.
# JSON is written to the folder OUT after each part; run again with the same OUT, the sweep goes on where it
# ended. Where no GPU is there, a miniature of each part runs on the CPU in under a minute.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
own=$root/.venv/bin/python
if [[ -z ${PYTHON:-} ]]; then
    if [[ -x $own ]]; then PYTHON=$own; else PYTHON=python3; fi
fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "$PYTHON" -m tests.gpu "$@"
