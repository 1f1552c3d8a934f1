"""What one DICOM image says of itself and of each of its frames, and why it may be unreadable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_header import (
    is_dicom,
    numbers_of,
    patient_data_as_it_is,
    read_header,
    text_of,
    transfer_syntax,
)

logger = logging.getLogger(__name__)

_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_IMAGE_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in ("1", "2", "3.1", "4", "6.1", "7", "12", "13", "20", "128", "130")
)
"""Storage classes of images (DICOM PS3.6 annex A) and, with more numbers behind, their variants."""
_MR_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
_READABLE_SYNTAXES = (
    "1.2.840.10008.1.2",
    *(f"1.2.840.10008.1.2.{number}" for number in ("1", "1.99", "2", "5")),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 92, 93)),
)
_SYNTAX_NAMES = {
    "1.2.840.10008.1.2.4.100": "MPEG-2",
    "1.2.840.10008.1.2.4.102": "MPEG-4",
    "1.2.840.10008.1.2.4.103": "MPEG-4",
    "1.2.840.10008.1.2.4.107": "HEVC",
    "1.2.840.10008.1.2.4.110": "JPEG XL lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL recompressed JPEG",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 RPCL lossless",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
_MOST_FRAMES = 1 << 16


@dataclass(frozen=True)
class DicomImage:
    """The header of one DICOM file with pixels."""

    path: Path
    uid: str
    series: str
    description: str
    modality: str
    shape_hw: tuple[int, int]
    frame_count: int
    component_count: int
    photometric: str
    syntax: str
    is_capture: bool
    """Whether it is a secondary capture, such as a screenshot."""


@dataclass(frozen=True)
class DicomSlice:
    """One frame of a DICOM image: where it lies, how it is scaled, and what it shows."""

    image: DicomImage
    frame: int
    """Its number in the file, from 0."""
    position_xyz: tuple[float, ...]
    """Centre of its first pixel in mm; empty where the file does not say it."""
    orientation: tuple[float, ...]
    """Direction cosines of a row, then of a column; empty where the file does not say them."""
    spacing_hw: tuple[float, ...]
    """Distance of rows, then of columns, in mm."""
    scale: tuple[float, float]
    """Slope and intercept of the intensities."""
    echo_time: str
    b_value: str
    phase: str
    """Temporal position."""
    trigger: str
    """Time in the heart's cycle."""
    image_type: str
    acquisition: str
    acquisition_time: str

    @property
    def is_placed(self) -> bool:
        """Whether it says where it lies."""
        return bool(self.position_xyz and self.orientation)

    @property
    def is_localizer(self) -> bool:
        """Whether it is a scout view."""
        return "LOCALIZER" in self.image_type.upper().split("\\")


def inspect_image(path: Path) -> list[DicomSlice] | None:
    """Read the header of a DICOM image; None for a file that is no DICOM or has no pixels.

    Returns:
        Its frames in the order of the file.

    Raises:
        DataError: It is an image, and incomplete or damaged.
    """
    if not is_dicom(path):
        return None
    header = read_header(path)
    if header is None:
        logger.warning("%s begins like DICOM but cannot be read; it is left out.", path)
        return None
    with patient_data_as_it_is():
        return slices_of(header, path)


def slices_of(header: Any, path: Path) -> list[DicomSlice] | None:
    """Return what a header says of each frame; None where it describes no image.

    Raises:
        DataError: It is the header of an image, and incomplete.
    """
    sop_class = text_of(header, "SOPClassUID") or text_of(
        header.file_meta, "MediaStorageSOPClassUID"
    )
    if sop_class == _MR_SPECTROSCOPY:
        return None
    size = (numbers_of(header, "Rows", 1), numbers_of(header, "Columns", 1))
    if not all(size):
        if _is_image_class(sop_class):
            raise unreadable(path, transfer_syntax(header))
        if not sop_class:
            logger.warning("%s begins like DICOM but cannot be read; it is left out.", path)
        return None
    frames = numbers_of(header, "NumberOfFrames", 1) or (1.0,)
    image = DicomImage(
        path=path,
        uid=text_of(header, "SOPInstanceUID"),
        series=text_of(header, "SeriesInstanceUID"),
        description=text_of(header, "SeriesDescription"),
        modality=text_of(header, "Modality"),
        shape_hw=(int(size[0][0]), int(size[1][0])),
        frame_count=int(min(max(frames[0], 1), _MOST_FRAMES)),
        component_count=int((numbers_of(header, "SamplesPerPixel", 1) or (1.0,))[0]),
        photometric=text_of(header, "PhotometricInterpretation"),
        syntax=transfer_syntax(header),
        is_capture=sop_class == _CAPTURES or sop_class.startswith(f"{_CAPTURES}."),
    )
    return [_slice(header, image, number) for number in range(image.frame_count)]


