"""The series that a DICOM SEG refers to: identifiers that must be there, patient data as it can be.

highdicom takes the headers of the source files. They are mended here in memory where scanners and
anonymisers wrote what DICOM does not allow; the files stay as they are.
"""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_header import numbers_of, patient_data_as_it_is
from MISFMLib.volumes.formats.dicom_image import DicomSlice, slices_of
from MISFMLib.volumes.volume import Geometry, Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_NEEDED = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPClassUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
)
_ONE_IN_A_SERIES = ("FrameOfReferenceUID", "StudyInstanceUID")
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
"""Attributes that every series should have and that anonymisation sometimes removes (type 2)."""
_CT, _MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_CLASSIC = (_CT, _MR, "1.2.840.10008.5.1.4.1.1.128")
_ENHANCED = tuple(f"{known}.1" for known in _CLASSIC)
_DATE = re.compile(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?\d*")
_OTHER_FORMAT = "Take files with all their identifiers, or another format, such as .seg.nrrd."


@dataclass(frozen=True)
class DicomSource:
    """Headers that highdicom can use, and what was done to them."""

    headers: list[Dataset]
    """One for each slice, or one for all of a multi-frame file; the patient's data in the first."""
    stands_for: dict[str, tuple[str, str, int]]
    """Made-up SOP instance UID of a header to the class, UID and frame that it stands for."""
    mended: tuple[str, ...]
    """What had to be left empty or written in another form."""


def read_source(volume: Volume) -> DicomSource:
    """Read the headers of the files that a volume was read from.

    Raises:
        DataError: The volume does not come from DICOM; its files lack identifiers, share them, or
            name several frames of reference.
    """
    from pydicom import dcmread

    if not volume.dicom_files:
        raise DataError(
            f"{volume.name} was not read from DICOM, which a DICOM SEG refers to.",
            code="not-dicom",
            remedy="Choose another format, such as .seg.nrrd, or give the DICOM folder.",
        )
    with patient_data_as_it_is():
        headers = [
            dcmread(file, stop_before_pixels=True, force=True) for file in volume.dicom_files
        ]
        _check_identifiers(headers, volume.name)
        mended = _mend(headers[0])
        is_one_file = len(headers) == 1 and headers[0].SOPClassUID in _ENHANCED
        stands_for: dict[str, tuple[str, str, int]] = {}
        if is_one_file:
            _place_frames(headers[0], volume.geometry)
        else:
            headers, stands_for = _one_for_each_slice(headers, volume)
    return DicomSource(headers, stands_for, mended)


def _check_identifiers(headers: Sequence[Dataset], name: str) -> None:
    missing = sorted({need for header in headers for need in _NEEDED if not header.get(need)})
    if missing:
        raise DataError(
            f"The DICOM files of {name} have no {', '.join(missing)}.",
            code="dicom-incomplete",
            remedy=_OTHER_FORMAT,
        )
    for keyword in _ONE_IN_A_SERIES:
        values = {str(header.get(keyword)) for header in headers}
        if len(values) > 1:
            raise DataError(
                f"The DICOM files of {name} name {len(values)} different {keyword}s, a DICOM SEG "
                "refers to one.",
                code="dicom-incomplete",
                remedy=_OTHER_FORMAT,
            )
    uids = {str(header.SOPInstanceUID) for header in headers}
    if len(uids) < len(headers):
        raise DataError(
            f"The {len(headers)} DICOM files of {name} share {len(uids)} SOP instance UIDs; a "
            "DICOM SEG could not say which slice it refers to.",
            code="dicom-incomplete",
            remedy=_OTHER_FORMAT,
        )


# ----------------------------------------------------------------------------------------- values


def _mend(header: Dataset) -> tuple[str, ...]:
    """Bring values into forms that DICOM allows; return what was done, without the values."""
    mended = []
    for tag in list(header.keys()):
        if tag.is_private:
            continue
        done = _mend_element(header, tag)
        if done:
            mended.append(done)
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, "")
    return tuple(mended)


def _mend_element(header: Dataset, tag: Any) -> str:
    from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag

    keyword = keyword_for_tag(tag)
    try:
        element = header[tag]
        value, vr = element.value, element.VR
    except Exception:
        if keyword:
            header.add_new(tag, dictionary_VR(tag), None)
        else:
            del header[tag]
        return f"{keyword or tag} was left empty"
    if not keyword or vr == "SQ" or not value:
        return ""
    if (
        dictionary_VM(tag) == "1"
        and not isinstance(value, (str, bytes))
        and hasattr(value, "append")
    ):
        header.add_new(tag, vr, value[0])
        return f"of several values of {keyword} the first was taken"
    forms = {"DA": _date, "TM": _time}
    if vr not in forms or not isinstance(value, str):
        return ""
    written = forms[vr](str(value))
    if written == str(value):
        return ""
    header.add_new(tag, vr, written)
    return f"{keyword} was {'written in another form' if written else 'left empty'}"


