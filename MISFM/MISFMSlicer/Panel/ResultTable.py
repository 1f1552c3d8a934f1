"""The table of what was found; with many structures in groups, and with a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.models.structure_groups import grouped

from ..Job import SegmentVolume
from ..Scene.Segmentations import segments
from .StructureGroups import MANY, groupTitle, isFound

_MAX_ROWS = 8
_ROW_MARGINS = 8
_COLOUR_PIXELS = 12


class ResultTable:
    """Fills the table; its rows are structures, and titles of groups where there are many."""

    def __init__(self, ui: Any) -> None:
        """Prepare the widgets of the .ui file, which are given by their names."""
        self._table, self._search = ui.resultTable, ui.resultSearch
        self._rows: list[tuple[str, SegmentVolume | None]] = []
        """Group and structure of each row; None for the title of the group."""
        table = self._table
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Volume (ml)")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + _ROW_MARGINS)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        self._search.textChanged.connect(self._onSearch)

    def fill(self, volumes: Sequence[SegmentVolume], segmentation: Any) -> None:
        """Show structures in the colours that they have in a segmentation (vtkSegmentation)."""
        isMany = len(volumes) >= MANY
        self._rows = _inGroups(volumes) if isMany else [("", volume) for volume in volumes]
        table = self._table
        table.blockSignals(True)
        table.clearSpans()
        table.setRowCount(len(self._rows))
        segmentIds = self._segmentIds(segmentation)
        for row, (group, volume) in enumerate(self._rows):
            if volume is None:
                self._fillTitle(row, group)
            else:
                self._fillRow(row, volume, segmentation.GetSegment(segmentIds[row]))
        table.clearSelection()
        table.blockSignals(False)
        self._search.setText("")
        self._search.visible = isMany
        self._onSearch("")
        rows = range(min(len(self._rows), _MAX_ROWS))
        height = sum(table.rowHeight(row) for row in rows) + 2 * table.frameWidth
        table.setFixedHeight(height + table.horizontalHeader().sizeHint.height())

    def chosen(self, segmentation: Any) -> str:
        """Return the ID of the segment whose row is chosen; empty where there is none."""
        row = self._table.currentRow()
        return self._segmentIds(segmentation)[row] if 0 <= row < len(self._rows) else ""

    def _segmentIds(self, segmentation: Any) -> list[str]:
        """Return the segment of each row; of several of one name they have the same order."""
        byName: dict[str, list[str]] = {}
        for segmentId, segment in segments(segmentation):
            byName.setdefault(segment.GetName(), []).append(segmentId)
        found = [byName.get(volume.name) if volume else None for _group, volume in self._rows]
        return [ids.pop(0) if ids else "" for ids in found]

    def _fillTitle(self, row: int, group: str) -> None:
        sizes = [volume for key, volume in self._rows if key == group and volume is not None]
        found = sum(volume.voxels > 0 for volume in sizes)
        text = _("{group}: {found} of {count}")
        item = qt.QTableWidgetItem(
            text.format(group=groupTitle(group), found=found, count=len(sizes))
        )
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        self._table.setItem(row, 0, item)
        self._table.setSpan(row, 0, 1, 2)

    def _fillRow(self, row: int, size: SegmentVolume, segment: Any) -> None:
        name = qt.QTableWidgetItem(size.name)
        if segment is not None:
            name.setIcon(_colourIcon(segment.GetColor()))
        amount = f"{size.volumeMl:.2f}" if size.voxels else _("not found")
        volume = qt.QTableWidgetItem(amount)
        volume.setData(qt.Qt.TextAlignmentRole, qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        volume.setToolTip(_("{count} voxels").format(count=size.voxels))
        self._table.setItem(row, 0, name)
        self._table.setItem(row, 1, volume)

    def _onSearch(self, text: str) -> None:
        """Show the structures with all words of a search, and the titles of their groups."""
        groups = {
            group
            for group, volume in self._rows
            if volume is not None and isFound(volume.name, text)
        }
        for row, (group, volume) in enumerate(self._rows):
            isShown = group in groups if volume is None else isFound(volume.name, text)
            self._table.setRowHidden(row, not isShown)


def _inGroups(volumes: Sequence[SegmentVolume]) -> list[tuple[str, SegmentVolume | None]]:
    byName: dict[str, list[SegmentVolume]] = {}
    for volume in volumes:
        byName.setdefault(volume.name, []).append(volume)
    rows: list[tuple[str, SegmentVolume | None]] = []
    for group, names in grouped(byName).items():
        rows.append((group, None))
        rows += [(group, volume) for name in names for volume in byName[name]]
    return rows


def _colourIcon(colour: tuple[float, float, float]) -> Any:
    pixmap = qt.QPixmap(_COLOUR_PIXELS, _COLOUR_PIXELS)
    pixmap.fill(qt.QColor(*(round(255 * part) for part in colour)))
    return qt.QIcon(pixmap)
