"""How fast this machine multiplies and copies: what bounds every network on it.

    python Testing/Benchmarks/peak.py [--threads N] [--rounds N] [--json FILE]

The rate of a number format is the highest of a matrix product and of convolutions of an image and a
volume, which stay in the caches: torch multiplies float32 matrices with MKL, which is slow on some
processors, and convolves with oneDNN. Rates are per CPU second of all threads, so they are those of
one core. `forward.py` sets its own rates beside these.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rounds import headline, machine

from MISFMLib.device import inference_precisions

SIDE = 1024
"""Of the square matrices."""
CHANNELS, PIXELS = 256, 56
VOLUME = (128, 8, 8, 8)
"""Channels and voxels."""
COPIED_BYTES = 2**28

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def kernels(precision: str) -> Iterator[tuple[float, Callable[[], Any]]]:
    """Yield operations (a product and a sum count as two) and what computes them."""
    if precision == "int8":
        a, b = (torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8) for _ in range(2))
        yield 2.0 * SIDE**3, lambda: torch._int_mm(a, b)
        return
    dtype = DTYPES[precision]
    c, d = (torch.randn(SIDE, SIDE, dtype=dtype) for _ in range(2))
    yield 2.0 * SIDE**3, lambda: c @ d
    image = torch.randn(1, CHANNELS, PIXELS, PIXELS, dtype=dtype)
    image = image.to(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=dtype)
    weight = weight.to(memory_format=torch.channels_last)
    yield 18.0 * (CHANNELS * PIXELS) ** 2, lambda: F.conv2d(image, weight, padding=1)
    volume = torch.randn(2, *VOLUME, dtype=dtype).to(memory_format=torch.channels_last_3d)
    kernel = torch.randn(VOLUME[0], VOLUME[0], 3, 3, 3, dtype=dtype)
    kernel = kernel.to(memory_format=torch.channels_last_3d)
    work = 2.0 * kernel.numel() * volume[:, 0].numel()
    yield work, lambda: F.conv3d(volume, kernel, padding=1)


@torch.inference_mode()
def peak_gflops(precision: str, rounds: int = 5) -> float:
    """Return the highest rate of a number format, in 1e9 operations per CPU second."""
    return max(work / fastest_s(run, rounds) / 1e9 for work, run in kernels(precision))


def copy_gb_per_s(rounds: int = 5) -> float:
    """Return how fast memory is copied, in 1e9 bytes per CPU second, read and written once each."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / fastest_s(lambda: target.copy_(source), rounds) / 1e9


def fastest_s(run: Callable[[], Any], rounds: int) -> float:
    """Return the CPU seconds of the fastest of some calls, after two that do not count."""
    seconds = []
    for _ in range(rounds + 2):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds[2:])


def precisions() -> list[str]:
    """Return the number formats that this CPU computes fast, float32 first."""
    has_bf16 = "bf16" in inference_precisions("auto", torch.device("cpu"))
    return ["fp32", *(["bf16"] if has_bf16 else []), "int8"]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rates = {name: peak_gflops(name, arguments.rounds) for name in precisions()}
    copied = copy_gb_per_s(arguments.rounds)
    print(headline())
    for name, rate in rates.items():
        print(f"{name:8}{rate:10.0f} GFLOP/s")
    print(f"{'copy':8}{copied:10.0f} GB/s")
    if arguments.json:
        content = {"machine": machine(), "gflops": rates, "copy_gb_per_s": copied}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