def _date(text: str) -> str:
    """Return a date as DICOM writes it; empty where it is none."""
    match = _DATE.fullmatch(text.strip(" \0"))
    if not match:
        return ""
    year, month, day = map(int, match.groups())
    try:
        return datetime.date(year, month, day).strftime("%Y%m%d")
    except ValueError:
        return ""


def _time(text: str) -> str:
    """Return a time of day as DICOM writes it; empty where it is none."""
    match = _TIME.fullmatch(text.strip(" \0"))
    if not match:
        return ""
    hour, minute, second, fraction = match.groups()
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        return ""
    return f"{hour}{minute or ''}{second or ''}{(fraction or '') if second else ''}"


# ----------------------------------------------------------------------------------------- places


def _place_frames(header: Dataset, geometry: Geometry) -> None:
    """Put the frames of a multi-frame file exactly on the grid, so that each is found again."""
    for frame in header.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        position = numbers_of(place, "ImagePositionPatient", 3)
        place.ImagePositionPatient = _on_grid(position, geometry)
    shared = header.get("SharedFunctionalGroupsSequence") or [None]
    groups = [group for group in (*shared, *header.PerFrameFunctionalGroupsSequence) if group]
    for group in groups:
        for measures in group.get("PixelMeasuresSequence") or ():
            measures.SliceThickness = geometry.spacing_dhw[0]


def _one_for_each_slice(
    headers: Sequence[Dataset], volume: Volume
) -> tuple[list[Dataset], dict[str, tuple[str, str, int]]]:
    """Describe every slice by a header of a classic series, exactly on the grid of the volume.

    highdicom takes several files of single-frame classes only; others get such a class and, where
    a file has several frames, made-up identifiers. `restore_references` puts the real ones back.
    """
    found: list[Dataset] = []
    stands_for: dict[str, tuple[str, str, int]] = {}
    for path, header in zip(volume.dicom_files, headers, strict=True):
        for each in slices_of(header, path) or ():
            own = _classic(header, each, volume.geometry, is_first=not found)
            if own.SOPClassUID != header.SOPClassUID or each.image.frame_count > 1:
                number = each.frame + 1 if each.image.frame_count > 1 else 0
                stands_for[own.SOPInstanceUID] = (
                    str(header.SOPClassUID),
                    str(header.SOPInstanceUID),
                    number,
                )
            found.append(own)
    return found, stands_for


def _classic(header: Dataset, each: DicomSlice, geometry: Geometry, *, is_first: bool) -> Dataset:
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    own = copy.deepcopy(header) if is_first else Dataset()
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if keyword in own:
            delattr(own, keyword)
    own.file_meta = header.file_meta
    for keyword in (*_NEEDED, "Rows", "Columns"):
        setattr(own, keyword, header.get(keyword))
    if header.SOPClassUID not in _CLASSIC:
        own.SOPClassUID = _CT if header.get("Modality") == "CT" else _MR
    if each.image.frame_count > 1:
        own.SOPInstanceUID = generate_uid()
    axes = np.reshape(geometry.direction, (3, 3)).T
    own.ImageOrientationPatient = [*axes[0].tolist(), *axes[1].tolist()]
    own.ImagePositionPatient = _on_grid(each.position_xyz, geometry)
    own.PixelSpacing = list(geometry.spacing_dhw[1:])
    own.SliceThickness = geometry.spacing_dhw[0]
    if "SpacingBetweenSlices" in own:
        own.SpacingBetweenSlices = geometry.spacing_dhw[0]
    return own


def _on_grid(position_xyz: Sequence[float], geometry: Geometry) -> list[float]:
    """Return the place of the slice of the grid that lies nearest to a position."""
    normal = np.reshape(geometry.direction, (3, 3))[:, 2]
    depth = float(np.dot(np.subtract(position_xyz, geometry.origin_xyz), normal))
    number = round(depth / geometry.spacing_dhw[0])
    place: list[float] = geometry.position_xyz((number, 0, 0)).tolist()
    return place


def restore_references(segmentation: Dataset, source: DicomSource) -> None:
    """Let references name the real files and frames instead of the headers that stood for them."""
    if not source.stands_for:
        return
    for element in segmentation.iterall():
        if element.VR == "SQ" and element.keyword:
            has_frames = element.keyword == "SourceImageSequence"
            for item in element.value:
                _restore(item, source, has_frames)
            kept = [item for n, item in enumerate(element.value) if item not in element.value[:n]]
            if element.keyword == "ReferencedInstanceSequence" and len(kept) < len(element.value):
                element.value = kept


def _restore(item: Dataset, source: DicomSource, has_frames: bool) -> None:
    known = source.stands_for.get(str(item.get("ReferencedSOPInstanceUID", "")))
    if known:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, number = known
        if number and has_frames:
            item.ReferencedFrameNumber = number
