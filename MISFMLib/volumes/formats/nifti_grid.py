"""Where a NIfTI file says that its voxels lie, in two forms that may differ or be rounded."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np

from MISFMLib.errors import DataError
from MISFMLib.volumes.formats.nifti_header import NiftiHeader
from MISFMLib.volumes.formats.problems import check_axes, check_spacing, not_an_image
from MISFMLib.volumes.volume_types import Array, Geometry, numbers

logger = logging.getLogger(__name__)

_SCANNER = 1
_SHEAR_TOLERANCE = 1e-4
"""Where ITK gives up an sform as sheared (itkNiftiImageIO.cxx); 0.006 degrees."""
_SPACING_TOLERANCE = 1e-3
"""Relative difference of the two statements of the voxel size that is no contradiction."""
_ROUNDING = 0.1
"""Part of a voxel by which a rounded header may move one."""
_UNSAID = 0.005
"""Part of a voxel by which the two statements of the voxel size may differ without a word."""
_POSITION_TOLERANCE_MM = 0.01


def nifti_grid(header: NiftiHeader, path: Path) -> Geometry | None:
    """Return the grid that ITK must find; None where the file does not say where it lies.

    Raises:
        DataError: It has zero or contradictory voxel sizes, or axes that no rounding has sheared.
    """
    if len(header.sizes) < 3:
        return None  # refused for that later
    check_spacing(path, np.abs(header.spacing_xyz))
    if min(header.spacing_xyz) < 0:
        # ITK mirrors such an axis, nibabel does not.
        what = f"negative voxel sizes {numbers(header.spacing_xyz)} mm"
        raise _contradiction(path, f"{what}, so programs disagree on left and right")
    used, unused = header.qform, header.sform
    if _uses_sform(header):
        used, unused = _regular(header, path), header.qform
    if used is None:
        logger.warning("%s does not say how the patient lies; its axes are taken as LPS.", path)
        return None
    if not np.isfinite(used).all():
        raise not_an_image(path, "its place is no number")
    if unused is not None and np.isfinite(unused).all() and used is not unused:
        name = "qform" if unused is header.sform else "sform"
        _warn_about_two_positions(used, unused, header.sizes, path, name)
    lengths = np.linalg.norm(used[:, :3], axis=0)
    width, height, depth = header.sizes[:3]
    x, y, z = map(float, used[:, 3])
    return Geometry(
        shape_dhw=(depth, height, width),
        spacing_dhw=(float(lengths[2]), float(lengths[1]), float(lengths[0])),
        origin_xyz=(x, y, z),
        direction=tuple(map(float, (used[:, :3] / lengths).ravel())),
    )


def _regular(header: NiftiHeader, path: Path) -> Array:
    """Return the sform, or the regular grid that it was before it was rounded.

    Raises:
        DataError: No regular grid has all its voxels within a tenth of a voxel, or the voxel sizes
            contradict each other by more.
    """
    sform: Array = header.sform if header.sform is not None else np.zeros((3, 4))
    axes, spacing = sform[:, :3], header.spacing_xyz
    lengths = np.linalg.norm(axes, axis=0)
    check_spacing(path, lengths)
    if not np.isfinite(sform).all():
        return sform
    nearest, tolerance = _nearest_grid(sform, header.sizes), _ROUNDING * lengths.min()
    if _apart(sform, nearest, header.sizes) > tolerance:
        check_axes(path, axes / lengths, _SHEAR_TOLERANCE)
    longest = np.abs(lengths - spacing) * (np.array(header.sizes[:3]) - 1)
    is_rounded = (longest <= _ROUNDING * lengths).all()
    if not is_rounded and not np.allclose(lengths, spacing, rtol=_SPACING_TOLERANCE, atol=0):
        what = f"two voxel sizes, {numbers(spacing)} mm (pixdim) and {numbers(lengths)} mm (sform)"
        raise _contradiction(path, what)
    if not _is_sheared(axes / lengths):
        return sform
    qform = header.qform
    if qform is not None and _apart(sform, qform, header.sizes) <= tolerance:
        nearest = qform  # which ITK takes too
    off = _apart(sform, nearest, header.sizes)
    logger.warning(
        "%s: rounding has sheared its sform, which is up to %.2g mm (%.2g %% of a voxel) off the "
        "regular grid that is used.",
        path,
        off,
        100 * off / lengths.min(),
    )
    return nearest


def _is_sheared(axes: Array) -> bool:
    """Tell whether ITK takes columns of unit length for no right angles, and gives up the sform."""
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR_TOLERANCE)


def _nearest_grid(sform: Array, sizes: tuple[int, ...]) -> Array:
    """Return the grid with axes at right angles that is nearest to an affine matrix."""
    lengths = np.linalg.norm(sform[:, :3], axis=0)
    left, _, right = np.linalg.svd(sform[:, :3] / lengths)
    axes = left @ right * lengths
    middle = (np.array(sizes[:3]) - 1) / 2
    origin = sform[:, 3] + (sform[:, :3] - axes) @ middle
    return np.column_stack([axes, origin])


def _contradiction(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} states {what}.",
        code="contradictory-grid",
        remedy="Correct its header, or convert the original DICOM files again.",
    )


def _warn_about_two_positions(
    used: Array, unused: Array, sizes: tuple[int, ...], path: Path, name: str
) -> None:
    apart = _apart(used, unused, sizes)
    if apart > _POSITION_TOLERANCE_MM:
        logger.warning(
            "%s holds two positions, up to %.3g mm apart; as in 3D Slicer its %s is used.",
            path,
            apart,
            name,
        )


def _apart(one: Array, other: Array, sizes: tuple[int, ...]) -> float:
    """Return the largest distance in mm of voxels that two matrices place."""
    corners = np.array(list(itertools.product(*((0, size - 1) for size in sizes[:3]), [1])))
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())


def is_grid_of_itk(header: NiftiHeader, geometry: Geometry | None) -> bool:
    """Tell whether ITK finds the grid that `nifti_grid` has found."""
    if geometry is None or header.sform is None or not _uses_sform(header):
        return True
    lengths = np.linalg.norm(header.sform[:, :3], axis=0)
    if _is_sheared(header.sform[:, :3] / lengths):
        # ITK takes the qform, and fails without one.
        return header.qform is not None and np.allclose(geometry.origin_xyz, header.qform[:, 3])
    off = np.abs(lengths - header.spacing_xyz) * (np.array(header.sizes[:3]) - 1)
    return bool((off <= _UNSAID * lengths).all())  # ITK takes the directions alone from the sform


def _uses_sform(header: NiftiHeader) -> bool:
    """With both forms present ITK, and so 3D Slicer, takes the sform only when it says scanner."""
    return header.sform is not None and (header.sform_code == _SCANNER or header.qform is None)
