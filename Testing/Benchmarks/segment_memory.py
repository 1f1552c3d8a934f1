"""Peak memory and time of ``misfm segment`` on a synthetic CT, in a fresh process for each row.

    python Testing/Benchmarks/segment_memory.py [--slices 150 300 600] [--uncertainty]
        [--quick] [--json FILE]
    python Testing/Benchmarks/segment_memory.py --many

The CT has 512 x 512 x 600 voxels of 0.8 x 0.8 x 1.0 mm, the model 14 classes and windows of
64 x 128 x 128. Its network is tiny with random weights, since its size is not what is measured; the
features of a real network come on top, and what converting one for OpenVINO takes, which is not
done here. The overlap of the windows changes the time, not the memory,
and is zero unless given.
``--many`` takes TotalSegmentator's 118 classes, its windows and its overlap, and a CT of 512 x 512
x 531 voxels. ``--quick`` takes small volumes of two lengths; the test suite runs it too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from MISFMLib.configs import IntensityConfig, LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.device import cpu_name
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    shape_dhw: tuple[int, int, int] = (600, 512, 512)
    patch_size: tuple[int, int, int] = (64, 128, 128)
    num_classes: int = 14
    overlap: float = 0.0
    spacing_dhw: tuple[float, float, float] | None = None
    """Voxel size of the model in mm; None takes that of the scan."""


FULL = (
    Setting("at the scan's voxel size"),
    Setting("at 1.5 mm and back", spacing_dhw=(1.5, 1.5, 1.5)),
)
MANY = (
    Setting(
        "118 classes at 1.5 mm",
        shape_dhw=(531, 512, 512),
        patch_size=(128, 128, 128),
        num_classes=118,
        overlap=0.2,
        spacing_dhw=(1.5, 1.5, 1.5),
    ),
)
QUICK = (
    Setting("short", shape_dhw=(256, 192, 192), patch_size=(32, 96, 96)),
    Setting("long", shape_dhw=(1024, 192, 192), patch_size=(32, 96, 96)),
)
# Runs a command line, or nothing, and prints the peak memory of the process as its last line.
MEASURED = """
import sys
import MISFMLib.jobs.segment.segment
from MISFMLib.cli import main
from MISFMLib.memory import peak_memory_bytes
code = main(sys.argv[1:]) if sys.argv[1:] else 0
print(peak_memory_bytes())
sys.exit(code)
"""


@dataclass(frozen=True)
class Row:
    """What was measured."""

    setting: Setting
    image_mib: float
    peak_mib: float
    idle_mib: float
    seconds: float
    windows: int
    timings_s: dict[str, float]

    @property
    def over_image_mib(self) -> float:
        """Peak memory above the idle program with the image."""
        return self.peak_mib - self.idle_mib - self.image_mib


def write_scan(path: Path, shape_dhw: tuple[int, int, int]) -> None:
    """Write an elliptic body with noise in air, uncompressed, in HU."""
    rng = np.random.default_rng(0)
    depth, height, width = shape_dhw
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = np.where((rows / 0.7) ** 2 + (columns / 0.9) ** 2 < 1, 40, -1000)
    noise = rng.normal(0, 20, (16, height, width))
    array = np.empty(shape_dhw, np.int16)
    for index in range(depth):
        array[index] = body + noise[index % len(noise)]
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.8, 1.0))
    sitk.WriteImage(image, str(path))


def write_model(folder: Path, setting: Setting) -> None:
    """Write a bundle with a tiny network of random weights."""
    network = NetworkConfig(
        architecture="unet3d",
        num_classes=setting.num_classes,
        level_channels=(2, 4, 4, 4, 4),
        dropout=(0.0,) * 5,
    )
    manifest = BundleManifest(
        name="tiny",
        network=network,
        preprocessing=PreprocessingConfig(
            modality="CT",
            intensity=(IntensityConfig(scheme="ct-clip", clip=(-1000, 1000)),),
            patch_size=setting.patch_size,
            spacing_dhw=setting.spacing_dhw,
        ),
        labels=tuple(
            LabelConfig(value=value, name=f"organ {value}", keep_largest=value == 1)
            for value in range(1, setting.num_classes)
        ),
    )
    torch.manual_seed(0)
    write_bundle(folder, manifest, weights_to_numpy(build_network(network).eval()))


def run(*arguments: str) -> tuple[float, float]:
    """Run ``misfm`` in a fresh process; return its peak memory in MiB and its seconds."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", MEASURED, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) / MIB, time.perf_counter() - start


def measure(setting: Setting, idle_mib: float, folder: Path, *more_options: str) -> Row:
    """Segment the scan of one setting."""
    scan, model, report = folder / "scan.mha", folder / "model", folder / "report.json"
    write_scan(scan, setting.shape_dhw)
    write_model(model, setting)
    command = ["segment", str(scan), "-m", str(model), "-o", str(folder / "out.seg.nrrd")]
    options = ["--device", "cpu", "--engine", "torch", "--events", "json"]
    options += ["--overlap", str(setting.overlap)]
    peak_mib, seconds = run(*command, *options, *more_options, "--report", str(report))
    content = json.loads(report.read_text("utf-8"))
    image_mib = 2 * np.prod(setting.shape_dhw) / MIB
    return Row(
        setting, image_mib, peak_mib, idle_mib, seconds, content["windows"], content["timings_s"]
    )


def print_table(rows: list[Row]) -> None:
    """Print one line per row."""
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    print(f"{'volume':40}{'image':>10}{'peak':>10}{'over image':>12}{'time':>8}{'windows':>9}")
    for row in rows:
        volume = f"{' x '.join(map(str, row.setting.shape_dhw))} {row.setting.name}"
        print(
            f"{volume:40}{row.image_mib:6.0f} MiB{row.peak_mib:6.0f} MiB"
            f"{row.over_image_mib:8.0f} MiB{row.seconds:6.0f} s{row.windows:9}"
        )
        print("  " + ", ".join(f"{stage} {s:.1f} s" for stage, s in row.timings_s.items()))


def settings(arguments: argparse.Namespace) -> Iterator[Setting]:
    """Yield what the command line asks for."""
    for setting in QUICK if arguments.quick else MANY if arguments.many else FULL:
        overlap = setting.overlap if arguments.overlap is None else arguments.overlap
        classes = arguments.classes or setting.num_classes
        chosen = replace(setting, num_classes=classes, overlap=overlap)
        depth, height, width = setting.shape_dhw
        for slices in arguments.slices or [depth]:
            yield replace(chosen, shape_dhw=(slices, height, width))


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small volumes, a few seconds")
    parser.add_argument("--many", action="store_true", help="118 classes")
    parser.add_argument("--classes", type=int, help="classes of the model")
    parser.add_argument("--overlap", type=float, help="overlap of the windows")
    parser.add_argument("--slices", type=int, nargs="+", help="lengths of the scan")
    parser.add_argument("--uncertainty", action="store_true", help="also write the uncertainty")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    rows = []
    idle_mib, _ = run()
    for setting in settings(arguments):
        with tempfile.TemporaryDirectory() as folder:
            more = ["--uncertainty", f"{folder}/u.nrrd"] if arguments.uncertainty else []
            rows.append(measure(setting, idle_mib, Path(folder), *more))
    print_table(rows)
    if arguments.json:
        machine = {"cpu": cpu_name(), "platform": platform.platform(), "torch": torch.__version__}
        content = [{**asdict(row), "over_image_mib": row.over_image_mib} for row in rows]
        text = json.dumps({"machine": machine, "rows": content}, indent=2)
        arguments.json.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
