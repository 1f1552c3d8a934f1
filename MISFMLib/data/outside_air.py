"""The air around the patient of a CT, where no window has anything to find.

Axes: D, H, W depth, height, width, canonical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 the name everyone uses

from MISFMLib.configs import Size

BODY_HU = -500
"""Between air and all of the body but lung and bowel gas."""
_CELL = 4
"""Edge in voxels of the cells that are told apart."""


@dataclass(frozen=True)
class OutsideAir:
    """Cells of a CT that hold air only and are joined through such cells to a side of the volume.

    The sides are those of height and width: lungs that the first or last slice cuts are inside.
    """

    cells_DHW: npt.NDArray[np.bool_]
    """Whether a cell is outside."""
    voxels_DHW: Size
    """Size of the volume that was divided into cells."""

    def holds(self, start: Sequence[int], size: Size, shape: Sequence[int]) -> bool:
        """Tell whether a window sees nothing but the air outside.

        Args:
            start: First voxel of the window.
            size: Voxels of the window; what lies beyond the volume does not count.
            shape: Voxels of the grid that the window is on, which covers the volume.
        """
        box = []
        for first, edge, of_grid, of_volume in zip(
            start, size, shape, self.voxels_DHW, strict=True
        ):
            scale = of_volume / of_grid
            # One voxel more on either side, since intensities are interpolated.
            low = max(0, int(first * scale) - 1)
            high = min(of_volume, int((first + edge) * scale) + 2)
            box.append(slice(low // _CELL, -(-high // _CELL)))
        return bool(self.cells_DHW[tuple(box)].all())


def find_outside_air(channels_DHW: Sequence[npt.NDArray[Any]]) -> OutsideAir:
    """Find the air around the patient.

    Args:
        channels_DHW: Channels in Hounsfield units; a voxel is air if it is in all of them.
    """
    is_air_DHW = np.logical_and.reduce([_air_cells(channel) for channel in channels_DHW])
    regions = sitk.ConnectedComponent(sitk.GetImageFromArray(is_air_DHW.astype(np.uint8)))
    numbers_DHW = sitk.GetArrayViewFromImage(regions)
    sides = (numbers_DHW[:, [0, -1]], numbers_DHW[:, :, [0, -1]])
    outside = np.unique(np.concatenate([side.ravel() for side in sides]))
    cells_DHW = np.isin(numbers_DHW, outside[outside > 0])
    depth, height, width = channels_DHW[0].shape
    return OutsideAir(cells_DHW, (depth, height, width))


def _air_cells(channel_DHW: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell of every cell whether it holds air only."""
    _, height, width = channel_DHW.shape
    rows, columns = np.arange(0, height, _CELL), np.arange(0, width, _CELL)
    planes = []
    for start in range(0, len(channel_DHW), _CELL):
        highest_HW = channel_DHW[start : start + _CELL].max(axis=0)
        highest_HW = np.maximum.reduceat(highest_HW, rows, axis=0)
        planes.append(np.maximum.reduceat(highest_HW, columns, axis=1) <= BODY_HU)
    return np.stack(planes)
