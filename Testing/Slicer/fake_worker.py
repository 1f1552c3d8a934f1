"""A stand-in for `MISFMSlicer.Jobs.JobRunner` that segments by thresholds, in this process.

It reads and writes the same files as the library does, without its packages: what is written comes
from `MISFMLib.volumes.formats.slicer_segmentation`, as in the library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from MISFMLib.configs import LabelConfig
from MISFMLib.events import Finished, Measured, Progress
from MISFMLib.models.terminology import label_config
from MISFMLib.volumes.formats.slicer_segmentation import segment_fields
from MISFMLib.volumes.volume_types import Geometry

LABELS = (label_config(1, "left hippocampus"), label_config(2, "spleen"), label_config(3, "lesion"))
"""1 is where the volume is above 100, 2 where it is from 50 to 100, 3 is nowhere."""
REPORT = {
    "model": {"name": "fake", "version": "1.2.3", "weights_sha256": "ab" * 32},
    "versions": {"misfm": "0.1.0", "torch": "2.0"},
    "options": {"overlap": 0.5, "mirroring": False},
    "device": "cpu",
    "finished": "2026-11-23T01:02:03+00:00",
    "timings_s": {"network": 0.01, "engine": 0.0},
    "engine": "PyTorch 2.0",
    "computed_windows": 1,
    "seconds": 0.02,
    "peak_memory_bytes": 500_000_000,
    "device_peak_bytes": 0,
    "notices": [],
}
_LPS = np.diag([-1.0, -1.0, 1.0])


def read_nrrd(path):
    """Read what Slicer wrote: array (k, j, i), and the grid in LPS."""
    header, _, data = Path(path).read_bytes().partition(b"\n\n")
    pairs = (line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    fields = dict(pairs)
    assert fields["encoding"] == "raw", "uncompressed, since that is fast"
    types = {"short": "<i2", "float": "<f4", "unsigned char": "u1", "double": "<f8", "int": "<i4"}
    sizes = [int(size) for size in fields["sizes"].split()]
    array = np.frombuffer(data, types[fields["type"]]).reshape(sizes[::-1])
    vectors = fields["space directions"].strip("()").split(") (")
    to_lps = _LPS if fields["space"] == "right-anterior-superior" else np.eye(3)
    directions = to_lps @ np.array([[float(x) for x in v.split(",")] for v in vectors]).T
    origin = to_lps @ [float(x) for x in fields["space origin"].strip("()").split(",")]
    spacing = np.linalg.norm(directions, axis=0)
    return array, Geometry(
        array.shape,
        tuple(spacing[::-1].tolist()),
        tuple(origin.tolist()),
        tuple((directions / spacing).ravel().tolist()),
    )


def write_labels(path, array, geometry, labels=LABELS):
    """Write a .seg.nrrd as the library does."""
    fields = segment_fields(labels, (), geometry)
    write_nrrd(path, array, geometry, [f"{key}:={value}" for key, value in fields.items()])


def write_nrrd(path, array, geometry, more=()):
    """Write voxels on a grid in LPS."""
    vectors = np.reshape(geometry.direction, (3, 3)) * geometry.spacing_dhw[::-1]
    lines = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape[::-1]))}",
        "space directions: " + " ".join(f"({','.join(map(repr, v))})" for v in vectors.T.tolist()),
        f"space origin: ({','.join(map(repr, geometry.origin_xyz))})",
        "kinds: domain domain domain",
        "encoding: raw",
        *more,
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + array.tobytes())


def segment_case(images, output, labels=LABELS):
    """Do what the library does with one case; return its report."""
    array, geometry = read_nrrd(images[0])
    found = np.where(array > 100, 1, np.where(array >= 50, 2, 0)).astype(np.uint8)
    write_labels(output, found, geometry, labels)
    voxel_ml = float(np.prod(geometry.spacing_dhw)) / 1000
    counts = [(label, int((found == label.value).sum())) for label in labels]
    return {
        **REPORT,
        "labels": [
            {"label": label.value, "name": label.name, "voxels": n, "volume_ml": n * voxel_ml}
            for label, n in counts
        ],
    }


def unsure_case(images, output):
    """Write an uncertainty, 50 % in the ball and its bright neighbour; return two places in it."""
    array, geometry = read_nrrd(images[0])
    write_nrrd(output, np.where(array > 100, 50, 0).astype(np.uint8), geometry)
    places = []
    for kji in (np.array(array.shape) // 2, np.array((1, 1, 1))):
        offset = np.reshape(geometry.direction, (3, 3)) @ (kji * geometry.spacing_dhw)[::-1]
        names = ["left hippocampus", "background"]
        position = np.add(geometry.origin_xyz, offset).tolist()
        places.append({"position_xyz": position, "labels": names, "volume_ml": 0.5})
    return places


class FakeCommand:
    """Has what `MISFMSlicer.Jobs.Command.Command` has; a test says what happens to it."""

    started: ClassVar = []
    """All commands that were started, the last one last."""

    def __init__(self, words):
        from MISFMSlicer.Signal import Signal

        self.words = tuple(words)
        self.progressed, self.ended = Signal(), Signal()
        self.isClosed = False

    def start(self):
        self.started.append(self)

    def close(self):
        self.isClosed = True


class FakeRunner:
    """Has what `JobRunner` has; `script` decides what happens to each job."""

    def __init__(self, labels: tuple[LabelConfig, ...] = LABELS):
        self.labels = labels
        self.calls = []
        """What was called, with the job files' folders."""
        self.jobs = []
        """The content of every job file."""
        self.volumes = []
        """Array and grid of the first channel of every case, as a worker reads them."""
        self.loaded = []
        """Settings of the models that were to be loaded."""
        self.isWarm = False
        self.hasRun = False
        self.holds = False
        """A job does not end until this is false."""
        self.events = None
        """Events of the next job instead of a result."""
        self._pending = []
        self._folder = None

    @property
    def isBusy(self):
        return self._folder is not None

    @property
    def hasLoaded(self):
        return self.hasRun

    def prepare(self, config=None, *, measures=False):
        self.isWarm = True
        self.loaded.append(config)
        if measures and self._folder is None:
            self._pending = [Measured(config["model"], "cpu", "PyTorch 2.0", 2.5, 500_000_000)]

    def start(self, job_file):
        assert not self.isBusy
        self.isWarm = self.hasRun = True
        self._folder = Path(job_file).parent
        self.jobs.append(json.loads(Path(job_file).read_text("utf-8")))
        self.calls.append(("start", self._folder))
        self._pending = [Progress("segment", 0.5, "half", 2.0)]

    def poll(self):
        events, self._pending = self._pending, []
        if self._folder is not None and not events and not self.holds:
            folder, self._folder = self._folder, None
            events = self.events or [Finished(self._segment(folder, self.jobs[-1]["config"]))]
            self.events = None
        return events

    def _segment(self, folder, config):
        cases = [[folder / name for name in case.split(",")] for case in config["images"]]
        self.volumes += [read_nrrd(case[0]) for case in cases]
        if config["output"].endswith(".seg.nrrd"):
            (case,) = cases
            report = segment_case(case, folder / config["output"], self.labels)
            if "uncertainty" in config:
                report["where_to_look"] = unsure_case(case, folder / config["uncertainty"])
            return report
        reports = {}
        for case in cases:
            name = case[0].name.removesuffix(".nrrd")
            output = folder / config["output"] / f"{name}.{config['format']}"
            reports[name] = segment_case(case, output, self.labels)
        return {"cases": reports}

    def cancel(self):
        self.calls.append(("cancel", self._folder))
        self.close()

    def releaseMemory(self):
        self.calls.append(("release", None))

    def close(self):
        self._folder = None
        self._pending = []
        self.isWarm = self.hasRun = False

    def log(self):
        return "what the worker wrote"
