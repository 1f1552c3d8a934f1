"""``misfm segment`` inside Slicer without a window: nothing asks, and every way out has a code."""

from __future__ import annotations

import codecs
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import slicer

from MISFMLib.errors import DataError, DependencyError, JobCancelled, MISFMError

from .Jobs.WorkerEnvironment import findPython, workerEnvironment
from .Jobs.WorkerProcess import groupOptions, killTree
from .Scene.GridBox import boxOf
from .Scene.SceneIO import writeVolume
from .Setup.Requirements import installRequirements, missingRequirements

_SCENES = (".mrb", ".mrml")
_INSTALL = "--install"


def run(arguments: Sequence[str]) -> int:
    """Segment and return the exit code, whatever happens.

    Args:
        arguments: As for ``misfm segment``; a Slicer scene stands for all its volumes, and
            ``--install`` installs what is missing.
    """
    folder = Path(tempfile.mkdtemp(prefix="misfm-scene-", dir=slicer.app.temporaryPath))
    try:
        words = [word for word in arguments if word not in ("--", _INSTALL)]
        _require(mayInstall=_INSTALL in arguments)
        return _call([_withoutScene(word, folder) for word in words])
    except MISFMError as error:
        sys.stderr.write(f"Error: {error.message}\n{error.remedy}".rstrip() + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return JobCancelled.exit_code
    except BaseException:  # also SystemExit: only Slicer can end the application
        traceback.print_exc()
        return MISFMError.exit_code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require(*, mayInstall: bool) -> None:
    """Raise DependencyError when something is missing that may not or cannot be installed."""
    missing = missingRequirements()
    if not missing:
        return
    if mayInstall:
        installRequirements(missing)
        return
    lines = [f"{item.title}: {item.message}" for item in missing]
    raise DependencyError(
        "; ".join(lines) + ".",
        code="missing-package",
        remedy=f"Add {_INSTALL} to install it, or run:\n"
        + "\n".join(item.command for item in missing if item.command),
    )


def _withoutScene(word: str, folder: Path) -> str:
    """Write the volumes of a scene to a folder and return that; any other word as it is."""
    path = Path(word)
    if path.suffix.lower() not in _SCENES or not path.is_file():
        return word
    slicer.util.loadScene(str(path), {"clear": True})
    volumes = [
        volume
        for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if not volume.IsA("vtkMRMLLabelMapVolumeNode") and volume.GetImageData() is not None
    ]
    if not volumes:
        raise DataError(
            f"{path.name} holds no volume.", code="no-volume", remedy="Give another scene."
        )
    target = folder / path.stem
    target.mkdir(exist_ok=True)
    for volume in volumes:
        writeVolume(volume, boxOf(volume, None), _free(target, volume.GetName() or "volume"))
    return str(target)


def _free(folder: Path, name: str) -> Path:
    """Return a file in a folder that is named after a volume and not there yet."""
    name = re.sub(r"[^\w .-]+", "_", name)
    path, number = folder / f"{name}.nrrd", 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}.nrrd"
    return path


def _call(words: Sequence[str]) -> int:
    """Run ``misfm segment`` and pass on what it says; a Slicer without console has no streams."""
    python = findPython()
    process = subprocess.Popen(
        [python, "-m", "MISFMLib", "segment", *words],
        env=workerEnvironment(python),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **groupOptions(),
    )
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    try:
        while chunk := process.stdout.read1(4096):
            sys.stdout.write(decoder.decode(chunk))
            sys.stdout.flush()
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()  # so that it removes what it has half written
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        raise
    finally:
        killTree(process)
        process.stdout.close()
