"""The panel's forecast of time and memory beside what a segmentation really takes, by size.

    python Testing/Benchmarks/forecast.py [--network small|full] [--classes 118]
        [--sizes 40x40x40 ...] [--quick] [--json FILE]

A CT of every size is segmented twice by a fresh worker, as the panel does it but for the exchange
with the scene, at 1.5 mm and with five classes unless told otherwise. Before the first run this
computer knows nothing but the window that the worker measures; before the second also the first.
``after the smallest`` is what the panel says of a size when only the smallest was ever run:
one tiny run must not mislead it. The ratio is truth / forecast: 1 is right, 2 means half was
announced.
Seconds are CPU seconds of one thread, which other programs change less than those on the clock.
``--quick`` takes two small volumes; the test suite runs it too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import SimpleITK as sitk
from forward import LEVEL_CHANNELS
from rounds import headline, machine
from segment_memory import REPOSITORY, write_scan

from MISFMLib.configs import IntensityConfig, LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.events import Failed, Finished, Measured
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.networks import build_network, weights_to_numpy

sys.path.insert(0, str(REPOSITORY / "MISFM"))

from MISFMSlicer.Jobs.JobRunner import JobRunner
from MISFMSlicer.Panel.Forecast import Forecast, History, Run
from MISFMSlicer.Panel.Workload import Grid, Workload, workload

SIZES = ("40x40x40", "64x128x128", "100x192x192", "150x256x256", "300x512x512", "600x512x512")
QUICK = ("24x24x24", "40x64x64")
SPACING = (1.0, 0.8, 0.8)
CLASSES = 5


class Settings(dict):
    """What a QSettings does here."""

    def value(self, key: str) -> Any:
        """Return a value, or None."""
        return self.get(key)

    def setValue(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value


def write_model(
    folder: Path, channels: tuple[int, ...], patch: tuple[int, int, int], classes: int
) -> Any:
    """Write a PCT-Net with random weights; return its manifest."""
    network = NetworkConfig(num_classes=classes, level_channels=channels)
    manifest = BundleManifest(
        name="benchmark",
        network=network,
        preprocessing=PreprocessingConfig(
            modality="CT",
            intensity=(IntensityConfig(scheme="ct-clip", clip=(-1000, 1000)),),
            patch_size=patch,
            spacing_dhw=(1.5, 1.5, 1.5),
        ),
        labels=tuple(LabelConfig(value=v, name=f"organ {v}") for v in range(1, classes)),
    )
    return write_bundle(folder, manifest, weights_to_numpy(build_network(network).eval())).manifest


class Worker:
    """The panel's worker, on one thread, with a home of its own: nothing converted is kept."""

    def __init__(self, model: Path, home: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MISFM_HOME": str(home)}
        command = (sys.executable, "-m", "MISFMLib", "serve", "--events", "json")
        self._runner = JobRunner(command, environment=environment)
        self._config = {"model": str(model), "device": "cpu", "threads": 1}

    def measure(self) -> Measured:
        """Load the model and measure a window."""
        self._runner.prepare()
        start, cpu = time.monotonic(), 0.0
        self._runner.prepare(self._config, measures=True)
        measured = self._wait(Measured)
        share = self._share(start, cpu)
        return Measured(**{**vars(measured), "window_s": measured.window_s * share})

    def run(self, scan: Path) -> tuple[dict[str, Any], float]:
        """Segment; return the report and the CPU seconds."""
        job = scan.with_name("job.json")
        files = {"images": [scan.name], "output": "result.seg.nrrd", "overwrite": True}
        job.write_text(json.dumps({"job": "segment", "config": {**self._config, **files}}), "utf-8")
        start, cpu = time.monotonic(), self._cpu()
        self._runner.start(job)
        report = self._wait(Finished).report
        share = self._share(start, cpu)
        report["timings_s"] = {name: s * share for name, s in report["timings_s"].items()}
        return report, self._cpu() - cpu

    def close(self) -> None:
        """End it."""
        self._runner.close()

    def _wait(self, kind: type) -> Any:
        while True:
            for event in self._runner.poll():
                if isinstance(event, Failed):
                    sys.exit(f"{event.message} {event.traceback}")
                if isinstance(event, kind):
                    return event
            time.sleep(0.02)

    def _cpu(self) -> float:
        (process,) = psutil.Process().children()
        times = process.cpu_times()
        return float(times.user + times.system)

    def _share(self, start: float, cpu: float) -> float:
        """Return which part of the time since then the worker had a core."""
        return min(1.0, (self._cpu() - cpu) / (time.monotonic() - start))


def measure(size: str, manifest: Any, model: Path, folder: Path) -> dict[str, Any]:
    """Forecast and run one size twice."""
    shape = tuple(map(int, size.split("x")))
    write_scan(folder / "scan.mha", shape)
    sitk.WriteImage(sitk.ReadImage(str(folder / "scan.mha")), str(folder / "scan.nrrd"))
    work = work_of(folder / "scan.nrrd", manifest)
    history, worker = History(Settings()), Worker(model, folder / "home")
    history.keep("model", worker.measure())
    runs = []
    for isFirst in (True, False):
        forecast = history.forecast("model", work, isWarm=True)
        report, seconds = worker.run(folder / "scan.nrrd")
        runs.append(row(forecast, report, seconds))
        history.learn("model", Run(report, seconds, work, wasCold=False, wasFirst=isFirst))
        print(size, json.dumps(runs[-1]), flush=True)
    worker.close()
    return {"size": size, "work": work, "history": history, "first": runs[0], "second": runs[1]}


def work_of(scan: Path, manifest: Any) -> Workload:
    """Count as the panel does, with samples of the volume."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(scan)))
    samples = array[tuple(slice(None, None, -(-size // 48)) for size in array.shape)]
    return workload(
        Grid(array.shape, SPACING, isOccupied=samples > -500),
        manifest.preprocessing,
        {},
        classes=manifest.network.num_classes,
    )


def row(forecast: Forecast, report: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return forecast and truth of a run."""
    return {
        "forecast_s": round(forecast.seconds, 2),
        "seconds": round(seconds, 2),
        "forecast_mb": round(forecast.memoryBytes / 1e6),
        "mb": round(report["peak_memory_bytes"] / 1e6),
        "engine": report["engine"],
        "windows": report["computed_windows"],
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one line per size."""
    smallest = rows[0]["history"]
    print(
        "| CT | first: forecast | took | ratio | after the smallest "
        "| second: forecast | took | ratio | memory: forecast | took |"
    )
    print("| --- " * 10 + "|")
    for each in rows:
        first, second = each["first"], each["second"]
        after = smallest.forecast("model", each["work"], isWarm=True).seconds
        each["after_smallest_s"] = round(after, 2)
        ratios = [run["seconds"] / run["forecast_s"] for run in (first, second)]
        print(
            f"| {each['size'].replace('x', ' x ')} | {first['forecast_s']:.1f} s "
            f"| {first['seconds']:.1f} s | {ratios[0]:.2f} | {after:.1f} s "
            f"| {second['forecast_s']:.1f} s | {second['seconds']:.1f} s | {ratios[1]:.2f} "
            f"| {first['forecast_mb']} MB | {first['mb']} MB |"
        )


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=LEVEL_CHANNELS, default="small")
    parser.add_argument("--classes", type=int, default=CLASSES, help="classes of the model")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="voxels, smallest first")
    parser.add_argument("--quick", action="store_true", help="two small volumes")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else arguments.sizes
    patch = (16, 32, 32) if arguments.quick else (64, 128, 128)
    rows = []
    print(headline())
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        channels = LEVEL_CHANNELS[arguments.network]
        manifest = write_model(model, channels, patch, arguments.classes)
        for size in sizes:
            (Path(folder) / size).mkdir()
            rows.append(measure(size, manifest, model, Path(folder) / size))
    print_table(rows)
    if arguments.json:
        content = [
            {name: each[name] for name in ("size", "first", "second", "after_smallest_s")}
            for each in rows
        ]
        text = json.dumps({"machine": machine(), "rows": content}, indent=2)
        arguments.json.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
