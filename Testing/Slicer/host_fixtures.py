"""Fixtures for tests of scripted modules, in the stand-in for Slicer or in Slicer itself.

What differs between the two lies behind `host`; a conftest.py imports the fixtures by name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IN_SLICER = "PythonQt" in sys.modules
"""Whether the application around us is the real one (started by `run.sh slicer`)."""
if IN_SLICER:
    from real_slicer.host import SlicerHost as Host
    from real_slicer.host import start
else:
    from misfm_host.host import Host, start

# Directions of the axes i, j, k in RAS, one column each.
_AXIAL = np.diag([-1.0, -1.0, 1.0])
_LEFT_HANDED = np.diag([-1.0, 1.0, 1.0])


def _oblique() -> np.ndarray:
    """Return the axial directions turned by 20 degrees about R and 10 degrees about S."""
    a, b = np.deg2rad([20.0, 10.0])
    about_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_s = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_r @ about_s @ _AXIAL


DIRECTIONS = {"axial": _AXIAL, "left-handed": _LEFT_HANDED, "oblique": _oblique()}


@pytest.fixture(scope="session")
def running_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The application; one per session. It draws its views for those who ask for `drawing`."""
    host = start(tmp_path_factory.mktemp("host"))
    import slicer

    slicer.app.pauseRender()
    yield host
    host.stop()


@pytest.fixture
def host(running_host: Host) -> Host:
    """The application with an empty scene; see `fail_on_swallowed_errors`."""
    running_host.clear()
    return running_host


@pytest.fixture
def drawing(host: Host) -> Iterator[None]:
    """Draw the views, as Slicer does; without, a test of the panel takes a quarter less."""
    import slicer

    slicer.app.resumeRender()
    yield
    slicer.app.pauseRender()


@pytest.fixture
def application() -> Callable[..., Any]:
    """Run another application to its end, as `subprocess.run` does.

    Takes the arguments of Slicer's command line, `modules` (their files), `home` (a folder for its
    settings) and environment `variables`; returns what `subprocess.run` returns.
    """

    def run(
        *arguments: str, home: Path, modules: tuple[Path, ...] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        command, environment = Host.command(*arguments, home=home, modules=modules)
        environment |= variables
        return subprocess.run(
            command, env=environment, capture_output=True, encoding="utf-8", timeout=200
        )

    return run


@pytest.fixture
def load_module(host: Host) -> Callable[[Path], Any]:
    """Load a scripted module by its file, show its panel, return its Python widget."""

    def load(path: Path) -> Any:
        host.load_module(path)
        return host.select_module(Path(path).stem)

    return load


@pytest.fixture
def screenshot(host: Host, drawing: None, tmp_path: Path) -> Callable[..., Path]:
    """Write a picture; it is kept if MISFM_SCREENSHOTS names a folder."""
    folder = Path(os.environ.get("MISFM_SCREENSHOTS", tmp_path))

    def take(name: str, widget: Any = None) -> Path:
        return host.screenshot(folder / f"{name}.png", widget)

    return take


@pytest.fixture
def make_volume(host: Host) -> Callable[..., Any]:
    """Make a volume: a ball, and a brighter voxel near the first corner that shows a flip."""

    def make(
        direction: str = "axial",
        *,
        shape_kji: tuple[int, int, int] = (12, 16, 20),
        spacing_ijk: tuple[float, float, float] = (1.0, 1.5, 2.5),
        name: str = "volume",
    ) -> Any:
        import slicer

        grid = np.stack(np.meshgrid(*map(np.arange, shape_kji), indexing="ij"), -1)
        centre = (np.array(shape_kji) - 1) / 2
        inside = np.linalg.norm(grid - centre, axis=-1) < min(shape_kji) / 3
        array = np.where(inside, 200, -100).astype(np.int16)
        array[1, 1, 1] = 900
        matrix = np.eye(4)
        matrix[:3, :3] = DIRECTIONS[direction] * np.array(spacing_ijk)
        matrix[:3, 3] = (-10.0, 20.0, 5.0)
        return slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name=name)

    return make


@pytest.fixture
def as_surfaces(host: Host) -> Callable[[Any], tuple[Any, str]]:
    """Make a segmentation of the first segment's surface alone, as Slicer loads one from STL."""

    def make(segmentation: Any) -> tuple[Any, str]:
        import slicer
        from MISFMSlicer.Scene.Surfaces import exactSurface

        segment_id = segmentation.GetSegmentation().GetNthSegmentID(0)
        name = segmentation.GetSegmentation().GetSegment(segment_id).GetName()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.SetSourceRepresentationToClosedSurface()
        surface = exactSurface(segmentation, segment_id)
        return node, node.AddSegmentFromClosedSurfaceRepresentation(surface, name, [1, 0, 0])

    return make


@pytest.fixture
def as_contours(as_surfaces: Any) -> Callable[..., tuple[Any, str]]:
    """Make a segmentation of contours, as RTSTRUCT becomes, which SlicerRT alone can convert."""

    def make(segmentation: Any, *, hasSurface: bool) -> tuple[Any, str]:
        import slicer

        surfaces, segment_id = as_surfaces(segmentation)
        surface = surfaces.GetSegmentation().GetSegment(segment_id)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "contours")
        node.GetSegmentation().SetSourceRepresentationName("Planar contour")
        segment = slicer.vtkSegment()
        segment.SetName(surface.GetName())
        shape = surface.GetRepresentation("Closed surface")
        segment.AddRepresentation("Planar contour", shape)  # nothing but the name counts here
        if hasSurface:
            segment.AddRepresentation("Closed surface", shape)
        node.GetSegmentation().AddSegment(segment, segment_id)
        return node, segment_id

    return make


def fail_on_swallowed_errors(item: pytest.Item) -> None:
    """Fail a test after which an exception in a slot, timer or observer, or a dialog, is left."""
    host = getattr(item, "funcargs", {}).get("host")
    if host is None:
        return
    host.process_events()
    reports = host.failures.take()
    if reports:
        pytest.fail("real Slicer would print and go on:\n" + "\n".join(reports), pytrace=False)
    unused = host.dialogs.reset()
    if unused:
        pytest.fail(f"no dialog asked for these answers: {unused}", pytrace=False)
