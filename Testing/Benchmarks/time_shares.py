"""Where the time goes: kinds of operations of a forward, published and ours.

    python Testing/Benchmarks/time_shares.py [--network small|full] [--quick] [--json FILE]

Windows of 64 x 128 x 128 voxels on one thread, under torch's profiler, which slows small operations
down a little. What each operation itself takes is added up by kind. OpenVINO, which fuses
operations, is not among them; its own share of the machine's peak is in `forward.py`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from forward import LEVEL_CHANNELS, PATCH, QUICK_PATCH, an_image, build_like, in_bf16, networks
from rounds import headline, machine
from torch.profiler import ProfilerActivity, profile

from MISFMLib.device import inference_precisions

KINDS = {
    "convolution": ("convolution", "conv3d", "conv_transpose3d"),
    "linear": ("addmm", "mm", "linear"),
    "attention": ("bmm", "baddbmm", "softmax", "attention"),
    "norm": ("batch_norm", "layer_norm"),
    "activation": ("prelu", "gelu", "relu", "clamp", "where"),
    "copy, pad, roll, gather": (
        *("copy", "pad", "roll", "index", "cat", "clone", "contiguous", "to", "fill", "zero"),
    ),
    "add, multiply": ("add", "mul", "sub", "ne", "masked_fill"),
}
"""Words in the names of operations, the first kind that has one counts."""


def kind_of(name: str) -> str:
    """Return the kind of an operation such as ``aten::native_layer_norm``."""
    words = name.removeprefix("aten::").removeprefix("mkldnn_").strip("_")
    for kind, parts in KINDS.items():
        if any(words == part or (len(part) > 3 and part in words) for part in parts):
            return kind
    return "other"


@torch.inference_mode()
def seconds_by_kind(run: Callable[[], Any]) -> dict[str, float]:
    """Profile a call after one that does not count."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    seconds: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    return dict(seconds)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="full")
    parser.add_argument("--quick", action="store_true", help="small windows")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    patch = QUICK_PATCH if arguments.quick else PATCH
    image = an_image(patch, seed=0)
    published, network = networks(LEVEL_CHANNELS[arguments.network], patch)
    network = build_like(network).to(memory_format=torch.channels_last_3d)
    columns = {
        "published": seconds_by_kind(lambda: published(image)),
        "PyTorch fp32": seconds_by_kind(lambda: network(image)),
    }
    if "bf16" in inference_precisions("auto", torch.device("cpu")):
        columns["PyTorch bf16"] = seconds_by_kind(lambda: in_bf16(network, image))
    print(headline())
    print(f"{f'seconds, PCT-Net {arguments.network}':28}{''.join(f'{n:>16}' for n in columns)}")
    for kind in (*KINDS, "other"):
        cells = "".join(f"{column.get(kind, 0.0):16.3f}" for column in columns.values())
        print(f"{kind:28}{cells}")
    print(f"{'all':28}{''.join(f'{sum(column.values()):16.3f}' for column in columns.values())}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "seconds": columns}, indent=2))


if __name__ == "__main__":
    main()
