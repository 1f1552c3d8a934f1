"""Cases of a training set in the scene, and back: image, labels, and what a correction changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from MISFMLib.annotation.labels import match_labels, new_label, plain
from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError

from .Export import notWritten, writeLabelMap
from .GridBox import boxOf
from .Masks import LABELMAP, gridOf, labelArray, maskOn
from .SceneIO import checkVolume, isInScene, loadFile, readLabels
from .Segmentations import addSegmentation, hideOthers, segments, takeOut
from .Transforms import isOnGridOf

CASE_FILE = "MISFM.CaseFile"
"""Attribute of a volume that is shown: its file in the set, also where a scene has a copy."""
_BACKGROUND = 0


def segmentNames(segmentation: Any) -> dict[str, str]:
    """Return the names of a segmentation node's segments by their IDs."""
    return {key: each.GetName() for key, each in segments(segmentation.GetSegmentation())}


def segmentColour(segmentation: Any, segmentId: str) -> tuple[int, int, int]:
    """Return the colour of a segment, 0 to 255."""
    red, green, blue = segmentation.GetSegmentation().GetSegment(segmentId).GetColor()
    return round(255 * red), round(255 * green), round(255 * blue)


# --------------------------------------------------------------------------------------- to files


def writeImage(volume: Any, path: Path) -> None:
    """Write a volume with the node's own IJK-to-RAS matrix, in the format of the path's end.

    Raises:
        DataError: It has no voxels or colours.
        OSError: The file cannot be written.
    """
    checkVolume(volume)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(path.as_posix())
    if not storage.WriteData(volume) or not path.exists():
        raise notWritten()


# ------------------------------------------------------------------------------------- from files


@dataclass
class OpenCase:
    """A case of a training set in the scene."""

    name: str
    volumes: tuple[Any, ...]
    """A vtkMRMLScalarVolumeNode for each channel of the set, all on one grid."""
    segmentation: Any
    """The vtkMRMLSegmentationNode, with a segment for every label of the set."""
    before: np.ndarray
    """Labels (k, j, i) when it was opened."""
    hidden: tuple[Any, ...] = ()
    """Display nodes of what is not to be seen over it, such as the results of other patients."""

    def __post_init__(self) -> None:
        """Remember where its file has the voxels, in a node that is in no scene."""
        self._grid = slicer.vtkMRMLScalarVolumeNode()
        self._grid.CopyOrientation(self.volume)
        self._grid.SetAndObserveImageData(self.volume.GetImageData())

    @property
    def volume(self) -> Any:
        """The volume of the first channel."""
        return self.volumes[0]

    @property
    def isInScene(self) -> bool:
        """Whether nobody has closed the scene or deleted its nodes."""
        return all(map(isInScene, (self.segmentation, *self.volumes)))

    def values(self, labels: Sequence[LabelConfig]) -> dict[str, int]:
        """Return the value of every segment that is a label of the set.

        Raises:
            DataError: A segment with voxels has no name that the set knows.
        """
        names = segmentNames(self.segmentation)
        found = match_labels(names.values(), labels)
        values = {key: found.values[name] for key, name in names.items() if name in found.values}
        unknown = self._unknown(labels)
        if unknown:
            raise DataError(
                _("The training set has no label {names}.").format(
                    names=", ".join(names[key] for key in unknown)
                ),
                code="label-unknown",
                remedy=_("Rename or delete the segment, or add the label to the set."),
            )
        return values

    def _unknown(self, labels: Sequence[LabelConfig]) -> list[str]:
        names = segmentNames(self.segmentation)
        known = match_labels(names.values(), labels).values
        others = [key for key, name in names.items() if name not in known]
        return [key for key in others if maskOn(self.segmentation, key, self.volume).any()]

    def withNew(self, labels: tuple[LabelConfig, ...]) -> tuple[LabelConfig, ...]:
        """Return the labels, and one more for each segment with voxels that is none of them.

        Raises:
            DataError: Two of them have the same name, or there are too many.
        """
        names = segmentNames(self.segmentation)
        for key in self._unknown(labels):
            new = new_label(names[key], labels, segmentColour(self.segmentation, key))
            labels = (*labels, new)
        return labels

    def array(self, labels: Sequence[LabelConfig]) -> np.ndarray:
        """Return the labels as they are now.

        Raises:
            DataError: They cannot be a label map, or the volume has other voxels than its file.
        """
        array = labelArray(self.segmentation, self.volume, self.values(labels))
        if self.before.size and array.shape != self.before.shape:
            raise DataError(
                _("{case} has another number of voxels than in the training set.").format(
                    case=self.name
                ),
                code="case-resampled",
                remedy=_("Open it again from the list of the training set."),
            )
        return array

    def renamed(self, labels: Sequence[LabelConfig]) -> list[str]:
        """Return labels of the set whose segments have names now that it does not know.

        This is no sign that such a label was looked for and is not there.
        """
        names = segmentNames(self.segmentation)
        found = match_labels(names.values(), labels)
        missing = [label for label in labels if label.name in found.missing]
        return [each.name for each in missing if names.get(_segmentId(each)) in found.unknown]

    def hideOthers(self) -> None:
        """Let no segmentation of another volume be seen over it, until it is closed."""
        self.hidden = (*self.hidden, *hideOthers(self.volumes))

    def write(self, array: np.ndarray, path: Path) -> None:
        """Write labels where the file of the volume is, also when the node was moved."""
        writeLabelMap(array, self._grid, path)

    @property
    def isLeftAlone(self) -> bool:
        """Whether a volume was deleted under the segmentation, which may hold hours of work."""
        return isInScene(self.segmentation) and not self.isInScene

    def close(self) -> None:
        """Take the case out of the scene, and let be seen what was before.

        A segmentation that is left alone stays: nobody has said that what was drawn shall go.
        """
        nodes = (self.segmentation, *self.volumes)
        if self.isLeftAlone:
            nodes = self.volumes
        elif isInScene(self.segmentation):
            takeOut(self.segmentation.GetSegmentation())
        for node in nodes:
            if isInScene(node):
                slicer.mrmlScene.RemoveNode(node)
        for display in filter(isInScene, self.hidden):
            display.SetVisibility(True)


