"""The errors that several file formats share, and the checks that lead to them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.memory import check_fits
from MISFMLib.volumes.volume_types import Array, by, numbers

BLOCK_BYTES = 1 << 18
_FINEST_MM = 1e-3
_SHORTEST_EDGE_MM, _LONGEST_EDGE_MM = 1.0, 1e4
_PLAUSIBLE_EDGE_MM = (5.0, 3000.0)
_MOST_AXES = 7
"""Of a NIfTI file, the most of all formats in use; what reads files has fixed room for them."""


def unpacked(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the rest of a gzip or zlib file unpacked block by block, and check its checksum.

    Raises:
        DataError: The packed data are damaged or end too early.
    """
    decoder, data = zlib.decompressobj(47), file.read(BLOCK_BYTES)
    try:
        while data:
            yield decoder.decompress(data, 4 * BLOCK_BYTES)
            data = decoder.unconsumed_tail or file.read(BLOCK_BYTES)
            if decoder.eof:
                # A file may hold several gzip members; anything else behind the end is padding.
                data = decoder.unused_data + data
                if not data.startswith(b"\x1f\x8b"):
                    return
                decoder = zlib.decompressobj(47)
        yield decoder.flush()
    except zlib.error as error:
        raise DataError(
            f"{path} is damaged: its compressed data cannot be unpacked.",
            code="file-damaged",
            remedy="Copy or download the file again.",
        ) from error
    if not decoder.eof:
        raise file_truncated(path, "its compressed data end too early")


def check_size(path: Path, size: int, expected: int) -> None:
    """Refuse a file with fewer bytes than its header announces.

    Raises:
        DataError: `size` is below `expected`.
    """
    if size < expected:
        raise file_truncated(path, f"{size} bytes are there, its header asks for {expected}")


def check_spacing(path: Path, spacing: Sequence[float] | Array) -> None:
    """Refuse voxel sizes in mm that are zero, negative or no numbers.

    Raises:
        DataError: One of them is not a positive number.
    """
    if not np.all(np.isfinite(spacing) & (np.asarray(spacing) > 0)):
        raise DataError(
            f"{path} has the voxel size {numbers(spacing)} mm, it must be above zero on each axis.",
            code="zero-spacing",
            remedy="Correct its spacing in 3D Slicer, or convert the original files again.",
        )


def check_extent(path: Path, sizes: Sequence[int], spacing: Sequence[float] | Array) -> None:
    """Refuse a volume far smaller or larger than anything a scanner takes: another unit than mm.

    Args:
        path: File, for the message.
        sizes: Voxels along each axis.
        spacing: Voxel size in mm along the same axes.

    Raises:
        DataError: Its voxels are below a thousandth of a millimetre, or its longest edge is below
            one millimetre or above ten metres.
    """
    longest = max(size * float(step) for size, step in zip(sizes, spacing, strict=False))
    finest = min(map(float, spacing))
    if finest >= _FINEST_MM and _SHORTEST_EDGE_MM <= longest <= _LONGEST_EDGE_MM:
        return
    factors = {"metres": 1000.0, "micrometres": 0.001, "centimetres": 10.0}
    fitting = [
        f"In {unit} it would be {longest * factor:.4g} mm long."
        for unit, factor in factors.items()
        if _PLAUSIBLE_EDGE_MM[0] <= longest * factor <= _PLAUSIBLE_EDGE_MM[1]
    ]
    raise DataError(
        f"{path} has voxels of {numbers(spacing)} mm and is {longest:.4g} mm long, which no scan "
        f"is. {' '.join(fitting[:1])}".rstrip(),
        code="implausible-spacing",
        remedy="Correct its voxel size in 3D Slicer (module Volumes), in millimetres.",
    )


def check_memory(path: Path, needed: int) -> None:
    """Refuse a file whose voxels do not fit into the memory.

    Args:
        path: File, for the message.
        needed: Bytes of its voxels.

    Raises:
        DeviceError: They do not.
    """
    remedy = "Check that its header is right; crop it, or use a computer with more memory."
    check_fits(f"{path} says that it", needed, remedy)


