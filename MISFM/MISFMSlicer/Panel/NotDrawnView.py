"""Labels that nobody has drawn in the open case, so that their absence is not learnt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import qt

from MISFMLib.configs import LabelConfig

from ..Scene.Corrections import absentIn, drawnIn
from .Lists import fitRows

_MAX_ROWS = 4


class NotDrawnView:
    """A list of the set's labels with a box to tick for each."""

    def __init__(self, ui: Any) -> None:
        """Keep the widgets of the .ui file by their names."""
        self._ui = ui
        self._before: Collection[str] = ()

    def show(self, labels: Sequence[LabelConfig], notDrawn: Collection[str]) -> None:
        """Show the labels, some of them ticked."""
        self._before = tuple(notDrawn)
        ticks = self._ui.notDrawnList
        ticks.clear()
        for row, label in enumerate(labels):
            ticks.addItem(label.name)
            isTicked = label.name in notDrawn
            ticks.item(row).setCheckState(qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
        fitRows(ticks, _MAX_ROWS)
        self._ui.notDrawnBox.visible = bool(labels)

    def hide(self) -> None:
        """Show nothing."""
        self._ui.notDrawnBox.visible = False

    @property
    def isChanged(self) -> bool:
        """Whether somebody has ticked a label since `show`, or taken a tick away."""
        return self._ticked() != [name for name in self._names() if name in self._before]

    def _items(self) -> list[Any]:
        ticks = self._ui.notDrawnList
        return [ticks.item(row) for row in range(ticks.count)]

    def _names(self) -> list[str]:
        return [item.text() for item in self._items()]

    def _ticked(self) -> list[str]:
        return [item.text() for item in self._items() if item.checkState() == qt.Qt.Checked]

    def chosen(
        self, labels: Sequence[LabelConfig], before: np.ndarray, after: np.ndarray
    ) -> tuple[str, ...]:
        """Return the names that are ticked, and those nobody could tick.

        A tick of earlier is over when the label was drawn now: no voxel of it would be learnt from.

        Args:
            labels: Those of the set; some may have come since `show`.
            before: Labels (k, j, i) when the case was opened.
            after: Labels now.
        """
        isOver = drawnIn(before, after, labels).intersection(self._before)
        new = {label.name for label in labels}.difference(self._names())
        absent = [label.name for label in absentIn(after, labels) if label.name in new]
        return (*(name for name in self._ticked() if name not in isOver), *absent)
