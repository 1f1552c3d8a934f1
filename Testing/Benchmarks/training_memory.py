"""Peak memory of a training step with the inner features of more and more levels computed again.

    python Testing/Benchmarks/training_memory.py [--network small|full] [--precision bf16|fp32]
        [--batch-size N] [--patch D H W] [--json FILE]

Each row is a fresh process on the CPU that takes two training steps as ``misfm finetune
--recompute-levels N`` does: weights, gradients, both moments of AdamW, and the features. Its memory
after the imports is subtracted. A GPU holds the same tensors, and the work space of its
convolutions on top.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from forward import LEVEL_CHANNELS, PATCH, an_image
from rounds import headline, machine
from training import DROPOUT, NUM_CLASSES, Variant, a_network

from MISFMLib.data.datasets import Batch
from MISFMLib.networks.base import recompute_levels
from MISFMLib.training.parameters import build_optimizer

LEVELS = range(6)
STEPS = 2
_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_MIB


def one_row(arguments: argparse.Namespace) -> dict[str, float]:
    """Train in this process."""
    patch, size = tuple(arguments.patch), arguments.batch_size
    torch.set_num_threads(1)
    image = torch.cat([an_image(patch, seed=index) for index in range(size)])
    label = (image[:, 0] > 0).long() * torch.randint(1, NUM_CLASSES, image[:, 0].shape)
    batch, before = Batch(image, label), peak_mib()
    dropout = DROPOUT if arguments.network == "full" else (0.0,) * 5  # as in the presets
    network = a_network(LEVEL_CHANNELS[arguments.network], patch, dropout).train()
    network = network.to(memory_format=torch.channels_last_3d)
    recompute_levels(network, arguments.levels)
    optimizer, _rates = build_optimizer(network, "adamw", 1e-5, lambda _name: 1.0, fused=True)
    variant = Variant(network, optimizer, arguments.precision, lambda: None)
    start = time.process_time()
    for _ in range(STEPS):
        variant.step(batch)
    return {"peak_mib": peak_mib() - before, "cpu_s": (time.process_time() - start) / STEPS}


def fresh_row(levels: int) -> dict[str, float]:
    """Train in a process of its own."""
    command = [sys.executable, *sys.argv, "--levels", str(levels)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ).stdout
    row: dict[str, float] = json.loads(output)
    return row


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="full")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--patch", type=int, nargs=3, default=PATCH)
    parser.add_argument("--levels", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    if arguments.levels is not None:
        print(json.dumps(one_row(arguments)))
        return
    print(headline())
    print(f"{arguments.network} PCT-Net, {arguments.precision}, batch {arguments.batch_size} of")
    print(f"{tuple(arguments.patch)} voxels\nlevels  peak MiB  CPU s a step")
    rows = {}
    for levels in LEVELS:
        rows[levels] = row = fresh_row(levels)
        print(f"{levels:6}{row['peak_mib']:10.0f}{row['cpu_s']:14.1f}", flush=True)
    if arguments.json:
        content = {"machine": machine(), **vars(arguments), "json": "", "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
