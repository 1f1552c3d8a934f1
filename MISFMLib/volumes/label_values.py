"""Labels as whole numbers, also where a file keeps them as scaled integers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.volume_types import Array

_LARGEST_LABEL = int(np.iinfo(np.uint16).max)
_NIFTI_INTEGERS = {"2", "4", "8", "256", "512", "768"}
"""Codes of the types of 8 to 32 bits."""
_FLOAT_ERROR = 1e-4
"""Of numbers that are scaled in single precision, beside half a step."""


def make_whole(array_DHW: Array, fields: Mapping[str, str], path: Path) -> None:
    """Refuse what are no labels; those that a slope has moved a little become whole numbers again.

    nibabel (5.4) and SPM scale floats that are to be saved as integers by their range, also where
    they are whole: of the labels 0 to 7, saved as uint8, comes a slope of 7 / 255, which has no 1
    but 0.988.

    Args:
        array_DHW: Values; changed in place.
        fields: Fields of the file's header, as ITK names them.
        path: For messages.

    Raises:
        DataError: They are no integers from 0 to 65535.
    """
    off_whole = _half_step(fields)
    for plane in array_DHW if array_DHW.dtype.kind == "f" else ():
        whole = np.rint(plane)
        if not np.isclose(plane, whole, rtol=0, atol=off_whole).all():
            raise DataError(
                f"{path} holds values that are no integers, labels were expected.",
                code="label-not-integer",
                remedy="Give the label map, not the image or probabilities, and resample label "
                "maps with nearest neighbour only.",
            )
        plane[:] = whole
    lowest, highest = array_DHW.min(), array_DHW.max()
    if lowest < 0 or highest > _LARGEST_LABEL:
        raise DataError(
            f"{path} holds labels from {lowest:g} to {highest:g}, they must be from 0 to "
            f"{_LARGEST_LABEL}.",
            code="label-out-of-range",
            remedy="Give the label map, not the image, with background 0.",
        )


def _half_step(fields: Mapping[str, str]) -> float:
    """Return how far a NIfTI file's scaled integers can be off what was meant; 0 for others.

    With a step of one and more the numbers between them could not be told from labels.
    """
    if fields.get("datatype") not in _NIFTI_INTEGERS:
        return 0.0
    step = abs(float(fields.get("scl_slope", 0)))
    return step / 2 + _FLOAT_ERROR if 0 < step < 1 else 0.0
