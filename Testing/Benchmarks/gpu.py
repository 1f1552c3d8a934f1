"""What an NVIDIA GPU takes: a window, a whole segmentation, memory, and a training step.

    python Testing/Benchmarks/gpu.py [--network full|small] [--parts forward segment memory train]
        [--rounds N] [--device cuda:0] [--quick] [--json FILE]

The same comparisons as on CPUs (`forward.py`, `end_to_end.py`, `training.py`), with random weights
and windows of 64 x 128 x 128 voxels, batch 1: the published network eagerly in float32 and under
autocast, MISFM as ``misfm segment`` and ``misfm finetune`` run it. First the gate: logits near the
published ones, labels near those of MONAI. Then rounds in which the variants take turns; seconds on
the clock, the device being waited for. ``memory`` is the peak of the allocator for a CT of
512 x 512 x 300 and 600 voxels with 14 classes. ``--quick`` takes small volumes, which also a CPU
computes (``--device cpu``), so that the script can be tried without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import monai
from end_to_end import Finest, a_bundle, a_scan, fit_classes, fit_norms, preprocessing
from forward import LEVEL_CHANNELS, PATCH, an_image, networks
from published import as_published
from rounds import machine, ratio, spread, take_turns
from torch import nn
from training import CLIP, DROPOUT, a_network

from MISFMLib.configs import Size
from MISFMLib.data.datasets import Batch
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.device import autocast, inference_precisions
from MISFMLib.inference.cuda_network import CUDANetwork
from MISFMLib.inference.deviation import measure_deviation
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.networks import network_from_bundle
from MISFMLib.networks.folding import fold_norms
from MISFMLib.training.losses import SegmentationLoss
from MISFMLib.training.parameters import build_optimizer

QUICK_PATCH: Size = (16, 64, 64)
SCAN: Size = (192, 320, 320)
QUICK_SCAN: Size = (24, 64, 64)
LONG_SCANS: tuple[Size, ...] = ((300, 512, 512), (600, 512, 512))
LARGEST_ERROR = {"fp32": 1e-2, "bf16": 5e-2, "fp16": 5e-2}
"""As a part of the largest logit; float32 convolutions use TF32 on both sides."""
LEAST_AGREEMENT = 0.95
Runner = Callable[[], Any]


def waited(device: torch.device, run: Runner) -> Runner:
    """Let a run end when the device has."""

    def timed() -> Any:
        result = run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return timed


def under(device: torch.device, precision: str, run: Runner) -> Runner:
    """Run under autocast and without gradients."""

    def computed() -> Any:
        with torch.inference_mode(), autocast(device, precision):
            return run()

    return computed


def forward(arguments: argparse.Namespace, device: torch.device, patch: Size) -> dict[str, Runner]:
    """Return the ways to compute a window that pass the gate."""
    published, network = networks(LEVEL_CHANNELS[arguments.network], patch)
    image = an_image(patch, seed=0).to(device)
    published.to(device)
    network = network.to(device, memory_format=torch.channels_last_3d)
    fold_norms(network)
    precisions = inference_precisions("auto", device)
    runs = {"published fp32": under(device, "fp32", lambda: published(image)[0])}
    for precision in precisions:
        runs[f"published {precision}"] = under(device, precision, lambda: published(image)[0])
        runs[f"MISFM plain {precision}"] = under(device, precision, lambda: network(image))
    for precision in (*precisions, "fp32") if device.type == "cuda" else ():
        graph = CUDANetwork(network, device, precision)
        runs[f"MISFM graph {precision}"] = lambda graph=graph: graph(image)
    reference = runs["published fp32"]()
    for name, run in runs.items():
        deviation = measure_deviation(run(), reference)
        print(f"{name:28}{deviation}")
        if not deviation.max_error <= LARGEST_ERROR[name.split()[-1]]:
            sys.exit(f"{name} lies too far from the published logits.")
    return runs


def segment(arguments: argparse.Namespace, device: torch.device, patch: Size) -> dict[str, Runner]:
    """Return MONAI and MISFM from a volume to labels."""
    scan = QUICK_SCAN if arguments.quick else SCAN
    volume, classes = a_scan(scan)
    image_CDHW = prepare_volume(volume, preprocessing(patch)).image_CDHW
    first = tuple(slice(0, edge) for edge in patch)
    window, count = image_CDHW[(slice(None), *first)][None], int(classes.max()) + 1
    published, network = networks(LEVEL_CHANNELS[arguments.network], patch, count)
    with torch.no_grad():
        fit_norms(network, window)
        fit_classes(network, window, classes[first])
    bundle = a_bundle(Path(arguments.folder) / "model", network, patch)
    published.load_state_dict(network_from_bundle(bundle).state_dict(), strict=False)
    theirs = Finest(published).to(device)
    segmenter = Segmenter.from_bundle(bundle, SegmenterOptions(device=str(device)))
    on_device, best = image_CDHW.to(device), inference_precisions("auto", device)[0]

    def monai_on_device(precision: str) -> Any:
        with autocast(device, precision):
            return monai(on_device, theirs, count, patch)

    def ours() -> Any:
        result = segmenter.segment(volume)
        print(f"  {result.engine}, {result.precision}, {result.timings_s}")
        return result.label_map.array_DHW

    runs: dict[str, Runner] = {
        "MONAI fp32": lambda: monai_on_device("fp32"),
        f"MONAI {best}": lambda: monai_on_device(best),
        "MISFM": ours,
    }
    reference = runs["MONAI fp32"]()
    for name, run in runs.items():
        agreement = float((run() == reference).mean())
        print(f"{name:28}{agreement:.5f} of the labels of MONAI fp32")
        if agreement < LEAST_AGREEMENT:
            sys.exit(f"{name} finds other labels.")
    return runs


def memory(arguments: argparse.Namespace, device: torch.device, patch: Size) -> list[dict]:
    """Return the peak of the device's memory for scans of two lengths."""
    _, network = networks(LEVEL_CHANNELS[arguments.network], patch, num_classes=14)
    bundle = a_bundle(Path(arguments.folder) / "14 classes", network, patch, num_classes=14)
    rows = []
    for scan in (QUICK_SCAN,) if arguments.quick else LONG_SCANS:
        volume, _ = a_scan(scan)
        segmenter = Segmenter.from_bundle(bundle, SegmenterOptions(device=str(device)))
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        result = segmenter.segment(volume)
        row = {"shape": scan, "peak_mib": result.device_peak_bytes / 2**20, "engine": result.engine}
        rows.append(row | {"notices": result.notices, "timings_s": result.timings_s})
        print(f"memory {scan}: {row['peak_mib']:.0f} MiB, {result.engine}, {result.timings_s}")
    return rows


