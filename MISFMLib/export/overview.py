"""A picture of a segmentation to judge at a glance: three planes, label outlines and volumes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from MISFMLib.configs import LabelConfig
from MISFMLib.errors import ConfigError, DependencyError
from MISFMLib.export.planes import Plane, cut_planes, display_window
from MISFMLib.export.statistics import LabelVolume, label_volumes
from MISFMLib.files import check_output, write_bytes
from MISFMLib.volumes.volume import LabelMap, Volume, check_same_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[float, float, float]

MOST_LABELS = 20
"""Labels in the legend; of more, the largest are named."""
_BACKGROUND, TEXT, _FAINT_TEXT = "#101114", "#f2f2f2", "#a0a4ab"
_MARK = "#ffd75e"
_SIZE_INCHES = (16.0, 5.0)
_DOTS_PER_INCH = 110
_SCALE_STEPS_MM = (1, 2, 5, 10, 20, 50, 100, 200)
_UNNAMED_COLOR = (0.6, 0.6, 0.6)
_LONGEST_NAME = 30


def write_overview(
    volume: Volume,
    label_map: LabelMap,
    labels: Sequence[LabelConfig],
    path: Path,
    *,
    overwrite: bool = False,
    title: str = "",
) -> None:
    """Draw the planes through the middle of the labels, with names, colours and volumes.

    Args:
        volume: Intensities; of several channels the first is shown.
        label_map: Labels on the volume's grid; with none the planes pass the middle of the volume.
        labels: Names and colours.
        path: The .png file.
        overwrite: Replace a picture that is already there.
        title: Headline; the volume's name when not given.

    Raises:
        ConfigError: `path` does not end in .png.
        DataError: The label map does not lie on the volume's grid.
        DependencyError: matplotlib is not installed.
        OutputError: The picture exists already, or its place is read-only or full.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(
            f"The overview is called {path.name}, a name that ends in .png was expected.",
            code="bad-overview-format",
            remedy="Give the picture a name that ends in .png.",
        )
    check_output(path, overwrite=overwrite)
    figure = draw_overview(volume, label_map, labels, title=title)
    write_picture(figure, path, overwrite=overwrite)


def draw_overview(
    volume: Volume, label_map: LabelMap, labels: Sequence[LabelConfig], *, title: str = ""
) -> Figure:
    """Return the picture that `write_overview` writes, as a matplotlib figure of its own.

    Raises:
        DataError: The label map does not lie on the volume's grid.
        DependencyError: matplotlib is not installed.
    """
    check_same_grid(volume, label_map)
    figure = new_figure()
    colors = {label.value: to_color(label) for label in labels}
    planes = cut_planes(volume, label_map)
    window = display_window(planes, volume.modality)
    for number, plane in enumerate(planes):
        axes = figure.add_axes((0.005 + 0.265 * number, 0.05, 0.255, 0.8))
        draw_plane(axes, plane, window, colors)
    _draw_legend(figure, label_volumes(label_map, labels), colors)
    style: dict[str, Any] = {"color": TEXT, "fontsize": 15, "weight": "bold"}
    figure.text(0.01, 0.94, title or volume.name, parse_math=False, **style)
    return figure


