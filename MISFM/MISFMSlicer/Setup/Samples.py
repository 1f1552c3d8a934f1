"""The sample in Slicer's module Sample Data: drawn on this computer, never downloaded."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Jobs.WorkerEnvironment import findPython, workerEnvironment
from ..Jobs.WorkerProcess import groupOptions

NAME = "MISFM hippocampus"
_PICTURE = Path(__file__).resolve().parents[2] / "Resources" / "SampleData" / "hippocampus.png"
_PAGE = "https://github.com/MISFM/SlicerMISFM"
_DRAW = (
    "import sys; from pathlib import Path; from MISFMLib.data.phantom import draw_phantom; "
    "from MISFMLib.volumes.volume import write_volume; "
    "write_volume(draw_phantom(1)[0], Path(sys.argv[1]))"
)
"""Needs no PyTorch; Slicer's own process has neither the library's path nor time for it."""
_TIMEOUT_S = 60


def registerSamples() -> None:
    """Offer the sample in the module Sample Data, where there is one."""
    try:
        sampleData = importlib.import_module("SampleData")
    except ImportError:
        return
    sampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MISFM",
        sampleName=NAME,
        uris=_PAGE,  # one is asked for, but what is drawn here is not downloaded
        fileNames="MISFM-hippocampus.nrrd",
        nodeNames=NAME,
        thumbnailFileName=str(_PICTURE),
        customDownloader=_onClicked,
    )


def loadSample() -> Any:
    """Draw a T1 MR crop with a hippocampus, load and show it, and return its volume node.

    Raises:
        OSError: There is no Python to draw it with, or no space for it.
        subprocess.SubprocessError: It could not be drawn.
    """
    python = findPython()
    folder = Path(tempfile.mkdtemp(prefix="misfm-sample-", dir=slicer.app.temporaryPath))
    try:
        path = folder / "sample.nrrd"
        subprocess.run(
            [python, "-c", _DRAW, str(path)],
            env=workerEnvironment(python),
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
            **groupOptions(),
        )
        volume = slicer.util.loadVolume(str(path), {"name": NAME})
        # As SampleData does: a node whose file is gone shall be saved with the scene.
        slicer.mrmlScene.RemoveNode(volume.GetStorageNode())
        volume.SetAndObserveStorageNodeID(None)
        return volume
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _onClicked(_source: Any) -> list[Any]:
    nodes = []
    with slicer.util.tryWithErrorDisplay(_("The sample could not be drawn."), waitCursor=True):
        nodes.append(loadSample())
    return nodes