def train(arguments: argparse.Namespace, device: torch.device, patch: Size) -> dict[str, Runner]:
    """Return a training step of the published code and of MISFM, both under autocast."""
    image = an_image(patch, seed=0)
    label = (image[:, 0] > 0).long() * torch.randint(1, 5, image[:, 0].shape)
    batch = Batch(image, label).to(device)
    channels, best = LEVEL_CHANNELS[arguments.network], inference_precisions("auto", device)[0]

    def steps(network: nn.Module, precision: str, optimizer: torch.optim.Optimizer) -> Runner:
        def step() -> None:
            optimizer.zero_grad()
            with autocast(device, precision):
                outputs = network(batch.image_BCDHW)
            SegmentationLoss()(outputs, batch).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()

        return step

    runs = {}
    for precision in dict.fromkeys(("fp32", best)):
        network = as_published(a_network(channels, patch, DROPOUT)).train().to(device)
        adam = torch.optim.Adam(network.parameters(), 1e-4)
        runs[f"published {precision}"] = steps(network, precision, adam)
    for star, dropout in ((" *", DROPOUT), ("", (0.0,) * 5)):
        network = a_network(channels, patch, dropout).train()
        network = network.to(device, memory_format=torch.channels_last_3d)
        is_fused = device.type == "cpu"
        adam, _ = build_optimizer(network, "adam", 1e-5, lambda _name: 1.0, fused=is_fused)
        runs[f"MISFM {best}{star}"] = steps(network, best, adam)
    print("training: * drops a fifth in the three coarse levels, as the published rows do")
    for run in runs.values():
        run()
    return runs


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="full")
    parser.add_argument("--parts", nargs="+", default=["forward", "segment", "memory", "train"])
    parser.add_argument("--rounds", type=int, default=10, help="rounds that count")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true", help="small volumes")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    device, patch = torch.device(arguments.device), QUICK_PATCH if arguments.quick else PATCH
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_cuda else machine()["cpu"]
    content: dict[str, Any] = {"machine": machine(), "device": name, "network": arguments.network}
    print(f"{name}, PCT-Net {arguments.network}, {content['machine']['date']}")
    with tempfile.TemporaryDirectory() as arguments.folder:
        os.environ["MISFM_HOME"] = arguments.folder  # where conversions are kept
        for part in arguments.parts:
            if part == "memory":
                content[part] = memory(arguments, device, patch)
                continue
            runs = {"forward": forward, "segment": segment, "train": train}[part]
            runs = runs(arguments, device, patch)
            waiting = {name: waited(device, run) for name, run in runs.items()}
            content[part] = take_turns(waiting, arguments.rounds, is_warm=not arguments.quick)
            slowest = next(iter(content[part].values()))["wall_s"]
            for name, times in content[part].items():
                seconds = times["wall_s"]
                print(f"{part:9}{name:24}{spread(seconds):>26}{ratio(slowest, seconds):8.2f}x")
    if arguments.json:
        arguments.json.write_text(json.dumps(content, indent=2, default=np.ndarray.tolist), "utf-8")


if __name__ == "__main__":
    main()
