"""What one DICOM image says of itself, and why it may be unreadable."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_header import (
    SOP_CLASS,
    TRANSFER_SYNTAX,
    is_dicom,
    parse_numbers,
    read_meta,
)
from MISFMLib.volumes.formats.itk import quiet_itk

logger = logging.getLogger(__name__)

_SOP_INSTANCE, _SERIES = "0008|0018", "0020|000e"
_MODALITY, _DESCRIPTION = "0008|0060", "0008|103e"
_POSITION, _ORIENTATION, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
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
    pixel_type: int
    position_xyz: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_hw: tuple[float, ...]


def inspect_image(path: Path) -> DicomImage | None:
    """Read the header of a DICOM image; None for a file that is no DICOM or has no pixels."""
    if not is_dicom(path):
        return None
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as error:
        sop_class = read_meta(path).get(SOP_CLASS, "")
        if _is_image_class(sop_class):
            raise unreadable(path) from error
        if not sop_class:
            logger.warning("%s begins like DICOM but cannot be read; it is left out.", path)
        return None
    width, height, *frames = reader.GetSize()
    return DicomImage(
        path=path,
        uid=_text(reader, _SOP_INSTANCE),
        series=_text(reader, _SERIES),
        description=_text(reader, _DESCRIPTION),
        modality=_text(reader, _MODALITY),
        shape_hw=(height, width),
        frame_count=frames[0] if frames else 1,
        component_count=reader.GetNumberOfComponents(),
        pixel_type=reader.GetPixelID(),
        position_xyz=_numbers(reader, _POSITION, 3),
        orientation=_numbers(reader, _ORIENTATION, 6),
        spacing_hw=_numbers(reader, _PIXEL_SPACING, 2),
    )


def _text(reader: sitk.ImageFileReader, key: str) -> str:
    if not reader.HasMetaDataKey(key):
        return ""
    data = reader.GetMetaData(key).encode("utf-8", "surrogateescape").strip(b" \0")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "latin-1")  # by far the most frequent of DICOM's other character sets


def _numbers(reader: sitk.ImageFileReader, key: str, count: int) -> tuple[float, ...]:
    try:
        return parse_numbers(_text(reader, key), count)
    except ValueError:
        return ()


def _is_image_class(sop_class: str) -> bool:
    if sop_class == _MR_SPECTROSCOPY:
        return False
    return any(sop_class == known or sop_class.startswith(f"{known}.") for known in _IMAGE_CLASSES)


def unreadable(path: Path) -> DataError:
    """Describe an image that GDCM cannot read: its compression is unknown, or it is damaged."""
    syntax = read_meta(path).get(TRANSFER_SYNTAX, "")
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
