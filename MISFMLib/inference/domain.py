"""Does a volume look like what the model was trained on? Warnings only, by simple rules."""

from __future__ import annotations

import numpy as np

from MISFMLib.configs import PreprocessingConfig
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.data.volume_checks import is_label_map
from MISFMLib.volumes.volume import Volume

_SOFT_TISSUE_HU = -200
"""A CT reaches far below this: it holds air, or at least lung or bowel gas."""
_AIR_HU = -900
"""MR intensities do not go down to this."""
_SPACING_RATIO = 3.0


def domain_warnings(
    volume: Volume, record: SpatialRecord, preprocessing: PreprocessingConfig
) -> list[str]:
    """Return one sentence for each respect in which a volume differs from the training's.

    Args:
        volume: Volume as it was read.
        record: How it was brought into model space.
        preprocessing: What the model expects.
    """
    warnings = [
        _label_map_warning(volume),
        _modality_warning(volume, preprocessing.modality),
        _spacing_warning(record, preprocessing),
    ]
    return [warning for warning in warnings if warning]


def _label_map_warning(volume: Volume) -> str:
    if not any(map(is_label_map, volume.array_CDHW)):
        return ""
    return f"{volume.name} looks like a label map, not like a scan: most neighbours are equal."


def _modality_warning(volume: Volume, expected: str) -> str:
    if expected == "other":
        return ""
    if volume.modality and volume.modality != expected:
        return f"The file says {volume.modality}, the model was trained on {expected}."
    lowest = volume.array_CDHW.min()
    if expected == "CT" and lowest > _SOFT_TISSUE_HU:
        return (
            f"The lowest intensity is {lowest:g}, so this does not look like CT in Hounsfield "
            "units, which the model was trained on."
        )
    if expected == "MR" and lowest <= _AIR_HU:
        return (
            f"The lowest intensity is {lowest:g}, so this looks like CT; "
            "the model was trained on MR."
        )
    return ""


def _spacing_warning(record: SpatialRecord, preprocessing: PreprocessingConfig) -> str:
    if preprocessing.spacing_dhw is None:
        return ""
    given = np.take(record.input_geometry.spacing_dhw, record.axes)
    ratios = given / preprocessing.spacing_dhw
    if np.maximum(ratios, 1 / ratios).max() <= _SPACING_RATIO:
        return ""
    return (
        f"The voxels are {_times(given.tolist())} mm, the model was trained on "
        f"{_times(preprocessing.spacing_dhw)} mm (depth x height x width): expect less detail or "
        "wrong labels."
    )


def _times(values: tuple[float, ...] | list[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
