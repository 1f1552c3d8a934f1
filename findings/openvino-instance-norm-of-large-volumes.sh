#!/usr/bin/env bash
# OpenVINO's instance norm (MVN over depth, height, width) loses three digits on large volumes: in
# float32 it adds up all voxels of a channel one after the other.
#
# Seen with OpenVINO 2026.4.1 on an x86 CPU with AVX-512, 29 November 2026: behind a convolution of 32
# channels the result is off by 8e-7 of its deviation for 32^3 voxels, 1e-5 for 64^3 and 3e-4 for
# 128^3, the window of nnU-Net's and TotalSegmentator's networks (two threads; 8e-4 with one); the
# convolution alone is exact to 1e-7 and so is PyTorch's norm. EXECUTION_MODE_HINT=ACCURACY changes nothing. ReduceMean has the same
# sums, and two of them in a row are merged into one; with a Reshape between they are not, and exact.
#
# MISFM sums such norms by rows (MISFMLib/inference/row_sums.py).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  openvino==2026.4.1 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

sys.modules["openvino_telemetry"] = None
import numpy as np
import openvino
from openvino import opset13 as ops

CHANNELS = 32
random = np.random.default_rng(0)
weights = (random.normal(size=(CHANNELS, 1, 3, 3, 3)) / 3).astype(np.float32)
AXES = np.array([2, 3, 4])


def run(image, with_norm):
    given = ops.parameter(list(image.shape), np.float32)
    x = ops.convolution(given, weights, [1] * 3, [1] * 3, [1] * 3, [1] * 3)
    if with_norm:
        x = ops.mvn(x, AXES, True, 1e-5, "inside_sqrt")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = openvino.Core().compile_model(openvino.Model([x], [given]), "CPU", settings)
    return next(iter(compiled([image]).values())).copy()


print(f"OpenVINO {openvino.__version__.split('-')[0]}")
errors = {}
for edge in (32, 64, 128):
    image = random.normal(size=(1, 1, edge, edge, edge)).astype(np.float32)
    plain = run(image, with_norm=False)[0].reshape(CHANNELS, -1).astype(np.float64)
    exact = plain - plain.mean(1, keepdims=True)
    exact /= np.sqrt(np.square(exact).mean(1, keepdims=True) + 1e-5)
    normed = run(image, with_norm=True)[0].reshape(CHANNELS, -1)
    errors[edge] = float(np.sqrt(np.square(normed - exact).mean()))
    print(f"{edge}^3 voxels: the instance norm is off by {errors[edge]:.0e} of its deviation")
assert errors[32] < 1e-5 and errors[128] > 1e-4, errors
PYTHON
