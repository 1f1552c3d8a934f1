"""What makes a volume useless for pretraining though it can be read, and what identifies it.

Axes: C channels; D, H, W depth, height, width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.data.resampling import slab_ranges
from MISFMLib.data.spatial import canonical_axes, canonical_view
from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.dicom_image import inspect_image
from MISFMLib.volumes.volume import Volume

_LABEL_LIKENESS = 0.5
"""Share of equal neighbours. Label maps had 0.98 and more, scans 0.10 and less, over 400 files."""
_MOST_LABELS = 256


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a volume must have to be worth learning from."""

    min_edge: int
    """Voxels along the shortest axis."""
    max_spacing_mm: float
    """Voxel size along the longest edge of a voxel."""


def check_volume(volume: Volume, limits: Limits) -> None:
    """Refuse volumes that are no scans, or of which parts are missing.

    Raises:
        DataError: There are too few slices, they are too far apart or some are blank, or the volume
            is a label map.
    """
    shape, spacing = volume.geometry.shape_dhw, volume.geometry.spacing_dhw
    if min(shape) < limits.min_edge:
        raise _useless(
            "too-few-slices",
            f"It has {' x '.join(map(str, shape))} voxels; at least {limits.min_edge} along every "
            "axis are needed.",
        )
    if max(spacing) > limits.max_spacing_mm:
        raise _useless(
            "coarse-voxels",
            f"Its voxels are {max(spacing):.4g} mm long, up to {limits.max_spacing_mm:g} mm are "
            "allowed.",
        )
    for channel_DHW in volume.array_CDHW:
        _check_blank_slices(channel_DHW)
    check_no_label_map(volume)


def check_no_label_map(volume: Volume) -> None:
    """Refuse labels, which may lie beside scans in files of any name.

    Raises:
        DataError: It looks like a label map.
    """
    if any(map(is_label_map, volume.array_CDHW)):
        raise _useless("label-map", "It looks like a label map: most neighbours are equal.")


def check_hounsfield(volume: Volume) -> None:
    """Refuse a CT whose intensities cannot be HU.

    Raises:
        DataError: Nothing in it is lighter than water.
    """
    lowest = volume.array_CDHW.min()
    if lowest >= 0:
        raise _useless(
            "not-hounsfield",
            f"Its intensities begin at {lowest:g}; in the HU of a CT fat and air are below 0.",
        )


def check_series(modality: str, files: Sequence[Path]) -> None:
    """Refuse DICOM series that are no volumes of CT or MR, before they are read.

    Raises:
        DataError: The series has another modality, or is a localizer.
    """
    if modality not in ("CT", "MR", ""):
        raise _useless("other-modality", f"It is a series of the modality {modality}.")
    slices = inspect_image(files[0])
    if slices and slices[0].is_localizer:
        raise _useless("localizer", "It is a localizer, not a scan.")


def _useless(code: str, message: str) -> DataError:
    return DataError(message, code=code, remedy="Leave it out.")


def _check_blank_slices(channel_DHW: npt.NDArray[Any]) -> None:
    """Look for slices of one value between others: a file that was filled up where data lacked."""
    blank = np.array([(plane == plane.flat[0]).all() for plane in channel_DHW])
    (filled,) = np.nonzero(~blank)
    missing = int(blank[filled[0] : filled[-1]].sum()) if len(filled) else 0
    if missing:
        raise _useless("missing-slices", f"{missing} slices in its midst hold a single value.")


def is_label_map(channel_DHW: npt.NDArray[Any]) -> bool:
    """Tell labels from intensities: labels are a few integers that mostly equal their neighbour."""
    if channel_DHW.min() < 0:
        return False
    is_real = channel_DHW.dtype.kind == "f"
    if is_real and not all((slab == np.rint(slab)).all() for slab in _slabs(channel_DHW)):
        return False
    if not neighbours_are_equal(channel_DHW):
        return False
    # A scan of little but air, where all of that was set to one value, has many values besides.
    return len(set().union(*(np.unique(slab) for slab in _slabs(channel_DHW)))) <= _MOST_LABELS


def neighbours_are_equal(channel_DHW: npt.NDArray[Any]) -> bool:
    """Tell whether most voxels equal their neighbour, as labels do.

    Neighbours that both have the lowest value, the background of either, do not count.
    """
    lowest, equal, counted = channel_DHW.min(), 0, 0
    for slab in _slabs(channel_DHW):
        left, right = slab[..., :-1], slab[..., 1:]
        inside = (left != lowest) & (right != lowest)
        equal += int(((left == right) & inside).sum())
        counted += int(inside.sum())
    return equal >= _LABEL_LIKENESS * counted


def _slabs(array_DHW: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    for start, stop in slab_ranges(len(array_DHW), array_DHW[0].size):
        yield array_DHW[start:stop]


def hash_voxels(volume: Volume) -> str:
    """Return the SHA-256 of shape and voxels in LPS order, whatever type and order the file had.

    So a DICOM series and its copy as NIfTI have the same hash.
    """
    axes, flips = canonical_axes(volume.geometry.direction, "LPS")
    digest = hashlib.sha256()
    for channel_DHW in volume.array_CDHW:
        view = canonical_view(channel_DHW, axes, flips)
        digest.update(repr(view.shape).encode())
        for slab in _slabs(view):
            # Adding zero turns -0.0 into 0.0.
            digest.update((np.array(slab, np.float32, order="C") + 0).tobytes())
    return digest.hexdigest()
