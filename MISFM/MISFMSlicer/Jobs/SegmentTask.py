"""The files of one job: written before it, read into the scene after it, removed in any case."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DataError
from MISFMLib.events import Failed, Notice

from ..Job import JobResult, SegmentRequest, SegmentVolume
from ..Scene.Channels import onGridOf
from ..Scene.GridBox import GridBox, boxOf
from ..Scene.Masks import canBeVoxels, noVoxels
from ..Scene.SceneIO import checkVolume, isInScene, measure, readImage, readLabels, writeInPieces
from ..Scene.Segmentations import (
    addSegmentation,
    algorithmOf,
    hideEarlierResults,
    putSegments,
    putTable,
    setProvenance,
)
from ..Scene.Sequences import SegmentationSequence, framesOfAll
from ..Scene.Transforms import checkTransforms, voxelMl
from ..Scene.Uncertainty import colour, placesOf, putUncertainty
from ..TemporaryFolder import makeFolder

_Told = TypeVar("_Told", Notice, Failed)
_FORMAT = "seg.nrrd"
_UNCERTAINTY = "uncertainty.nrrd"
_OUR_FILES = re.compile(r"(?:[^\s\"']*[\\/])?frame(?P<frame>\d{4})-(?P<channel>\d+)(?:\.nrrd)?")


def checkRequest(request: SegmentRequest) -> None:
    """Refuse what cannot work, before anything is queued.

    Raises:
        MISFMError: A volume, the region, the model or what is updated is not usable.
    """
    if not request.model:
        raise DataError(_("No model is chosen."), code="no-model", remedy=_("Choose a model."))
    for volume in request.volumes:
        checkVolume(volume if isInScene(volume) else None)
    checkTransforms(request.volumes if request.allFrames else request.volumes[:1])
    boxOf(request.volumes[0], request.region, isRough=True)
    if request.allFrames:
        framesOfAll(request.volumes)
    if isInScene(request.output) and not canBeVoxels(request.output):
        raise noVoxels(request.output.GetName())


class SegmentTask:
    """Files of a job in a folder of its own; the worker sees only their names.

    `write` and `read` are generators, which stop between their pieces, so that Slicer goes on.
    Names are plain ASCII and relative to the folder, whatever the user's folders are called.
    """

    def __init__(self, request: SegmentRequest) -> None:
        """Make the folder."""
        self.folder = makeFolder("job", slicer.app.temporaryPath)
        self._request = request
        self._frames = framesOfAll(request.volumes) if request.allFrames else []
        self._box = boxOf(request.volumes[0], request.region)
        self._hasUncertainty = request.uncertainty and not request.allFrames

    def write(self) -> Generator[None, None, Path]:
        """Write the volumes and the job file, piece by piece, and return its path.

        Raises:
            OSError: A file cannot be written.
        """
        images = []
        for index in range(len(self._frames[0].nodes) if self._frames else 1):
            images.append((yield from self._writeCase(index)))
        config = {
            **self._request.options,
            "images": images,
            "model": self._request.model,
            "output": "results" if self._frames else f"result.{_FORMAT}",
            "format": _FORMAT,
        }
        if self._hasUncertainty:
            config["uncertainty"] = _UNCERTAINTY
        jobFile = self.folder / "job.json"
        jobFile.write_text(json.dumps({"job": "segment", "config": config}, indent=2), "utf-8")
        return jobFile

    def read(self, report: dict[str, Any]) -> Generator[None, None, Callable[[], JobResult]]:
        """Read the result, piece by piece, and return what brings it into the scene.

        Args:
            report: The report of the library.

        Raises:
            RuntimeError: The result cannot be read or does not fit the volume.
        """
        if self._frames:
            return (yield from self._readFrames(report))
        volume = self._request.volumes[0]
        labels = readLabels(self.folder / f"result.{_FORMAT}", volume, self._box)
        found = measure(labels, report["labels"], self._box, voxelMl(volume))
        if not self._hasUncertainty:
            return partial(self._place, report, labels, found)
        yield
        image = readImage(self.folder / _UNCERTAINTY, self._box)
        return partial(self._place, report, labels, found, image)

    def _place(
        self,
        report: dict[str, Any],
        labels: Any,
        found: tuple[SegmentVolume, ...],
        image: Any = None,
    ) -> JobResult:
        volume, node = self._request.volumes[0], self._request.output
        if not isInScene(node):
            node = addSegmentation(volume, self._resultName())
        wasModifying = node.StartModify()  # each change would let Slicer draw it again
        putSegments(node, volume, labels, found, algorithmOf(report))
        result = self._result(node, found, report, frames=1)
        node.EndModify(wasModifying)
        hideEarlierResults(node, volume)
        if image is not None:
            result.uncertainty = putUncertainty(node, volume, self._box, image)
            colour(result.uncertainty, numClasses=len(found) + 1)
            result.places = placesOf(report, volume, self._box)
        return result

    def inWords(self, event: _Told) -> _Told:
        """Return what the library says with the scene's names in place of those of our files."""
        texts = {"message": event.message}
        if isinstance(event, Failed):
            texts["remedy"] = event.remedy
        return replace(event, **{name: self._inWords(text) for name, text in texts.items()})

    def _inWords(self, text: str) -> str:
        text = text.replace(f"{self.folder.as_posix()}/", "").replace(f"{self.folder}{os.sep}", "")
        return _OUR_FILES.sub(self._nameOf, text)

    def _nameOf(self, match: re.Match[str]) -> str:
        frame, channel = int(match["frame"]), int(match["channel"])
        volumes = self._request.volumes
        name = volumes[channel].GetName() if channel < len(volumes) else match[0]
        if not self._frames:
            return name
        return _("{volume}, frame {number}").format(volume=name, number=frame + 1)

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _writeCase(self, index: int) -> Generator[None, None, str]:
        """Write the channels of a frame; return their names as the library takes them."""
        names = []
        for channel, volume in enumerate(self._request.volumes):
            name = f"frame{index:04d}-{channel}.nrrd"
            frame = self._frames[channel].nodes[index] if self._frames else volume
            checkVolume(frame)
            if channel and not self._frames:
                frame = onGridOf(frame, self._request.volumes[0])
                yield
            yield from writeInPieces(frame, self._boxIn(frame), self.folder / name)
            names.append(name)
        return ",".join(names)

    def _boxIn(self, frame: Any) -> GridBox:
        """Return the box in a frame, which may have another size when all of it is wanted."""
        return boxOf(frame, None) if self._request.region is None else self._box

    def _readFrames(self, report: dict[str, Any]) -> Generator[None, None, Callable[[], JobResult]]:
        frames = self._frames[0]
        sequence = SegmentationSequence(frames, self._resultName())
        sizes: list[tuple[SegmentVolume, ...]] = []
        for index, frame in enumerate(frames.nodes):
            name = f"frame{index:04d}-0"
            box = self._boxIn(frame)
            labels = readLabels(self.folder / "results" / f"{name}.{_FORMAT}", frame, box)
            case = report["cases"][name]
            frameMl = voxelMl(frame, shownAs=self._request.volumes[0])
            sizes.append(measure(labels, case["labels"], box, frameMl))
            sequence.add(index, labels, sizes[-1], case)
            yield
        return partial(self._placeFrames, report, sequence, sizes)

    def _placeFrames(
        self,
        report: dict[str, Any],
        sequence: SegmentationSequence,
        sizes: Sequence[tuple[SegmentVolume, ...]],
    ) -> JobResult:
        node = sequence.show(self._request.volumes[0])
        current = self._frames[0].current
        caseReport = report["cases"][f"frame{current:04d}-0"]
        return self._result(node, sizes[current], caseReport, frames=len(sizes))

    def _result(
        self, node: Any, found: tuple[SegmentVolume, ...], report: dict[str, Any], frames: int
    ) -> JobResult:
        setProvenance(node, report)
        table = putTable(node, self._request.volumes[0], found)
        return JobResult(node, table, found, report, frames)

    def _resultName(self) -> str:
        return f"{self._request.volumes[0].GetName()} segmentation"
