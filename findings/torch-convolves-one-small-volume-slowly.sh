#!/usr/bin/env bash
# On a CPU, PyTorch convolves one small volume in float32 up to several times as slowly as two of them.
#
# Seen with torch 2.13.0 (CPU), nn.Conv3d, one thread, on an AMD EPYC with AVX2 alone, 30 November 2026.
# Where the batch is one volume and its channels x depth x height are at most 20480 (the width does
# not count), PyTorch computes with a way of its own, aten::slow_conv3d_forward, instead of oneDNN;
# that comes from a measurement of flat convolutions in 2020. The backward pass follows. A layer with
# 16 channels in and out, kernel 3, on 32 x 32 x 32 voxels: 91 ms for one volume, 15 ms for two, and
# with the gradients 272 and 81 ms. Whole networks (this project's small U-Net, patch 32 x 48 x 32,
# forward, loss, backward and update): 0.59 s for one patch, 0.35 s for two. By its source bfloat16
# goes to oneDNN where the CPU has it; that was not timed. A second volume of zeros beside the one cures it.
#
# Why it matters here: batches of one are what `--accumulate 2` trains with, and a case of one window
# is segmented as; networks/blocks.py adds the second volume. MONAI's and nnU-Net's own programs
# segment window by window, and train with small batches where memory is short.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import time

import torch

torch.set_num_threads(1)
conv = torch.nn.Conv3d(16, 16, 3, padding=1)


def step(count):
    conv.zero_grad()
    conv(torch.ones(count, 16, 32, 32, 32)).sum().backward()


def seconds(count):
    taken = []
    for _ in range(7):
        start = time.process_time()
        step(count)
        taken.append(time.process_time() - start)
    return min(taken)


def called(count):
    with torch.autograd.profiler.profile() as profile:
        step(count)
    return {event.name for event in profile.function_events}


one, two = seconds(1), seconds(2)
print(f"forward and backward: one volume {1000 * one:.0f} ms, two {1000 * two:.0f} ms")
assert "aten::slow_conv3d_forward" in called(1) - called(2), "PyTorch behaves otherwise now"
assert one > two, "PyTorch behaves otherwise now"
PYTHON
