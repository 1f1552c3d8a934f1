"""Unlabelled volumes for pretraining: found, brought into model space on disk, read box by box.

Axes: D depth, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import PreprocessingConfig, Size, Spacing, decode, encode
from MISFMLib.data.cases import find_cases
from MISFMLib.data.plan import Modality, plan_orientation, usual_intensity
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.data.spatial import canonical_axes
from MISFMLib.data.store_sources import DataSet, volumes_below
from MISFMLib.data.volume_checks import check_hounsfield, check_no_label_map
from MISFMLib.errors import DataError, is_out_of_memory
from MISFMLib.files import real_path, write_json, written_atomically
from MISFMLib.volumes.volume import Geometry, Volume, read_volume

_UNKNOWN = DataSet("", frozenset(), 1)
_LEAST_EDGE = 8
"""Voxels along the shortest axis below which a volume is a localizer rather than a scan."""
_AIR_HU = -900


@dataclass(frozen=True)
class UnlabelledFile:
    """A volume to learn from, not read yet."""

    path: Path
    """Volume file or DICOM folder."""
    modality: str = ""
    """CT or MR where the data set says so."""
    channel: int = 0
    """Which of the file's channels, where the data set says that it has several."""
    num_channels: int = 1
    """Channels in the file."""


def find_unlabelled(paths: Iterable[Path]) -> list[UnlabelledFile]:
    """Find volumes to learn from.

    Args:
        paths: Volume files, DICOM folders, folders that hold such, or labelled data sets (see
            `find_cases`): of these the images are taken, every channel as a volume of its own, and
            where the data set has its own split the training cases only, so that its validation
            cases stay unseen. So are those of data sets that lie deeper in a folder.

    Returns:
        Every volume once. Label maps (``*.seg.nrrd``, and all below folders such as labels, masks
        or segmentations) are left out.

    Raises:
        DataError: A path does not exist, or there is no volume.
    """
    files = (file for path in paths for file in _find_below(path))
    found = {(real_path(file.path), file.channel): file for file in files}
    if not found:
        raise DataError(
            "No volume was found.",
            code="no-volume",
            remedy="Give volume files, DICOM folders, folders that hold them, or a data set.",
        )
    return [found[place] for place in sorted(found)]


def _find_below(path: Path) -> list[UnlabelledFile]:
    if _is_data_set(path):
        return _images_of(path)
    if path.is_dir():
        return [
            UnlabelledFile(file, of.modality, channel, of.num_channels)
            for file, data_set in volumes_below(path)
            for of in [data_set or _UNKNOWN]
            for channel in range(of.num_channels)
            if not of.holds_out(file)
        ]
    if not path.exists():
        raise DataError(
            f"{path} does not exist.", code="file-missing", remedy="Check the spelling."
        )
    return [UnlabelledFile(path)]


def _is_data_set(path: Path) -> bool:
    return (
        path.suffix in (".json", ".csv")
        or (path / "dataset.json").is_file()
        or ((path / "images").is_dir() and (path / "labels").is_dir())
        or ((path / "imagesTr").is_dir() and (path / "labelsTr").is_dir())
    )


