"""Cost of the sliding-window driver alone: ours, MONAI's, and the published one restated.

    python Testing/Benchmarks/driver.py [--full | --quick] [--json FILE]

From a prepared volume to a label map on the same grid, with a network that costs nearly nothing:
every class is a straight line of the intensity, so all drivers must find the same labels, and do
(the gate). Windows of 64 x 128 x 128 voxels at an overlap of a half; 2, 5 and 14 classes; one
thread. Times are CPU seconds, which other programs change less than time on the clock, in rounds
that take the drivers in turn; memory is the peak of a fresh process over one that only makes the
volume. ``--quick`` takes a small volume, and no memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from MISFMLib.configs import LabelConfig, Size
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.device import cpu_name
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.sliding_window import iterate_slabs
from MISFMLib.inference.windows import WindowConfig, count_windows, window_starts
from MISFMLib.memory import peak_memory_bytes
from MISFMLib.volumes.volume import Geometry

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
MIB = 2**20
LEAST_AGREEMENT = 0.99999
"""Part of the voxels with the same label; rounding decides where two classes are equal."""


@dataclass(frozen=True)
class Setting:
    """What is computed."""

    shape: Size
    patch: Size
    classes: tuple[int, ...]
    rounds: int


FULL = Setting((192, 320, 320), (64, 128, 128), (2, 5, 14), 3)
NORMAL = Setting((96, 192, 192), (64, 128, 128), (2, 5, 14), 5)
QUICK = Setting((48, 96, 96), (32, 64, 64), (2, 14), 3)


class Lines(nn.Module):
    """Logits (B, K, d, h, w) that are tangents of a parabola, so that each class wins somewhere."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        centres = torch.linspace(-1.5, 1.5, num_classes).view(1, -1, 1, 1, 1)
        self.slopes, self.offsets = 2 * centres, -centres.square()

    def forward(self, image_B1dhw: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return torch.addcmul(self.offsets, image_B1dhw, self.slopes)


def a_volume(shape: Size) -> torch.Tensor:
    """Return smooth intensities (1, D, H, W) between -2 and 2."""
    volume_1DHW = torch.zeros(1, *shape)  # filled in place: its peak shall hide none of a driver's
    for axis, size in enumerate(shape):
        wave = torch.linspace(axis, 9 + axis, size).sin() / 1.5
        volume_1DHW += wave.view([-1 if other == axis else 1 for other in range(3)])
    return volume_1DHW


# --------------------------------------------------------------------------------- the drivers


def ours(image: torch.Tensor, network: nn.Module, num_classes: int, patch: Size) -> np.ndarray:
    """Slabs of logits, restored to the volume's grid."""
    _, depth, height, width = image.shape
    shape = (depth, height, width)
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    record = SpatialRecord(geometry, (0, 1, 2), (False,) * 3, (0, 0, 0), shape, shape)
    labels = [LabelConfig(value=value, name=str(value)) for value in range(1, num_classes)]
    restorer = LabelRestorer(record, labels)
    for slab in iterate_slabs(network, image, WindowConfig(patch_size=patch)):
        restorer.add(slab)
    return restorer.label_map().array_DHW


def monai(image: torch.Tensor, network: nn.Module, _num_classes: int, patch: Size) -> np.ndarray:
    """MONAI's function with the same windows and Gaussian weights, then arg max."""
    with torch.inference_mode():
        logits = sliding_window_inference(
            image[None], patch, 1, network, overlap=0.5, mode="gaussian"
        )
        return logits[0].argmax(0).to(torch.uint8).numpy()


def published(image: torch.Tensor, network: nn.Module, num_classes: int, patch: Size) -> np.ndarray:
    """The published driver's way: every listed window, weights per class in float64, softmax."""
    impulse = np.zeros(patch)
    impulse[tuple(edge // 2 for edge in patch)] = 1
    sigmas = [edge / 8 for edge in patch]
    weight = scipy.ndimage.gaussian_filter(impulse, sigmas, mode="constant", truncate=4)
    weight_Kdhw = torch.from_numpy(weight).expand(num_classes, *patch).contiguous()
    sums_KDHW = torch.zeros(num_classes, *image.shape[1:])
    weights_KDHW = torch.zeros_like(sums_KDHW)
    starts = [window_starts(n, p, 0.5) for n, p in zip(image.shape[1:], patch, strict=True)]
    for start in np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3).tolist():
        cut = (slice(None), *(slice(s, s + p) for s, p in zip(start, patch, strict=True)))
        with torch.inference_mode():
            sums_KDHW[cut] += network(image[cut][None])[0] * weight_Kdhw
            weights_KDHW[cut] += weight_Kdhw
    probabilities_KDHW = (sums_KDHW / weights_KDHW).softmax(0).numpy()
    return probabilities_KDHW.argmax(0).astype(np.uint8)


Driver = Callable[[torch.Tensor, nn.Module, int, Size], np.ndarray]
DRIVERS: dict[str, Driver] = {"ours": ours, "MONAI": monai, "published": published}


# ------------------------------------------------------------------------------------ measuring


def check_labels(setting: Setting, num_classes: int) -> None:
    """Refuse to time drivers that do not find the same labels."""
    image, network = a_volume(setting.shape), Lines(num_classes)
    expected = network(image[None])[0].argmax(0).numpy()
    for name, driver in DRIVERS.items():
        labels = driver(image, network, num_classes, setting.patch)
        agreement = float((labels == expected).mean())
        if agreement < LEAST_AGREEMENT:
            sys.exit(f"{name} finds other labels: {agreement:.6f} agree.")


def times_of(setting: Setting, num_classes: int) -> dict[str, list[float]]:
    """Return CPU seconds of each driver, round by round."""
    image, network = a_volume(setting.shape), Lines(num_classes)
    times: dict[str, list[float]] = {name: [] for name in DRIVERS}
    for _ in range(setting.rounds):
        for name, driver in DRIVERS.items():
            start = time.process_time()
            driver(image, network, num_classes, setting.patch)
            times[name].append(time.process_time() - start)
    return times


def peak_mib(arguments: argparse.Namespace, name: str, num_classes: int) -> float:
    """Return the peak memory of a fresh process that runs one driver, or none."""
    size = ["--full"] if arguments.full else []
    command = [sys.executable, __file__, *size, "--only", name, "--classes", str(num_classes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def run_only(setting: Setting, name: str, num_classes: int) -> None:
    """Run one driver and print the peak memory of this process in MiB."""
    image = a_volume(setting.shape)
    if name in DRIVERS:
        DRIVERS[name](image, Lines(num_classes), num_classes, setting.patch)
    print(peak_memory_bytes() / MIB)


def rows_of(setting: Setting, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure everything; one row for each driver and number of classes."""
    rows = []
    for num_classes in setting.classes:
        check_labels(setting, num_classes)
        idle_mib = None if arguments.quick else peak_mib(arguments, "none", num_classes)
        for name, seconds in times_of(setting, num_classes).items():
            row = {"classes": num_classes, "driver": name, "cpu_s": seconds}
            if idle_mib is not None:
                row["over_volume_mib"] = peak_mib(arguments, name, num_classes) - idle_mib
            rows.append(row)
    return rows


def print_table(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Print one line per row, with the ratio to our driver."""
    windows = count_windows(setting.shape, WindowConfig(patch_size=setting.patch))
    size = " x ".join(map(str, setting.shape))
    print(f"{cpu_name()}, 1 thread, load {os.getloadavg()[0]:.1f}; {size}, {windows} windows")
    print(f"{'classes':>7}  {'driver':10}{'CPU s median (range)':>26}{'ratio':>8}{'memory':>12}")
    for row in rows:
        seconds = row["cpu_s"]
        own = next(
            other["cpu_s"]
            for other in rows
            if other["driver"] == "ours" and other["classes"] == row["classes"]
        )
        ratio = statistics.median(seconds) / statistics.median(own)
        times = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        memory = f"{row['over_volume_mib']:.0f} MiB" if "over_volume_mib" in row else "-"
        print(f"{row['classes']:7}  {row['driver']:10}{times:>26}{ratio:8.1f}{memory:>12}")


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="192 x 320 x 320 voxels")
    size.add_argument("--quick", action="store_true", help="a small volume, times only")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setting = FULL if arguments.full else QUICK if arguments.quick else NORMAL
    if arguments.only:
        run_only(setting, arguments.only, arguments.classes)
        return
    rows = rows_of(setting, arguments)
    print_table(setting, rows)
    if arguments.json:
        machine = {"cpu": cpu_name(), "torch": torch.__version__, "load": os.getloadavg()}
        content = {"machine": machine, "shape": setting.shape, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=2), "utf-8")


if __name__ == "__main__":
    main()
