"""A picture of samples of a pretext task: what they are made of, what the network sees and says."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from MISFMLib.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BACKGROUND, _TEXT = "#101114", "#f2f2f2"
_PANEL_INCHES = 2.2
_DOTS_PER_INCH = 100
_CAPTION_POINTS, _CAPTION_LETTERS = 20, 12
"""Size, and letters in a line: it can be read where six panels have 400 pixels, as in 3D Slicer."""
_CAPTION_LINES = 4
"""At most; files may have long names."""
_LEVEL_COLORS = "viridis"


@dataclass(frozen=True)
class Panel:
    """One slice with a caption."""

    caption: str
    image: npt.NDArray[Any]
    """Intensities from -1 to 1 or levels (rows, columns)."""
    num_levels: int = 0
    """Highest level when the image holds levels from 0, which are shown in colours."""


def write_pretext_preview(rows: Sequence[Sequence[Panel]], path: Path) -> None:
    """Draw samples one below the other; a picture that is already there is replaced.

    Args:
        rows: Panels of each sample, equally many.
        path: The .png file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OutputError: The place is read-only or full.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = len(rows), len(rows[0])
    size = (_PANEL_INCHES * width, (_PANEL_INCHES + 0.7) * height)
    figure = Figure(figsize=size, facecolor=_BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(height, width, squeeze=False)
    for row, axes_of_row in zip(rows, grid, strict=True):
        for panel, axes in zip(row, axes_of_row, strict=True):
            _draw(axes, panel)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH)
    write_bytes(path, picture.getvalue(), overwrite=True)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_axis_off()
    lines = textwrap.fill(
        panel.caption,
        _CAPTION_LETTERS,
        max_lines=_CAPTION_LINES,
        placeholder="\N{HORIZONTAL ELLIPSIS}",
    )
    axes.set_title(lines, color=_TEXT, fontsize=_CAPTION_POINTS, parse_math=False)
    if panel.num_levels:
        colors, lowest, highest = _LEVEL_COLORS, 0, panel.num_levels
    else:
        colors, lowest, highest = "gray", -1, 1
    image = np.asarray(panel.image, np.float32)
    axes.imshow(image, cmap=colors, vmin=lowest, vmax=highest, interpolation="nearest")