def _images_of(path: Path) -> list[UnlabelledFile]:
    found = find_cases(path)
    names = set(found.split.train) if found.split else {case.name for case in found.cases}
    return [
        UnlabelledFile(file, found.modality, channel, case.num_channels // len(case.images))
        for case in found.cases
        for file in case.images
        for channel in range(case.num_channels // len(case.images))
        if case.name in names
    ]


# --------------------------------------------------------------------------------------- preparing


@dataclass(frozen=True, kw_only=True)
class PreparedFile:
    """What became of a volume on its way into model space."""

    path: Path
    """Where it came from."""
    modality: Modality = "other"
    orientation: str = "LPS"
    """Axes of model space, as three letters for x, y, z; slices are stacked along depth."""
    shape_dhw: Size = (0, 0, 0)
    """Voxels in model space."""
    spacing_dhw: Spacing = (0.0, 0.0, 0.0)
    """Voxel size in model space in mm."""
    problem: str = ""
    """Why it was left out; empty when it is of use."""
    source: str = ""
    """What the volume of a training store was made from; empty where `path` tells it."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How volumes are brought into model space, each by its own modality."""

    modality: Literal["auto", "CT", "MR", "other"] = "auto"
    """auto: as data set or file say; else air at -1000 HU gives CT away."""
    scheme: Literal["auto", "ct-clip", "mr-percentile"] = "auto"
    """Intensity scheme; auto follows the modality. Either gives intensities from -1 to 1."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm; None keeps that of each volume."""

    def model_space(self, modality: Modality, orientation: str) -> PreprocessingConfig:
        """Describe the model space of volumes of one modality and one direction of slices."""
        scheme = self.scheme
        if scheme == "auto":
            scheme = "ct-clip" if modality == "CT" else "mr-percentile"
        return PreprocessingConfig(
            modality=modality,
            intensity=(usual_intensity(scheme),),
            spacing_dhw=self.spacing_dhw,
            orientation=orientation,
            crop="body" if scheme == "ct-clip" else "nonzero",
        )


def prepare_file(file: UnlabelledFile, preparation: Preparation, folder: Path) -> PreparedFile:
    """Bring a volume into model space and keep it as float16 in a folder of its own.

    A folder that is there is only read. A volume that is of no use leaves its problem there, so
    that a training that goes on later does so with the same volumes.

    Args:
        file: The volume.
        preparation: What model space is.
        folder: Where array and facts go.
    """
    if not folder.exists():
        with written_atomically(folder) as temporary:
            temporary.mkdir()
            facts = _prepare(file, preparation, temporary / "image.npy")
            write_json(temporary / "facts.json", encode(facts))
    return decode(PreparedFile, json.loads((folder / "facts.json").read_text("utf-8")))


def _prepare(file: UnlabelledFile, preparation: Preparation, target: Path) -> PreparedFile:
    try:
        volume = _read(file)
        check_no_label_map(volume)
        image_DHW, facts = prepare_image(volume, file, preparation)
        if facts.modality == "CT" and preparation.scheme != "mr-percentile":
            check_hounsfield(volume)
    except DataError as error:
        return PreparedFile(path=file.path, problem=error.message)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return PreparedFile(path=file.path, problem="It does not fit into the memory.")
    if not facts.problem:
        np.save(target, image_DHW)
    return facts


def _read(file: UnlabelledFile) -> Volume:
    volume = read_volume(file.path, num_channels=file.num_channels)
    if file.num_channels == 1:
        return volume
    if len(volume.array_CDHW) == 1:
        message = f"It has one channel, and its data set names {file.num_channels}."
        raise DataError(message, code="channels-differ", remedy="Leave it out.")
    return replace(volume, array_CDHW=volume.array_CDHW[file.channel, None])


def prepare_image(
    volume: Volume, file: UnlabelledFile, preparation: Preparation
) -> tuple[npt.NDArray[np.float16], PreparedFile]:
    """Bring a volume that was read from a file into model space.

    Returns:
        Voxels (D, H, W) and what is known of them.

    Raises:
        DataError: The volume has several channels.
    """
    modality = _modality(volume, file.modality, preparation)
    orientation = _orientation(volume.geometry)
    prepared = prepare_volume(volume, preparation.model_space(modality, orientation))
    image_DHW = prepared.image_CDHW[0].numpy().astype(np.float16)
    facts = PreparedFile(
        path=file.path,
        modality=modality,
        orientation=orientation,
        shape_dhw=prepared.record.model_shape_dhw,
        spacing_dhw=prepared.record.model_spacing_dhw,
        problem=_problem(image_DHW),
    )
    return image_DHW, facts


def _modality(volume: Volume, described: str, preparation: Preparation) -> Modality:
    if preparation.modality != "auto":
        return preparation.modality
    named = described or volume.modality
    if named == "CT" or (not named and volume.array_CDHW.min() <= _AIR_HU):
        return "CT"
    return "MR" if named == "MR" else "other"


@dataclass(frozen=True)
class _PatientExtent:
    """Shape and spacing along the patient's axes."""

    shape_dhw: Size
    spacing_dhw: Spacing


def _orientation(geometry: Geometry) -> str:
    """Choose axes that stack the slices along depth."""
    axes, _flips = canonical_axes(geometry.direction, "LPS")
    shape, spacing = geometry.shape_dhw, geometry.spacing_dhw
    depth, height, width = axes
    extent = _PatientExtent(
        (shape[depth], shape[height], shape[width]),
        (spacing[depth], spacing[height], spacing[width]),
    )
    return plan_orientation([extent])


def _problem(image_DHW: npt.NDArray[np.float16]) -> str:
    if min(image_DHW.shape) < _LEAST_EDGE:
        shape = " x ".join(map(str, image_DHW.shape))
        return f"It has {shape} voxels; at least {_LEAST_EDGE} along every axis are needed."
    if image_DHW.min() == image_DHW.max():
        return "It is constant once its intensities are clipped."
    return ""


# ----------------------------------------------------------------------------------------- reading


class PreparedVolumes:
    """Volumes that `prepare_file` left on disk: a crop source.

    Each call maps its file into memory anew, since there may be more than can be open at once.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def __len__(self) -> int:
        """Return the number of volumes."""
        return len(self._folders)

    def shape(self, index: int) -> Size:
        """Return the voxels of a volume along its axes."""
        depth, height, width = self._image(index).shape
        return depth, height, width

    def crop(self, index: int, start: Size, size: Size) -> npt.NDArray[Any]:
        """Read a box that lies inside the volume."""
        z, y, x = (slice(a, a + b) for a, b in zip(start, size, strict=True))
        box: npt.NDArray[Any] = self._image(index)[z, y, x]
        return box

    def _image(self, index: int) -> npt.NDArray[np.float16]:
        image_DHW: npt.NDArray[np.float16] = np.load(
            self._folders[index] / "image.npy", mmap_mode="r"
        )
        return image_DHW
