"""Labels that nobody has drawn in the open case, so that their absence is not learnt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import qt

from MISFMLib.configs import LabelConfig

from .Lists import fitRows

_MAX_ROWS = 4


class NotDrawnView:
    """A list of the set's labels with a box to tick for each."""

    def __init__(self, ui: Any) -> None:
        """Keep the widgets of the .ui file by their names."""
        self._ui = ui

    def show(self, labels: Sequence[LabelConfig], notDrawn: Collection[str]) -> None:
        """Show the labels, some of them ticked."""
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

    def chosen(self, absent: Sequence[LabelConfig]) -> tuple[str, ...]:
        """Return the names that are ticked, and those nobody could tick.

        Args:
            absent: Labels without a voxel; some may have come into the set since `show`.
        """
        ticks = self._ui.notDrawnList
        items = [ticks.item(row) for row in range(ticks.count)]
        offered = {item.text() for item in items}
        ticked = [item.text() for item in items if item.checkState() == qt.Qt.Checked]
        return (*ticked, *(label.name for label in absent if label.name not in offered))
