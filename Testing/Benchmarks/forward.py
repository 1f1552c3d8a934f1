"""Cost of one forward of PCT-Net on the CPU: the published code restated, PyTorch, OpenVINO.

    python Testing/Benchmarks/forward.py [--network small|full | --quick] [--rounds N]
        [--threads N] [--int8] [--json FILE]

Batch 1, windows of 64 x 128 x 128 voxels, resolution mode 1, two classes, random weights with norms
and biases that matter. The published network computes the logits of four levels, as its demo sets
it; a bundle's network those of the finest only. First the gate: logits of every variant beside the
published ones; a variant beyond its bound is reported, not timed. Then rounds in which the variants
take turns. Times are CPU seconds of one thread unless more are asked for, since other programs of
the machine change them less than the time on the clock, which is in the JSON. The share of the peak
is the rate at which the network's products and sums are computed beside the highest that the
machine reached in this number format just before and after (`peak.py`).
``--int8`` adds OpenVINO in int8, quantised by NNCF with four windows, where NNCF is installed.
``--quick`` takes small windows and two rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peak import peak_gflops
from published import as_published
from rounds import headline, machine, ratio, spread, take_turns
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.device import inference_precisions
from MISFMLib.inference import openvino_conversion, openvino_network, quantization
from MISFMLib.inference.deviation import Deviation, measure_deviation
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.networks import build_network
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.folding import fold_norms

LEVEL_CHANNELS = {"full": (24, 48, 128, 256, 512), "small": (8, 16, 32, 64, 128)}
PATCH: Size = (64, 128, 128)
QUICK_PATCH: Size = (16, 64, 64)
EXACT = Deviation(1e-5, 1e-5, 0.9999)
BF16 = Deviation(5e-2, 1e-2, 0.0)
INT8 = Deviation(0.2, 5e-2, 0.0)
"""Bounds of the gate. Classes of a random network are too close for their agreement to tell."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to compute the forward."""

    run: Callable[[], torch.Tensor]
    bound: Deviation
    precision: str = "fp32"


def networks(
    channels: tuple[int, ...], patch: Size, num_classes: int = 2
) -> tuple[SegmentationNetwork, SegmentationNetwork]:
    """Return the published network and the one of a bundle, with the same weights."""
    config = NetworkConfig(
        num_classes=num_classes,
        level_channels=channels,
        resolution_mode=1,
        patch_size=patch,
        deep_supervision=True,
    )
    torch.manual_seed(0)
    network = build_network(config).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            nn.init.uniform_(tensor, 0.5, 1.5)
        elif name.endswith(("running_mean", "bias", "bias_table")):
            nn.init.normal_(tensor, std=0.2)
    published = as_published(network)
    network.config = dataclasses.replace(network.config, deep_supervision=False)
    network.heads = network.heads[:1]
    return published, network


