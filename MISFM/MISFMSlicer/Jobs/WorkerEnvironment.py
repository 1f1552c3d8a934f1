"""Which Python runs the worker, and in which environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import MISFMLib

# What Slicer's launcher sets for Slicer's own Python and breaks another one.
_SLICER_ONLY = (
    "DYLD_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
)


def findPython() -> str:
    """Return the Python for the worker: ``MISFM_PYTHON`` if set, PythonSlicer, or our own.

    Inside Slicer sys.executable is empty or PythonSlicer, which Slicer puts on PATH.
    """
    return os.environ.get("MISFM_PYTHON") or shutil.which("PythonSlicer") or sys.executable


def workerEnvironment(python: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a worker.

    Args:
        python: Program that runs it; Slicer's own keeps the settings of Slicer's launcher.
        environment: Environment to start from; that of this process when not given.
    """
    result = dict(os.environ if environment is None else environment)
    if python == result.get("MISFM_PYTHON"):
        for name in _SLICER_ONLY:
            result.pop(name, None)
    libraryFolder = str(Path(MISFMLib.__file__).resolve().parents[1])
    searchPath = [libraryFolder, result.get("PYTHONPATH", "")]
    result["PYTHONPATH"] = os.pathsep.join(filter(None, searchPath))
    result["PYTHONSAFEPATH"] = "1"  # nothing is imported from the folder that Slicer was started in
    result["PYTHONUTF8"] = "1"
    result["PYTHONFAULTHANDLER"] = "1"  # a crash in C code leaves a trace in the log
    return result
