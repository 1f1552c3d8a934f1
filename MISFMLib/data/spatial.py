"""Where a prepared volume lies in the volume it came from: axes, flips, crop and shape.

Axes: D, H, W are array axes; x, y, z are the voxel axes of SimpleITK, so D is z and W is x.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import Size, Spacing
from MISFMLib.errors import ConfigError
from MISFMLib.volumes.volume import Geometry

Flips = tuple[bool, bool, bool]

_WORLD_AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Letter to world axis of the LPS frame and the sign of the step along it."""


@dataclass(frozen=True)
class SpatialRecord:
    """How model space was cut out of an input volume; everything needed to go back.

    Canonical axes are the input's axes, permuted and flipped but never rotated, so an oblique
    volume keeps its own voxels.
    """

    input_geometry: Geometry
    """Grid of the volume as it was read."""
    axes: Size
    """Input array axis that became canonical axis 0, 1, 2."""
    flips: Flips
    """Whether canonical axis 0, 1, 2 runs against the input axis."""
    crop_start: Size
    """First voxel of the crop on the canonical axes."""
    crop_stop: Size
    """End of the crop on the canonical axes, exclusive."""
    model_shape_dhw: Size
    """Voxels after resampling the crop."""
    orders: Size = (1, 1, 1)
    """Order of the interpolation of intensities along each canonical axis: 0, 1 or 3."""
    separate_axis: int | None = None
    """Canonical axis across which slices are interpolated each for itself."""
    restoring_orders: Size = (1, 1, 1)
    """Order of the interpolation of logits along each canonical axis: 0 or 1."""
    coordinates: tuple[tuple[float, ...], ...] = ()
    """Where each voxel of the crop lies on the model's grid, for every axis; empty where the grids
    share their outer borders."""

    @property
    def crop_shape_dhw(self) -> Size:
        """Voxels of the crop before resampling."""
        depth, height, width = np.subtract(self.crop_stop, self.crop_start).tolist()
        return depth, height, width

    @property
    def model_spacing_dhw(self) -> Spacing:
        """Voxel size of model space in mm; the crop's extent is kept exactly."""
        canonical = np.take(self.input_geometry.spacing_dhw, self.axes)
        depth, height, width = (canonical * self.crop_shape_dhw / self.model_shape_dhw).tolist()
        return depth, height, width

    def crop_view(self, array_DHW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the crop of an array on the input's grid, in canonical axes, without copying.

        Writing into the view is therefore the way back: it undoes crop, flips and permutation.
        """
        cut = tuple(map(slice, self.crop_start, self.crop_stop))
        return canonical_view(array_DHW, self.axes, self.flips)[cut]


def canonical_view(array_DHW: npt.NDArray[Any], axes: Size, flips: Flips) -> npt.NDArray[Any]:
    """Return the array with its axes permuted and flipped, without copying."""
    steps = tuple(slice(None, None, -1 if flip else None) for flip in flips)
    view: npt.NDArray[Any] = array_DHW.transpose(axes)[steps]
    return view


def canonical_axes(direction: tuple[float, ...], orientation: str) -> tuple[Size, Flips]:
    """Find the permutation and flips that bring array axes nearest to an orientation.

    Args:
        direction: 3 x 3 direction cosines row by row, LPS; column i is voxel axis i (x, y, z).
        orientation: Letters towards which x, y and z shall run, such as ``LPS``.

    Returns:
        Input array axis of each canonical array axis (D, H, W), and whether it is flipped.

    Raises:
        ConfigError: `orientation` does not name three different axes.
    """
    wanted = [_WORLD_AXES.get(letter, (-1, 0)) for letter in orientation]
    if sorted(world for world, _ in wanted) != [0, 1, 2]:
        raise ConfigError(
            f"The orientation is {orientation!r}, three letters such as LPS or RAS were expected.",
            code="bad-orientation",
            remedy="Correct the orientation in the model's preprocessing.",
        )
    # cosines[t, i]: how far input voxel axis i points where canonical voxel axis t shall point.
    cosines = np.array([sign * np.reshape(direction, (3, 3))[world] for world, sign in wanted])
    # Rounding lets a volume at exactly 45 degrees keep its own order of axes.
    chosen = max(
        itertools.permutations(range(3)),
        key=lambda voxel_axes: round(float(np.abs(cosines[range(3), voxel_axes]).sum()), 6),
    )
    depth, height, width = (
        (2 - chosen[target], bool(cosines[target, chosen[target]] < 0)) for target in (2, 1, 0)
    )
    return (depth[0], height[0], width[0]), (depth[1], height[1], width[1])