def an_image(patch: Size, seed: int) -> torch.Tensor:
    """Return a bright ellipsoid in noise (1, 1, d, h, w)."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in patch), indexing="ij", sparse=True)
    ball = np.where(sum(axis**2 for axis in axes) < 0.5, 0.5, -0.5)
    noise = np.random.default_rng(seed).normal(0, 0.3, patch)
    return torch.from_numpy((ball + noise).astype(np.float32))[None, None]


@torch.inference_mode()
def gflop(network: nn.Module, image: torch.Tensor) -> float:
    """Count the products and sums of a forward, in 1e9."""
    # The fused attention is not counted, its plain form is.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops()) / 1e9


def in_bf16(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Run a network under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network(image)


def variants(
    network: SegmentationNetwork, image: torch.Tensor, with_int8: bool
) -> Iterator[tuple[str, Variant]]:
    """Yield our ways to compute the network, slowest first."""
    has_bf16 = "bf16" in inference_precisions("auto", torch.device("cpu"))
    plain = network.to(memory_format=torch.contiguous_format)
    yield "PyTorch fp32, default layout", Variant(lambda: plain(image), EXACT)
    network = build_like(network).to(memory_format=torch.channels_last_3d)
    fold_norms(network)  # as when a model is loaded to segment
    yield "PyTorch fp32", Variant(lambda: network(image), EXACT)
    if has_bf16:
        yield "PyTorch bf16", Variant(lambda: in_bf16(network, image), BF16, "bf16")
    problem = openvino_network.why_unavailable()
    if problem:
        print(problem)
        return
    model = openvino_conversion.convert(network, image)
    threads = torch.get_num_threads()
    formats = {"fp32": EXACT, **({"bf16": BF16} if has_bf16 else {})}
    for precision, bound in formats.items():
        compiled = OpenVINONetwork(model, precision, threads)
        yield f"OpenVINO {precision}", Variant(lambda run=compiled: run(image), bound, precision)
    if with_int8:
        windows = [an_image(tuple(image.shape[2:]), seed) for seed in range(1, 5)]
        int8 = quantization.quantize(model, windows, accurate=False)
        compiled = OpenVINONetwork(int8, "int8", threads)
        yield "OpenVINO int8", Variant(lambda run=compiled: run(image), INT8, "int8")


def build_like(network: SegmentationNetwork) -> SegmentationNetwork:
    """Return a copy of a network."""
    copy = build_network(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.eval()


@torch.inference_mode()
def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Gate and time all variants of one network."""
    patch = QUICK_PATCH if arguments.quick else PATCH
    image = an_image(patch, seed=0)
    published, network = networks(LEVEL_CHANNELS[arguments.network], patch)
    reference = published(image)[0]
    runs: dict[str, Callable[[], Any]] = {"published": lambda: published(image)}
    rows = {"published": {"variant": "published", "precision": "fp32"}}
    with torch.no_grad():
        network(image)  # fills what it keeps between calls
        ours = list(variants(network, image, arguments.int8))
    for name, variant in ours:
        deviation = measure_deviation(variant.run(), reference)
        is_good = not deviation.exceeds(variant.bound)
        rows[name] = {
            "variant": name,
            "precision": variant.precision,
            "passed": is_good,
            "max_error": deviation.max_error,
            "rms_error": deviation.rms_error,
        }
        if is_good:
            runs[name] = variant.run
    work = gflop(network, image)
    before = {name: peak_gflops(name) for name in {row["precision"] for row in rows.values()}}
    times = take_turns(runs, arguments.rounds)
    peaks = {name: max(rate, peak_gflops(name)) for name, rate in before.items()}
    for name, seconds in times.items():
        rate = work / statistics.median(seconds["cpu_s"])
        rows[name] |= {
            **seconds,
            "ratio": ratio(times["published"]["cpu_s"], seconds["cpu_s"]),
            "gflops": rate,
            "share_of_peak": rate / peaks[rows[name]["precision"]],
        }
    return list(rows.values())


def print_table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print one line per variant."""
    print(headline())
    header = (
        f"{'CPU s median (range)':>26}{'ratio':>8}{'GFLOP/s':>9}{'of peak':>9}"
        f"{'max error':>11}{'rms':>10}"
    )
    print(f"PCT-Net {arguments.network:21}{header}")
    for row in rows:
        errors = f"{row['max_error']:11.1e}{row['rms_error']:10.1e}" if "max_error" in row else ""
        if "cpu_s" in row:
            speed = f"{row['ratio']:8.2f}{row['gflops']:9.0f}{row['share_of_peak']:9.0%}"
            print(f"{row['variant']:29}{spread(row['cpu_s']):>26}{speed}{errors}")
        else:
            print(f"{row['variant']:29}{'FAILED THE GATE':>34}{errors}")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="full")
    parser.add_argument("--quick", action="store_true", help="small windows of the small network")
    parser.add_argument("--rounds", type=int, help="rounds that count")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--int8", action="store_true", help="also int8, which takes a minute")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    if arguments.quick:
        arguments.network = "small"
    if arguments.int8 and importlib.util.find_spec("nncf") is None:
        sys.exit("--int8 needs NNCF: pip install nncf")
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments)
    print_table(arguments, rows)
    if arguments.json:
        content = {"machine": machine(), "network": arguments.network, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
