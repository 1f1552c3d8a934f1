"""Commands of ``misfm`` inside Slicer without a window: nothing asks, every way out has a code."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import slicer

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import ConfigError, DataError, DependencyError, JobCancelled, MISFMError
from MISFMLib.files import check_output

from .Jobs.BatchProcess import StoppedError, runBatch, stoppable
from .Jobs.WorkerEnvironment import findPython
from .Scene.GridBox import boxOf
from .Scene.SceneCases import addAllOfScene
from .Scene.SceneIO import writeVolume
from .Scene.Transforms import checkTransforms
from .Setup.Requirements import installRequirements, missingRequirements
from .TemporaryFolder import makeFolder

_SCENES = (".mrb", ".mrml")
_INSTALL = "--install"
_EVENTS = "--events-file"


def run(arguments: Sequence[str], verb: str = "segment") -> int:
    """Segment or train; return the exit code whatever happens, 130, 143 and 141 as shells do.

    Args:
        arguments: As for the command; a Slicer scene stands for all its volumes, for finetune for
            its volumes with their segmentations, ``--install`` installs what is missing, and
            ``--events-file FILE`` lets all events go to a new file, as JSON lines, and nothing
            else with them. Instead of options a job file, such as the panel writes.
        verb: segment, finetune or pretrain.
    """
    folder = makeFolder("scene", slicer.app.temporaryPath)
    try:
        with stoppable():
            words = [word for word in arguments if word not in ("--", _INSTALL)]
            _require(mayInstall=_INSTALL in arguments)
            with _eventsFile(words) as (words, events):
                if words[:1] and words[0].lower().endswith(".json"):
                    return runBatch(["run", *words], findPython(), events)
                written = _dataSetOf if verb == "finetune" else _volumesOf
                words = [_withoutScene(word, folder, written) for word in words]
                return runBatch([verb, *words], findPython(), events)
    except StoppedError as stopped:
        return stopped.exitCode
    except KeyboardInterrupt:
        return JobCancelled.exit_code
    except MISFMError as error:
        sys.stderr.write(f"Error: {error.message}\n{error.remedy}".rstrip() + "\n")
        return error.exit_code
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


def _withoutScene(word: str, folder: Path, written: Callable[[Path, Path], Path]) -> str:
    """Write what a scene holds to a folder and return that; any other word as it is."""
    path = Path(word)
    if path.suffix.lower() not in _SCENES or not path.is_file():
        return word
    slicer.util.loadScene(str(path), {"clear": True})
    return str(written(path, folder / path.stem))


def _volumesOf(scene: Path, target: Path) -> Path:
    volumes = [
        volume
        for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if not volume.IsA("vtkMRMLLabelMapVolumeNode") and volume.GetImageData() is not None
    ]
    if not volumes:
        raise DataError(
            f"{scene.name} holds no volume.", code="no-volume", remedy="Give another scene."
        )
    target.mkdir(exist_ok=True)
    for volume in volumes:
        checkTransforms([volume])
        writeVolume(volume, boxOf(volume, None), _free(target, volume.GetName() or "volume"))
    return target


def _dataSetOf(scene: Path, target: Path) -> Path:
    addAllOfScene(TrainingSet.create(target, name=scene.stem))
    return target


def _free(folder: Path, name: str) -> Path:
    """Return a file in a folder that is named after a volume and not there yet."""
    name = re.sub(r"[^\w .-]+", "_", name)
    path, number = folder / f"{name}.nrrd", 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}.nrrd"
    return path


@contextlib.contextmanager
def _eventsFile(words: Sequence[str]) -> Iterator[tuple[list[str], Any]]:
    """Open the file of ``--events-file``; yield the words for ``misfm`` and the file, or None."""
    if _EVENTS not in words:
        yield list(words), None
        return
    place = words.index(_EVENTS)
    if place + 1 == len(words):
        raise ConfigError(
            f"{_EVENTS} needs the name of a file.",
            code="bad-option",
            remedy=f"Write {_EVENTS} FILE.",
        )
    path = Path(words[place + 1])
    check_output(path, overwrite=path.is_fifo() or "--overwrite" in words)
    with path.open("wb", buffering=0) as file:
        yield [*words[:place], *words[place + 2 :], "--events", "json"], file
