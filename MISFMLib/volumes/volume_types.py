"""What a volume and a label map are: an array of voxels and the grid they lie on.

Arrays have the axes C, D, H, W. Positions are millimetres in the DICOM patient system LPS (x to the
left, y to the back, z to the head) with the axes x, y, z, as in SimpleITK.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import Size, Spacing
from MISFMLib.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Geometry:
    """The grid of a volume: where every voxel lies in the patient."""

    shape_dhw: Size
    """Voxels along depth, height, width."""
    spacing_dhw: Spacing
    """Distance of neighbouring voxel centres in mm along depth, height, width."""
    origin_xyz: tuple[float, float, float]
    """Centre of the first voxel in mm."""
    direction: tuple[float, ...]
    """Orthonormal 3 x 3 matrix by rows; its columns are the directions of width, height, depth."""

    def position_xyz(self, index_dhw: tuple[float, float, float]) -> Array:
        """Return the position in mm of a voxel index, which may lie between voxels."""
        steps = np.multiply(index_dhw, self.spacing_dhw)[::-1]
        position: Array = np.asarray(self.origin_xyz) + np.reshape(self.direction, (3, 3)) @ steps
        return position

    def corners_xyz(self) -> Array:
        """Return the centres of the eight corner voxels in mm, shape (8, 3)."""
        depth, height, width = ((0, size - 1) for size in self.shape_dhw)
        corners = itertools.product(depth, height, width)
        return np.stack([self.position_xyz(corner) for corner in corners])

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Tell whether every voxel of both grids lies at the same place.

        Args:
            other: Grid to compare with.
            tolerance_mm: Largest distance of corresponding voxels. The default is ten times what
                the 32-bit numbers of NIfTI move a voxel of a large volume by.
        """
        if self.shape_dhw != other.shape_dhw:
            return False
        return self.distance_mm(other) <= tolerance_mm

    def distance_mm(self, other: Geometry) -> float:
        """Return the largest distance of corresponding corners of two grids of one shape in mm."""
        offsets = self.corners_xyz() - other.corners_xyz()
        return float(np.linalg.norm(offsets, axis=1).max())

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return math.prod(self.spacing_dhw)


@dataclass(frozen=True)
class Volume:
    """Intensities of one or several channels on one grid."""

    array_CDHW: Array
    """Voxels in the type of the file, axes channel, depth, height, width."""
    geometry: Geometry
    """Grid of the voxels."""
    name: str
    """Name of the case, taken from the file or folder."""
    modality: str = ""
    """``CT`` or ``MR`` where the file says so (DICOM), else empty."""
    dicom_files: tuple[Path, ...] = ()
    """DICOM files of the first channel in the order of its slices; empty for other formats."""


@dataclass(frozen=True)
class LabelMap:
    """One integer label per voxel, 0 for background."""

    array_DHW: Array
    """Labels as uint8 or uint16, axes depth, height, width."""
    geometry: Geometry
    """Grid of the voxels."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Label to name, where the file has names (.seg.nrrd); programs renumber labels, not names."""


def check_same_grid(volume: Volume, label_map: LabelMap) -> None:
    """Refuse a volume and a label map that do not lie on the same grid.

    Raises:
        DataError: They differ in shape, spacing, position or orientation; the message says in what.
    """
    difference = describe_difference(volume.geometry, label_map.geometry)
    if difference:
        raise DataError(
            f"The label map of {volume.name} does not lie on the grid of its image: {difference}.",
            code="grid-mismatch",
            remedy="Resample the label map to the image (nearest neighbour), or take the matching "
            "file.",
        )


def describe_difference(expected: Geometry, other: Geometry, tolerance: float = 0.01) -> str:
    """Say in words what differs between two grids.

    Programs round what they write: NIfTI to 32 bits, text headers to some digits.

    Args:
        expected: The one grid.
        other: The other.
        tolerance: Part of the smallest voxel edge by which a voxel may be off.

    Returns:
        The first difference; empty when no voxel is off by more than the tolerance.
    """
    if expected.same_grid(other, max(1e-3, tolerance * min(expected.spacing_dhw))):
        return ""
    if expected.shape_dhw != other.shape_dhw:
        return f"shape {by(other.shape_dhw)} instead of {by(expected.shape_dhw)} (D x H x W)"
    if not np.allclose(expected.spacing_dhw, other.spacing_dhw, rtol=1e-4, atol=0):
        return f"spacing {numbers(other.spacing_dhw)} instead of {numbers(expected.spacing_dhw)} mm"
    if not np.allclose(expected.direction, other.direction, rtol=0, atol=1e-3):
        return f"axes {numbers(other.direction)} instead of {numbers(expected.direction)}"
    return (
        f"origin {numbers(other.origin_xyz)} instead of {numbers(expected.origin_xyz)} mm, "
        f"up to {expected.distance_mm(other):.3g} mm apart"
    )


def by(sizes: Sequence[int]) -> str:
    """Write sizes as people do: 512 x 512 x 60."""
    return " x ".join(map(str, sizes))


def numbers(values: Sequence[float] | Array) -> str:
    """Write numbers with six digits."""
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
