"""Cost of one training step of PCT-Net on the CPU: the published code restated, and MISFM.

    python Testing/Benchmarks/training.py [--network small|full | --quick] [--rounds N]
        [--only "published *" "MISFM bf16 *"] [--threads N] [--json FILE]

Batch 1, patches of 64 x 128 x 128 voxels, resolution mode 1, five classes, Dice and cross-entropy
at four scales, a clipped gradient, Adam. A step is forward, loss, backward and update; MISFM's is
that of ``misfm finetune``. The published network drops a fifth of what passes its three coarse
levels, attention included; MISFM's small network drops nothing, so the published one is timed that
way too. First the gate: with equal weights, chance and no dropout everybody has to find the loss
and the gradient of the published code; whoever does not is reported, not timed. Then rounds in
which all take turns, two steps each of which the second is timed (with ``--quick`` one). CPU
seconds of one thread unless more are asked for.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from forward import LEVEL_CHANNELS, PATCH, an_image
from published import as_published
from rounds import headline, machine, ratio, spread, take_turns
from torch import nn

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.data.datasets import Batch
from MISFMLib.device import inference_precisions
from MISFMLib.memory import keep_freed_memory
from MISFMLib.networks import build_network
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.parameters import build_optimizer

NUM_CLASSES = 5
DROPOUT = (0.0, 0.0, 0.2, 0.2, 0.2)
"""As published."""
QUICK_PATCH: Size = (16, 64, 64)
BOUNDS = {"fp32": 1e-2, "bf16": 0.3}
"""Difference of the gradients as a part of the published one, which is accepted."""
CLIP = 12.0


@dataclass(frozen=True)
class Variant:
    """A network and how it is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    precision: str
    prepare_memory: Callable[[], None]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Compute the loss of a batch."""
        is_bf16 = self.precision == "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
            outputs = self.network(batch.image_BCDHW)
        return SegmentationLoss()(outputs, batch)

    def gradient(self, batch: Batch) -> tuple[float, torch.Tensor]:
        """Return the loss, and the gradient of all weights in one vector."""
        torch.manual_seed(0)
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        named = sorted(self.network.named_parameters())
        return loss.item(), torch.cat([weight.grad.flatten() for _, weight in named])

    def step(self, batch: Batch) -> None:
        """Train once."""
        self.prepare_memory()
        self.optimizer.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()


def give_back_memory() -> None:
    """Undo `keep_freed_memory`, so that the published code runs as in a process of its own."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 65536)
        libc.mallopt(-1, 2**26)
        libc.malloc_trim(0)


def a_network(channels: tuple[int, ...], patch: Size, dropout: tuple[float, ...]) -> Any:
    """Build a network with the same fresh weights every time."""
    torch.manual_seed(0)
    return build_network(
        NetworkConfig(
            num_classes=NUM_CLASSES,
            level_channels=channels,
            resolution_mode=1,
            patch_size=patch,
            deep_supervision=True,
            dropout=dropout,
        )
    )


def published(network: SegmentationNetwork) -> Variant:
    """Return the published network with the published optimizer."""
    network = as_published(network).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    return Variant(network, optimizer, "fp32", give_back_memory)


def misfm(network: SegmentationNetwork, precision: str) -> Variant:
    """Return what ``misfm finetune`` trains."""
    network = network.train().to(memory_format=torch.channels_last_3d)
    optimizer, _rates = build_optimizer(network, "adam", 1e-5, lambda _name: 1.0, fused=True)
    optimizer.param_groups[0]["lr"] = 1e-4
    return Variant(network, optimizer, precision, keep_freed_memory)


def variants(channels: tuple[int, ...], patch: Size) -> dict[str, Variant]:
    """Return everybody; names that end in * have the published dropout."""
    none = (0.0,) * 5
    precisions = inference_precisions("auto", torch.device("cpu"))[::-1]
    return {
        "published *": published(a_network(channels, patch, DROPOUT)),
        "published": published(a_network(channels, patch, none)),
        **{f"MISFM {p} *": misfm(a_network(channels, patch, DROPOUT), p) for p in precisions},
        **{f"MISFM {p}": misfm(a_network(channels, patch, none), p) for p in precisions},
    }


def measure(arguments: argparse.Namespace, patch: Size) -> list[dict[str, Any]]:
    """Gate and time everybody."""
    everybody = variants(LEVEL_CHANNELS[arguments.network], patch)
    image = an_image(patch, seed=0)
    label = (image[:, 0] > 0).long() * torch.randint(1, NUM_CLASSES, image[:, 0].shape)
    batch = Batch(image, label)
    reference_loss, reference = everybody["published"].gradient(batch)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    for name, variant in everybody.items():
        rows[name] = {"variant": name, "passed": True}
        if not name.endswith("*"):
            loss, gradient = variant.gradient(batch)
            error = float((gradient - reference).norm() / reference.norm())
            bound = BOUNDS[variant.precision]
            is_good = error <= bound and abs(loss - reference_loss) <= bound * reference_loss
            rows[name] |= {"passed": is_good, "gradient_error": error}
        if rows[name]["passed"] and name in (arguments.only or everybody):
            runs[name] = lambda variant=variant: variant.step(batch)
            runs[name]()
    turns = take_turns(runs, arguments.rounds, is_warm=not arguments.quick)
    for name, seconds in turns.items():
        rows[name] |= seconds
    return list(rows.values())


def print_table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print one line per variant."""
    print(headline())
    header = f"{'CPU s median (range)':>26}{'ratio':>8}{'gradient error':>16}"
    print(f"PCT-Net {arguments.network:12}{header}")
    first = next(row["cpu_s"] for row in rows if "cpu_s" in row)
    for row in rows:
        error = f"{row['gradient_error']:16.1e}" if "gradient_error" in row else ""
        if "cpu_s" in row:
            relative = ratio(first, row["cpu_s"])
            print(f"{row['variant']:20}{spread(row['cpu_s']):>26}{relative:8.2f}{error}")
        elif not row["passed"]:
            print(f"{row['variant']:20}{'FAILED THE GATE':>34}{error}")
    print("* drops a fifth in the three coarse levels, as published")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="small")
    parser.add_argument("--quick", action="store_true", help="small patches, the small network")
    parser.add_argument("--rounds", type=int, help="rounds that count")
    parser.add_argument("--only", nargs="+", help="variants to time, as they are called here")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.quick:
        arguments.network = "small"
    patch = QUICK_PATCH if arguments.quick else PATCH
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments, patch)
    print_table(arguments, rows)
    if arguments.json:
        content = {"machine": machine(), "patch": patch, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
