"""Small pictures of a result: three planes through the labels, with their outlines."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.errors import DependencyError
from MISFMLib.export.planes import Plane, cut_planes, display_window
from MISFMLib.files import write_bytes
from MISFMLib.volumes.volume import LabelMap, Volume

Color = tuple[int, int, int]
HEIGHT = 120
"""Of the pictures in pixels."""
_WIDEST = 160
_QUALITY = 70
_MARGIN_MM, _MARGIN = 15.0, 0.25
"""What is shown around the labels: so many mm, or this part of their extent if that is more."""


def write_thumbnail(
    volume: Volume | None,
    label_map: LabelMap,
    colors: Mapping[int, Color],
    path: Path,
    place_dhw: tuple[int, int, int] | None = None,
) -> None:
    """Draw the axial, coronal and sagittal plane side by side as a JPEG of a few kilobytes.

    Args:
        volume: The scan on the grid of the labels; the labels alone are drawn without it.
        label_map: Labels.
        colors: Red, green, blue of each value.
        path: The .jpg file; an earlier one is replaced.
        place_dhw: Voxel that the planes pass; the middle of the labels when None.

    Raises:
        DependencyError: Pillow is not installed.
        OutputError: The place is read-only or full.
    """
    shown = volume or Volume(label_map.array_DHW[np.newaxis] * 0, label_map.geometry, "")
    focus_DHW = None
    if place_dhw is not None:
        focus_DHW = np.zeros(label_map.array_DHW.shape, bool)
        focus_DHW[place_dhw] = True
    planes = cut_planes(shown, label_map, focus_DHW)
    window = display_window(planes, shown.modality) if volume is not None else (0.0, 1.0)
    tiles = [_tile(plane, window, colors) for plane in planes]
    picture = _pillow().fromarray(np.concatenate(tiles, axis=1))
    content = io.BytesIO()
    picture.save(content, format="JPEG", quality=_QUALITY)
    write_bytes(path, content.getvalue(), overwrite=True)


def _tile(
    plane: Plane, window: tuple[float, float], colors: Mapping[int, Color]
) -> npt.NDArray[np.uint8]:
    """Return one plane at its true proportions, (height, width, 3)."""
    image, shown_labels = _around_labels(plane)
    rows, columns = image.shape
    edges_mm = (rows * plane.spacing[0], columns * plane.spacing[1])
    scale = min(HEIGHT / edges_mm[0], _WIDEST / edges_mm[1])
    height, width = (max(1, round(edge * scale)) for edge in edges_mm)
    down = np.minimum((np.arange(height) + 0.5) * rows / height, rows - 1).astype(int)
    right = np.minimum((np.arange(width) + 0.5) * columns / width, columns - 1).astype(int)
    low, high = window
    grey = np.clip((image[down][:, right] - low) / max(high - low, 1e-6), 0, 1)
    picture = np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    labels = shown_labels[down][:, right]
    for value in np.unique(labels[_outline(labels)]).tolist():
        picture[_outline(labels) & (labels == value)] = colors.get(value, (255, 255, 0))
    tile = np.zeros((HEIGHT, width + 4, 3), np.uint8)
    top = (HEIGHT - height) // 2
    tile[top : top + height, 2 : 2 + width] = picture
    return tile


def _around_labels(plane: Plane) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Cut a plane to its labels and what lies around them; all of it where there are none."""
    window = []
    for axis, spacing in enumerate(plane.spacing):
        (places,) = np.nonzero(plane.labels.any(axis=1 - axis))
        if not len(places):
            return plane.image, plane.labels
        margin = max(_MARGIN_MM / spacing, _MARGIN * (places[-1] - places[0] + 1))
        window.append(slice(max(0, int(places[0] - margin)), int(places[-1] + margin) + 2))
    rows, columns = window
    return plane.image[rows, columns], plane.labels[rows, columns]


def _outline(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the labelled pixels that have another neighbour."""
    padded = np.pad(labels, 1)
    outline = np.zeros(labels.shape, bool)
    for shift, axis in ((0, 0), (2, 0), (0, 1), (2, 1)):
        window = [slice(1, -1), slice(1, -1)]
        window[axis] = slice(shift, padded.shape[axis] - 2 + shift)
        outline |= padded[tuple(window)] != labels
    return outline & (labels > 0)


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise DependencyError(
            "The pictures of a review need Pillow, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install 'misfm[report]'",
        ) from error