REGRID = (
    "Resample it onto a regular grid first: in 3D Slicer load it, then use Crop Volume with "
    "interpolated cropping."
)
"""What to do with a tilted gantry, which 3D Slicer loads as a sheared volume."""


def check_axes(path: Path, axes: Array, tolerance: float) -> None:
    """Refuse a grid whose axes are not at right angles or not of unit length.

    Args:
        path: File, for the message.
        axes: Matrix with the direction of one axis in each column.
        tolerance: Largest deviation of a scalar product of two columns from 0, of one from 1.

    Raises:
        DataError: The axes are sheared, as after a scan with tilted gantry, or scaled.
    """
    products = axes.T @ axes
    if np.abs(products - np.eye(len(products))).max() <= tolerance:
        return
    lengths = np.sqrt(np.diag(products))
    cosines = products / np.outer(lengths, lengths) - np.eye(len(products))
    tilt = math.degrees(math.asin(min(1.0, np.abs(cosines).max())))
    raise DataError(
        f"{path} has axes that no regular grid has: they are {tilt:.3g} degrees off the right "
        f"angle (as after a scan with tilted gantry) and {numbers(lengths)} long instead of 1.",
        code="sheared-grid",
        remedy=REGRID,
    )


def check_sizes(path: Path, sizes: Sequence[int]) -> None:
    """Refuse an image without voxels, or with more axes than any.

    Raises:
        DataError: One of the sizes is zero, or there are none, or too many.
    """
    if len(sizes) > _MOST_AXES:
        raise not_an_image(path, f"its header names {len(sizes)} axes")
    if not sizes or min(sizes) < 1:
        raise DataError(
            f"{path} holds no voxels: its size is {by(sizes) or 'unknown'}.",
            code="empty-volume",
            remedy="Export the image again.",
        )


def check_name(path: Path) -> None:
    """Refuse a name that is no text in UTF-8: programs in C++ do not survive it.

    Raises:
        DataError: The name of the file or of a folder above it is none.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{str(path).encode('utf-8', 'backslashreplace').decode()} has a name that is no text.",
            code="bad-file-name",
            remedy="Rename the file or the folder it is in.",
        ) from error


def file_missing(path: Path) -> DataError:
    """Describe a file that is not there."""
    return DataError(
        f"{path} does not exist.", code="file-missing", remedy="Check the name and the folder."
    )


def file_truncated(path: Path, reason: str) -> DataError:
    """Describe a file that ends too early."""
    return DataError(
        f"{path} is incomplete: {reason}.",
        code="file-truncated",
        remedy="Copy or download the file again.",
    )


def not_an_image(path: Path, reason: str) -> DataError:
    """Describe a file that is no image of the format its name promises."""
    return DataError(
        f"{path} is no image that can be read: {reason}.",
        code="not-an-image",
        remedy="Open it in the program that made it and save it as .nii.gz or .nrrd.",
    )


def not_finite(path: Path | str) -> DataError:
    """Describe intensities that are no numbers."""
    return DataError(
        f"{path} holds NaN or infinite intensities.",
        code="not-finite",
        remedy="Replace them, for example by the intensity of air, and save it again.",
    )


def four_dimensional(path: Path, sizes: Sequence[int]) -> DataError:
    """Describe an image with time points or other frames, which is no single volume."""
    return DataError(
        f"{path} has more than three dimensions ({by(sizes)}), one volume was expected.",
        code="four-dimensional",
        remedy="Save the wanted frame, or each channel, as a file of its own; the channels of one "
        "case are given joined by commas.",
    )


def two_dimensional(path: Path, sizes: Sequence[int]) -> DataError:
    """Describe a single slice."""
    return DataError(
        f"{path} is a single slice ({by(sizes)} voxels), a volume was expected.",
        code="two-dimensional",
        remedy="Give the whole volume; for DICOM give the folder of the series.",
    )