def write_picture(figure: Figure, path: Path, *, overwrite: bool) -> None:
    """Write a figure as PNG.

    Raises:
        OutputError: It exists already, or its place is read-only or full.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH)
    write_bytes(path, picture.getvalue(), overwrite=overwrite)


def new_figure(size_inches: tuple[float, float] = _SIZE_INCHES) -> Figure:
    """Return an empty dark figure.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError(
            "The overview picture needs matplotlib, which is not installed.",
            code="missing-package",
            remedy="Install it: pip install 'misfm[report]'",
        ) from error
    figure = Figure(figsize=size_inches, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def to_color(label: LabelConfig) -> Color:
    """Return a label's colour with parts from 0 to 1."""
    red, green, blue = (part / 255 for part in label.color)
    return red, green, blue


def draw_plane(
    axes: Axes, plane: Plane, window: tuple[float, float], colors: Mapping[int, Color]
) -> None:
    """Draw a slice with outlines, directions and a scale."""
    axes.set_axis_off()
    row_mm, column_mm = plane.spacing
    axes.imshow(
        plane.image,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        aspect=row_mm / column_mm,
        interpolation="bilinear",
    )
    _draw_labels(axes, plane, colors)
    _draw_letters(axes, plane)
    _draw_scale_bar(axes, plane)
    caption = f"{plane.name}  {plane.index + 1} / {plane.count}"
    axes.set_title(caption, color=_FAINT_TEXT, fontsize=11, pad=6)


def _draw_labels(axes: Axes, plane: Plane, colors: Mapping[int, Color]) -> None:
    # A border of background closes the outlines at the edge of the picture.
    padded = np.pad(plane.labels, 1)
    rows, columns = (np.arange(-1, edge + 1) for edge in plane.labels.shape)
    for value in np.unique(plane.labels[plane.labels > 0]).tolist():
        color = colors.get(value, _UNNAMED_COLOR)
        mask = (padded == value).astype(float)
        axes.contourf(columns, rows, mask, levels=[0.5, 2], colors=[color], alpha=0.3)
        axes.contour(columns, rows, mask, levels=[0.5], colors=[color], linewidths=1.2)
    height, width = plane.labels.shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _draw_letters(axes: Axes, plane: Plane) -> None:
    left, right, top, bottom = plane.letters
    for x, y, letters in (
        (0.03, 0.5, left),
        (0.97, 0.5, right),
        (0.5, 0.95, top),
        (0.5, 0.05, bottom),
    ):
        axes.text(
            x,
            y,
            letters,
            transform=axes.transAxes,
            color=_MARK,
            fontsize=12,
            weight="bold",
            ha="center",
            va="center",
            path_effects=_outline(),
        )


def _draw_scale_bar(axes: Axes, plane: Plane) -> None:
    height, width = plane.image.shape
    width_mm = width * plane.spacing[1]
    length_mm = max((step for step in _SCALE_STEPS_MM if step <= 0.3 * width_mm), default=0)
    if not length_mm:
        return
    end, y = 0.96 * width, 0.95 * height
    start = end - length_mm / plane.spacing[1]
    axes.plot([start, end], [y, y], color=_MARK, linewidth=2, path_effects=_outline())
    axes.annotate(
        f"{length_mm} mm",
        ((start + end) / 2, y),
        (0, 3),
        textcoords="offset points",
        color=_MARK,
        fontsize=9,
        ha="center",
        path_effects=_outline(),
    )


def _outline() -> list[Any]:
    """Give marks a dark rim, so that they can be read on bright tissue."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground=_BACKGROUND)]


def _draw_legend(
    figure: Figure, volumes: Sequence[LabelVolume], colors: Mapping[int, Color]
) -> None:
    axes = figure.add_axes((0.81, 0.05, 0.18, 0.8))
    axes.set(xlim=(0, 1), ylim=(MOST_LABELS + 1, 0))
    axes.set_axis_off()
    shown, rest = _largest(volumes)
    style: dict[str, Any] = {"color": TEXT, "fontsize": 11, "va": "center"}
    for row, item in enumerate(shown):
        color = colors.get(item.label, _UNNAMED_COLOR)
        axes.plot([0.02], [row + 0.5], marker="s", markersize=9, color=color)
        axes.text(0.08, row + 0.5, _shortened(item.name), parse_math=False, **style)
        axes.text(1, row + 0.5, format_ml(item.volume_ml), ha="right", **style)
    if rest:
        axes.text(0.08, len(shown) + 0.5, rest, color=_FAINT_TEXT, fontsize=11, va="center")


def _largest(volumes: Sequence[LabelVolume]) -> tuple[list[LabelVolume], str]:
    """Return what the legend names, and what it says about the others."""
    if len(volumes) <= MOST_LABELS:
        return list(volumes), "" if volumes else "no labels"
    shown = sorted(volumes, key=lambda item: -item.volume_ml)[:MOST_LABELS]
    hidden = sum(item.voxels > 0 for item in volumes) - sum(item.voxels > 0 for item in shown)
    return shown, f"and {hidden} smaller" if hidden else ""


def format_ml(volume_ml: float) -> str:
    """Write a volume with about three digits."""
    decimals = 0 if volume_ml >= 100 else 1 if volume_ml >= 10 else 2
    return f"{volume_ml:.{decimals}f} ml"


def _shortened(name: str) -> str:
    return (
        name
        if len(name) <= _LONGEST_NAME
        else name[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )
