"""The list of a model's structures in Options: with ticks, only those are segmented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer

from MISFMLib.models.structure_groups import grouped

from ..Guard import guarded
from .Lists import fitRows
from .Parameters import Parameters
from .StructureGroups import MANY, groupTitle, isFound

_MAX_ROWS = 8


class StructuresView:
    """Shows which structures the parameters name, and writes into them what the user ticks."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._parameters: Parameters | None = None
        self._shown: tuple[str, ...] = ()
        self._names: list[str] = []
        """The structure of each row; empty for the title of a group."""
        ui.structuresList.itemChanged.connect(self._onTicked)
        ui.structuresSearch.textChanged.connect(self._onSearch)

    def setParameters(self, parameters: Parameters | None) -> None:
        """Use other parameters; None while there is no scene to speak of."""
        self._parameters = parameters

    def update(self, labels: Sequence[str]) -> None:
        """Show the structures of the chosen model, some of them ticked."""
        if self._parameters is None:
            return
        if tuple(labels) != self._shown:
            self._shown = tuple(labels)
            self._fill()
        wanted = self._parameters.structures()
        self._ui.structuresList.blockSignals(True)
        for row, name in enumerate(self._names):
            isTicked = name in wanted if name else self._members(row) <= wanted
            self._tick(row, isTicked)
        self._ui.structuresList.blockSignals(False)

    def _fill(self) -> None:
        ui, isMany = self._ui, len(self._shown) >= MANY
        groups = grouped(self._shown) if isMany else {"": list(self._shown)}
        ui.structuresList.blockSignals(True)
        ui.structuresList.clear()
        self._names = []
        for key, names in groups.items():
            if key:
                self._add(f"{groupTitle(key)} ({len(names)})", "")
            for name in names:
                self._add(name, name)
        ui.structuresList.blockSignals(False)
        ui.structuresSearch.setText("")
        ui.structuresSearch.visible = isMany
        ui.structuresLabel.visible = ui.structuresBox.visible = len(self._shown) > 1
        fitRows(ui.structuresList, _MAX_ROWS)

    def _add(self, text: str, name: str) -> None:
        ticks = self._ui.structuresList
        ticks.addItem(text)
        if not name:
            font = ticks.item(len(self._names)).font()
            font.setBold(True)
            ticks.item(len(self._names)).setFont(font)
        self._names.append(name)

    def _tick(self, row: int, isTicked: bool) -> None:
        state = qt.Qt.Checked if isTicked else qt.Qt.Unchecked
        self._ui.structuresList.item(row).setCheckState(state)

    def _members(self, title: int) -> set[str]:
        """Return the structures of the group whose title is in a row."""
        members = set()
        for name in self._names[title + 1 :]:
            if not name:
                break
            members.add(name)
        return members

    @guarded
    def _onTicked(self, item: Any) -> None:
        if self._parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        row, ticks = self._ui.structuresList.row(item), self._ui.structuresList
        isTicked = item.checkState() == qt.Qt.Checked
        named = {self._names[row]} if self._names[row] else self._members(row)
        wanted = self._parameters.structures() & set(self._shown)
        wanted = wanted | named if isTicked else wanted - named
        self._parameters.setStructures([name for name in self._shown if name in wanted])
        ticks.setCurrentRow(row)

    @guarded
    def _onSearch(self, text: str) -> None:
        """Show the structures with all words of a search, and the titles of their groups."""
        for row, name in enumerate(self._names):
            names = {name} if name else self._members(row)
            isShown = any(isFound(each, text) for each in names)
            self._ui.structuresList.setRowHidden(row, not isShown)
