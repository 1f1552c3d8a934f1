"""The headers of DICOM files, read by pydicom without their pixels."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

_KEYWORDS = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality"),
    *("SeriesDescription", "EchoTime", "TriggerTime", "DiffusionBValue", "SeriesInstanceUID"),
    *("AcquisitionNumber", "AcquisitionTime", "InstanceNumber", "ImagePositionPatient"),
    *("ImageOrientationPatient", "TemporalPositionIdentifier", "SamplesPerPixel"),
    *("PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "PixelSpacing"),
    *("RescaleIntercept", "RescaleSlope", "BitsAllocated"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""What is asked of each file; reading no more makes a large series fast."""
_FIRST_WITHOUT_PREAMBLE = (b"\2\0", b"\10\0", b"\10\5", b"\10\x16")


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins like DICOM, with or without the preamble."""
    try:
        with path.open("rb") as file:
            data = file.read(132)
    except OSError:
        return False
    # Without preamble it begins with an attribute of group 2 or 8.
    return data[128:] == b"DICM" or data[:4:2] in _FIRST_WITHOUT_PREAMBLE


def read_header(path: Path) -> Dataset | None:
    """Read what is asked of each image, with its file meta information; None if that is impossible.

    Any transfer syntax is read, also big endian and deflated, and files without preamble.
    """
    from pydicom import dcmread  # here: half a second that those who read no DICOM need not wait

    try:
        with patient_data_as_it_is():
            header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_KEYWORDS)
    except OSError:
        raise
    except Exception:
        return None
    return header if len(header) else None


def transfer_syntax(header: Dataset) -> str:
    """Return how the pixels are stored; files without preamble are implicit little endian."""
    return str(header.file_meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2")


@contextlib.contextmanager
def patient_data_as_it_is() -> Iterator[None]:
    """Let values that scanners, hospitals and anonymisers wrote pass without a warning."""
    from pydicom.config import disable_value_validation

    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def numbers_of(dataset: Any, keyword: str, count: int) -> tuple[float, ...]:
    """Return an attribute of so many numbers; empty where it is missing or something else."""
    import math

    try:
        value = dataset.get(keyword)
        values = [value] if isinstance(value, (int, float, str)) else list(value or ())
        found = tuple(float(number) for number in values)
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        return ()
    is_sound = len(found) == count and all(map(math.isfinite, found))
    return found if is_sound else ()


def text_of(dataset: Any, keyword: str) -> str:
    r"""Return an attribute as text, several values joined by ``\``; empty where it is missing."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError, OverflowError, ArithmeticError, LookupError):
        return ""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip(" \0")
    values = value if isinstance(value, list) or hasattr(value, "__iter__") else [value]
    return "\\".join(str(each).strip(" \0") for each in values)
