"""The volume of every label, as numbers and as a table (.csv)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from MISFMLib.configs import LabelConfig
from MISFMLib.files import write_text
from MISFMLib.volumes.volume_types import LabelMap

COLUMNS = ("case", "label", "name", "voxels", "volume_ml")


@dataclass(frozen=True)
class LabelVolume:
    """How much of one label a label map holds."""

    label: int
    """Integer in the label map, 1 and up."""
    name: str
    """Name for people."""
    voxels: int
    """Number of voxels."""
    volume_ml: float
    """Volume in millilitres."""


def label_volumes(label_map: LabelMap, labels: Sequence[LabelConfig]) -> list[LabelVolume]:
    """Measure every label by counting its voxels.

    Args:
        label_map: Integers (D, H, W), 0 is background.
        labels: The model's labels; one that is absent from the map gets the volume 0.

    Returns:
        One entry per label, by rising value. A value that `labels` does not name is listed too, as
        ``label N``, so that no voxel is left out.
    """
    counts = _count_values(label_map.array_DHW)
    names = {value: f"label {value}" for value in counts if value != 0}
    names |= {label.value: label.name for label in labels}
    ml_per_voxel = label_map.geometry.voxel_volume_mm3 / 1000
    return [
        LabelVolume(value, names[value], counts[value], counts[value] * ml_per_voxel)
        for value in sorted(names)
    ]


def write_statistics(
    path: Path, cases: Mapping[str, Sequence[LabelVolume]], *, overwrite: bool = False
) -> None:
    """Write a table with one row per case and label.

    Args:
        path: The .csv file, UTF-8, with the header `COLUMNS`; volumes with six decimals.
        cases: Name of each case with what `label_volumes` found in it, in the order of the rows.
        overwrite: Replace a table that is already there.

    Raises:
        OutputError: The table exists already, or its place is read-only or full.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case, volumes in cases.items():
        for item in volumes:
            volume_ml = f"{item.volume_ml:.6f}"
            writer.writerow((case, item.label, item.name, item.voxels, volume_ml))
    write_text(path, text.getvalue(), overwrite=overwrite)


def _count_values(array_DHW: npt.NDArray[np.unsignedinteger[Any]]) -> Counter[int]:
    # One plane at a time: bincount makes a copy with eight bytes a voxel.
    counts = np.zeros(np.iinfo(array_DHW.dtype).max + 1, np.int64)
    for plane_HW in array_DHW:
        counts += np.bincount(plane_HW.ravel(), minlength=len(counts))
    return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