def _is_image_class(sop_class: str) -> bool:
    return any(sop_class == known or sop_class.startswith(f"{known}.") for known in _IMAGE_CLASSES)


def _slice(header: Any, image: DicomImage, number: int) -> DicomSlice:
    groups = _groups(header, number)

    def numbers(sequence: str, keyword: str, count: int) -> tuple[float, ...]:
        for dataset in _places(groups, header, sequence):
            found = numbers_of(dataset, keyword, count)
            if found:
                return found
        return ()

    def text(sequence: str, keyword: str, plain: str = "") -> str:
        for dataset in _places(groups, header, sequence):
            found = text_of(dataset, keyword if dataset is not header else plain or keyword)
            if found:
                return found
        return ""

    slope = numbers("PixelValueTransformationSequence", "RescaleSlope", 1) or (1.0,)
    intercept = numbers("PixelValueTransformationSequence", "RescaleIntercept", 1) or (0.0,)
    frame_type = (
        "CTImageFrameTypeSequence" if image.modality == "CT" else "MRImageFrameTypeSequence"
    )
    # The frames of a multi-frame image have a place each or none: the file's own says nothing.
    is_single = image.frame_count == 1
    position = numbers("PlanePositionSequence", "ImagePositionPatient", 3)
    if groups or not is_single:
        position = _nested(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    return DicomSlice(
        image=image,
        frame=number,
        position_xyz=position,
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing_hw=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        scale=(slope[0], intercept[0]),
        echo_time=text("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
        b_value=text("MRDiffusionSequence", "DiffusionBValue"),
        phase=text("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
        trigger=text(
            "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"
        ),
        image_type=text(frame_type, "FrameType", "ImageType"),
        acquisition=text("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
        acquisition_time=text_of(header, "AcquisitionTime") if is_single else "",
    )


def _groups(header: Any, number: int) -> list[Any]:
    """Return the functional groups of a frame, its own before those that all share."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    own = [per_frame[number]] if number < len(per_frame) else []
    return [*own, *(header.get("SharedFunctionalGroupsSequence") or ())[:1]]


def _places(groups: Sequence[Any], header: Any, sequence: str) -> list[Any]:
    """Return where an attribute may stand: in the groups, else in the header itself."""
    nested = [item for group in groups for item in (group.get(sequence) or ())[:1]]
    return [*nested, header]


def _nested(groups: Sequence[Any], sequence: str, keyword: str, count: int) -> tuple[float, ...]:
    for group in groups:
        for item in (group.get(sequence) or ())[:1]:
            return numbers_of(item, keyword, count)
    return ()


def unreadable(path: Path, syntax: str) -> DataError:
    """Describe an image that cannot be read: its compression is unknown, or it is damaged."""
    if syntax and syntax not in _READABLE_SYNTAXES:
        name = _SYNTAX_NAMES.get(syntax, "unknown to this program")
        return DataError(
            f"{path} is compressed in a way that cannot be unpacked here: transfer syntax {syntax} "
            f"({name}).",
            code="dicom-codec",
            remedy="Convert the series to uncompressed DICOM, for example with gdcmconv --raw, or "
            "export it again without compression.",
        )
    return DataError(
        f"{path} is a DICOM image that cannot be read: it is incomplete or damaged.",
        code="dicom-damaged",
        remedy="Copy or export the series again.",
    )