def openCase(
    name: str,
    images: Sequence[Path],
    labelFile: Path | None,
    labels: Sequence[LabelConfig],
    *,
    channels: Sequence[str] = ("",),
    readFrom: Callable[[Path], Path | None] = lambda _path: None,
) -> OpenCase:
    """Show a case with a segment for every label of its set, filled as far as there are labels.

    Args:
        name: The case.
        images: Its volumes. The first is shown; the second lies in front of it, invisible until
            the user fades it in.
        labelFile: A proposal (.seg.nrrd, matched by names) or a label map of the set; None for
            empty segments.
        labels: The set's labels.
        channels: What each of the volumes is.
        readFrom: Returns the same volume in a temporary file that is read faster, if there is one.

    Raises:
        DataError: A file cannot be read.
    """
    volumes: list[Any] = []
    try:
        for image, channel in zip(images, channels, strict=True):
            title = f"{name} {channel}" if len(channels) > 1 else name
            volumes.append(_load(title, image, readFrom(image), isFirst=not volumes))
        return _withLabels(name, volumes, labelFile, labels)
    except Exception:
        for volume in volumes:
            slicer.mrmlScene.RemoveNode(volume)
        raise


def _load(title: str, image: Path, readFrom: Path | None, *, isFirst: bool) -> Any:
    volume = loadFile(slicer.util.loadVolume, readFrom or image, {"name": title, "show": isFirst})
    volume.SetAttribute(CASE_FILE, image.as_posix())
    if readFrom is not None:
        volume.GetStorageNode().SetFileName(image.as_posix())  # the other one does not stay
    return volume


def _withLabels(
    name: str, volumes: Sequence[Any], labelFile: Path | None, labels: Sequence[LabelConfig]
) -> OpenCase:
    volume = volumes[0]
    if len(volumes) > 1:
        slicer.util.setSliceViewerLayers(foreground=volumes[1], foregroundOpacity=0.0)
    segmentation = addSegmentation(volume, f"{name} labels")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    try:
        if labelFile is not None and labelFile.name.endswith(".seg.nrrd"):
            _takeProposal(segmentation, volume, labelFile, labels)
        elif labelFile is not None:
            _fill(segmentation, volume, labelFile, labels)
        _addMissing(segmentation, labels)
        case = OpenCase(name, tuple(volumes), segmentation, np.empty(0))
        case.before = case.array(labels)
        case.hideOthers()
    except Exception:
        slicer.mrmlScene.RemoveNode(segmentation)
        raise
    return case


def _takeProposal(
    segmentation: Any, volume: Any, path: Path, labels: Sequence[LabelConfig]
) -> None:
    source = readLabels(path, volume, boxOf(volume, None))
    by_name = {plain(label.name): label for label in labels}
    for _key, segment in takeOut(source):
        label = by_name.get(plain(segment.GetName()))
        if label is not None:
            _dress(segment, label)
            segmentation.GetSegmentation().AddSegment(segment, _segmentId(label))


def _addMissing(segmentation: Any, labels: Sequence[LabelConfig]) -> None:
    present = set(segmentNames(segmentation))
    for label in labels:
        if _segmentId(label) not in present:
            _add(segmentation, label)


def _fill(segmentation: Any, volume: Any, path: Path, labels: Sequence[LabelConfig]) -> None:
    """Add a segment for each label; all share one label map, else a hundred take minutes."""
    node = loadFile(slicer.util.loadLabelVolume, path, {"show": False})
    try:
        image = gridOf(volume if isOnGridOf(node, volume) else node)  # it may have to be mended
        array = slicer.util.arrayFromVolume(node)
        known = np.isin(array, [label.value for label in labels])
        voxels = np.where(known, array, _BACKGROUND).astype(np.uint8)
        image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    finally:
        slicer.mrmlScene.RemoveNode(node)
    for label in labels:
        _add(segmentation, label, image)


def _add(segmentation: Any, label: LabelConfig, image: Any = None) -> None:
    segment = slicer.vtkSegment()
    _dress(segment, label)
    if image is not None:
        segment.SetLabelValue(label.value)
        segment.AddRepresentation(LABELMAP, image)
    segmentation.GetSegmentation().AddSegment(segment, _segmentId(label))


def _segmentId(label: LabelConfig) -> str:
    return f"Segment_{label.value}"


def _dress(segment: Any, label: LabelConfig) -> None:
    segment.SetName(label.name)
    segment.SetColor(*(channel / 255 for channel in label.color))
