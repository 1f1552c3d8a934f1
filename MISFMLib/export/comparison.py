"""A picture of a segmentation above its reference, at the place where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.configs import LabelConfig
from MISFMLib.export.overview import TEXT, draw_plane, new_figure, to_color, write_picture
from MISFMLib.export.planes import cut_planes, display_window
from MISFMLib.volumes.volume import LabelMap, Volume

_SIZE_INCHES = (12.0, 8.6)


def write_comparison(
    volume: Volume,
    prediction: LabelMap,
    reference: LabelMap,
    labels: Sequence[LabelConfig],
    path: Path,
    title: str,
) -> None:
    """Draw three planes of both label maps; an earlier picture of this name is replaced.

    Args:
        volume: Intensities; of several channels the first is shown.
        prediction: Labels on the volume's grid.
        reference: The right labels on the same grid.
        labels: Names and colours.
        path: The .png file.
        title: Headline.

    Raises:
        DependencyError: matplotlib is not installed.
        OutputError: The place is read-only or full.
    """
    figure = new_figure(_SIZE_INCHES)
    colors = {label.value: to_color(label) for label in labels}
    differing_DHW = prediction.array_DHW != reference.array_DHW
    focus_DHW = differing_DHW if differing_DHW.any() else np.asarray(reference.array_DHW)
    for row, (name, label_map) in enumerate(
        (("segmentation", prediction), ("reference", reference))
    ):
        planes = cut_planes(volume, label_map, focus_DHW)
        window = display_window(planes, volume.modality)
        bottom = 0.49 - 0.46 * row
        for column, plane in enumerate(planes):
            axes = figure.add_axes((0.03 + 0.325 * column, bottom, 0.31, 0.38))
            draw_plane(axes, plane, window, colors)
        style: dict[str, Any] = {"color": TEXT, "fontsize": 11, "rotation": 90, "va": "center"}
        figure.text(0.01, bottom + 0.19, name, **style)
    figure.text(0.01, 0.955, title, color=TEXT, fontsize=13, weight="bold", parse_math=False)
    write_picture(figure, path, overwrite=True)
