"""Volumes that are in memory already: SimpleITK images, and arrays with a voxel size or an affine.

Three kinds of image, and the label map goes back in the kind and the axes that the image came in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.configs import Spacing
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import Volume, check_intensities, join_channels, reduced
from MISFMLib.volumes.volume_files import geometry_of
from MISFMLib.volumes.volume_types import Array, Geometry, LabelMap

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_LARGEST_SHEAR = 1e-3

Back = Callable[[LabelMap], Any]
"""Gives a label map as the kind of image that the volume was made from."""


def volume_of(
    channels: Sequence[Any],
    spacing_dhw: Spacing | None,
    affine: Array | None,
    name: str = "image",
) -> tuple[Volume, Back]:
    """Make a volume of images in memory, and the way back for its label map.

    Args:
        channels: One image for each channel of the model, all of one kind. Either SimpleITK images
            of three axes, or arrays: (D, H, W) with `spacing_dhw`, (X, Y, Z) with `affine`.
        spacing_dhw: Voxel size of arrays in mm along depth, height, width; the volume then lies
            along the axes of the patient.
        affine: 4 x 4 matrix from voxel indices i, j, k of an array to mm in RAS, as nibabel has it.
        name: What errors call it.

    Raises:
        DataError: The images are of other kinds or shapes, hold nothing that can be segmented, lie
            on different grids, or the affine is no regular grid of voxels.
    """
    kinds = {isinstance(channel, sitk.Image) for channel in channels}
    if kinds == {True} and spacing_dhw is None and affine is None:
        return join_channels([_of_image(image, name) for image in channels]), as_image
    if kinds == {False} and (spacing_dhw is None) != (affine is None):
        arrays = [_three_axes(np.asarray(channel), name) for channel in channels]
        if affine is None:
            parts = [_of_array(array, _lying_along_axes(array, spacing_dhw)) for array in arrays]
            return join_channels([_checked(part, name) for part in parts]), _to_array
        parts = [_of_array(array.T, _geometry(array, affine, name)) for array in arrays]
        return join_channels([_checked(part, name) for part in parts]), _to_array_xyz
    raise DataError(
        f"{name} is given by {'images' if True in kinds else 'arrays'}"
        f"{' and arrays' if len(kinds) > 1 else ''}, "
        f"{'with' if spacing_dhw is not None else 'without'} spacing and "
        f"{'with' if affine is not None else 'without'} affine.",
        code="unknown-grid",
        remedy="Give SimpleITK images alone, or arrays with either spacing or affine.",
    )


def _of_image(image: sitk.Image, name: str) -> Volume:
    array: Array = sitk.GetArrayFromImage(image)
    if image.GetDimension() != 3:
        raise _not_three_axes(array, name)
    channels = array[np.newaxis] if array.ndim == 3 else np.moveaxis(array, -1, 0)
    return _checked(Volume(reduced(channels), geometry_of(image), name), name)


def _of_array(array_DHW: Array, geometry: Geometry) -> Volume:
    return Volume(np.ascontiguousarray(reduced(array_DHW))[np.newaxis], geometry, "image")


def _checked(volume: Volume, name: str) -> Volume:
    for channel in volume.array_CDHW:
        check_intensities(channel, name)
    return volume


def _lying_along_axes(array_DHW: Array, spacing_dhw: Spacing | None) -> Geometry:
    edges = np.asarray((1.0, 1.0, 1.0) if spacing_dhw is None else spacing_dhw)
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    is_number = np.issubdtype(edges.dtype, np.number) and edges.shape == (3,)
    if not is_number or not np.all(np.isfinite(edges) & (edges > 0)):
        raise DataError(
            f"The voxel size is {spacing_dhw}, three positive numbers in mm were expected.",
            code="bad-spacing",
            remedy="Give spacing as (depth, height, width).",
        )
    sizes = tuple(map(int, array_DHW.shape))
    return Geometry(sizes, tuple(map(float, edges)), (0.0, 0.0, 0.0), axes)  # type: ignore[arg-type]


def _geometry(array_XYZ: Array, affine: Array, name: str) -> Geometry:
    matrix = np.asarray(affine, np.float64)
    columns_xyz = _RAS_TO_LPS @ matrix[:3, :3] if matrix.shape == (4, 4) else np.zeros((3, 3))
    spacing_xyz = np.linalg.norm(columns_xyz, axis=0)
    is_grid = np.isfinite(matrix).all() and spacing_xyz.all()
    direction = columns_xyz / spacing_xyz if is_grid else columns_xyz
    if not is_grid or not np.allclose(direction.T @ direction, np.eye(3), atol=_LARGEST_SHEAR):
        raise DataError(
            f"The affine of {name} is no grid of voxels at right angles.",
            code="bad-affine",
            remedy="Give the 4 x 4 affine of the image, and resample a sheared one.",
        )
    x, y, z = (_RAS_TO_LPS @ matrix[:3, 3]).tolist()
    sizes = tuple(map(int, array_XYZ.shape[::-1]))
    spacing = tuple(spacing_xyz[::-1].tolist())
    return Geometry(sizes, spacing, (x, y, z), tuple(direction.ravel().tolist()))  # type: ignore[arg-type]


def _three_axes(array: Array, name: str) -> Array:
    if array.ndim != 3 or not array.size or array.dtype.kind not in "biuf":
        raise _not_three_axes(array, name)
    return array


def _not_three_axes(array: Array, name: str) -> DataError:
    shape = " x ".join(map(str, array.shape)) or "none"
    return DataError(
        f"{name} has the shape {shape} and the type {array.dtype}, numbers along three axes were "
        "expected.",
        code="not-three-axes",
        remedy="Give the channels of one case as a list of volumes.",
    )


def as_image(label_map: LabelMap) -> sitk.Image:
    """Return a label map as SimpleITK image."""
    geometry = label_map.geometry
    image = sitk.GetImageFromArray(label_map.array_DHW)
    image.SetSpacing(geometry.spacing_dhw[::-1])
    image.SetOrigin(geometry.origin_xyz)
    image.SetDirection(geometry.direction)
    return image


def _to_array(label_map: LabelMap) -> Array:
    return label_map.array_DHW


def _to_array_xyz(label_map: LabelMap) -> Array:
    return np.ascontiguousarray(label_map.array_DHW.T)
