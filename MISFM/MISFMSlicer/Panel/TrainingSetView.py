"""The training set in the tab Fine-tune: which one, its cases, and what comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.models import store

from ..Guard import guarded
from ..Scene.SameImage import caseWithImage
from ..Scene.SceneCases import caseOf
from ..Signal import Signal
from .CaseTexts import details, isCaseAlready, noSegmentation, noSet, statusText, summary
from .ChannelsView import ChannelsView
from .Closing import isReplacedByAdded
from .CollectView import CollectView
from .LoopView import LoopView
from .MappingView import MappingView
from .VolumeFilesView import VolumeFilesView

_SETS = "MISFM/trainingSets"
_MOST_SETS = 20
_MAX_ROWS = _ROW_MARGINS = 8
_ROWS_BESIDE_A_CASE = 3
"""While a case is corrected its tools need the place."""


class TrainingSetView:
    """Shows one of the sets that were opened on this computer.

    Signals: ``changed()`` when there is another set or another case; ``opened(name)`` when the
    user wants to see a case.
    """

    def __init__(
        self,
        ui: Any,
        chosenCase: Callable[[], tuple[Any, Any]],
        loop: LoopView,
        report: Callable[[Exception], None],
    ) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            chosenCase: Returns the chosen volume and its segmentation; None for what is not there.
            loop: Knows the case that is open, and closes it unless the user says that it must stay.
            report: Shows an error to the user.
        """
        self.changed = Signal()
        self.opened = Signal()
        self.report = report
        self._ui = ui
        self._chosenCase = chosenCase
        self._loop = loop
        self._store = slicer.app.userSettings()
        self._set: TrainingSet | None = None
        self._rows: list[CaseRow] = []
        self._mostRows = _MAX_ROWS
        self._mapping = MappingView(ui, self._add, report)
        self._channels = ChannelsView(ui, report)
        self._files = VolumeFilesView(ui, self._add)
        self._collecting = CollectView(ui, self._open, self._onNotCollected)
        self._prepareTable()
        ui.setSelector.activated.connect(self._onSetChosen)
        ui.newSetButton.clicked.connect(self._onNew)
        ui.openSetButton.clicked.connect(self._onOpen)
        ui.addSegmentationButton.clicked.connect(self._onAddSegmentation)
        menu = qt.QMenu(ui.addVolumesButton)
        menu.addAction(_("Volume files…")).triggered.connect(self._onAddVolumes)
        menu.addAction(_("DICOM study…")).triggered.connect(self._onAddStudy)
        ui.addVolumesButton.setMenu(menu)
        ui.casesTable.cellDoubleClicked.connect(self._onCaseChosen)

    @property
    def current(self) -> TrainingSet | None:
        """The set; None when none is open."""
        return self._set

    @property
    def folder(self) -> str:
        """Its folder; empty when none is open."""
        return str(self._set.folder) if self._set is not None else ""

    @property
    def rows(self) -> list[CaseRow]:
        """Its cases as they were at the last `update`."""
        return self._rows

    @guarded
    def openLast(self) -> None:
        """Open the set that was used last, if it is still there."""
        self._showSets()
        if self._set is None and self._paths():
            self._open(self._paths()[0])

    def update(self) -> None:
        """Show the set as it is now."""
        ui = self._ui
        isThere = self._set is not None
        self._rows = self._set.cases() if isThere else []
        ui.setActions.visible = True
        ui.addVolumesButton.visible = ui.checkButton.visible = isThere
        ui.casesTable.visible = bool(self._rows)
        ui.setLabel.text = summary(self._rows) if isThere else noSet()
        self._fillTable()

    def close(self) -> None:
        """End a copy."""
        self._collecting.close()

    def addScene(self, volume: Any, segmentation: Any) -> None:
        """Add a volume with its segmentation as a labelled case; asks what is unclear.

        Raises:
            MISFMError: There is no volume or segmentation, or the set cannot be written.
        """
        if volume is None or segmentation is None:
            raise noSegmentation()
        if self._set is None:
            self._use(TrainingSet.create(_defaultFolder()))
        made, known = self._set, caseWithImage(self._set, volume)
        isOpen = self._loop.case is not None and volume in self._loop.case.volumes
        if (isOpen or not known) and (case := caseOf(made, volume)):
            raise isCaseAlready(case)  # which Done keeps; or its volume was moved or changed
        self.askNothing()
        if not known:
            self._channels.begin(
                made, volume, lambda volumes: self._mapping.begin(made, volumes, segmentation)
            )
        elif not made.label_map(known).exists() or isReplacedByAdded(known, volume.GetName()):
            self._mapping.begin(made, [volume], segmentation, known)

    def askNothing(self) -> None:
        """End questions about a volume that is gone, or about another set."""
        self._channels.end()
        self._mapping.end()

    # --------------------------------------------------------------------------------- which set

    def _paths(self) -> list[Path]:
        return [path for path in self._known() if path.is_dir()]

    def _known(self) -> list[Path]:
        """Return also those that are out of reach now, as on a drive that is not connected."""
        try:
            return [Path(path) for path in json.loads(self._store.value(_SETS, "[]"))]
        except (TypeError, ValueError):  # somebody has edited the file
            return []

    def _use(self, trainingSet: TrainingSet) -> None:
        self._remember(trainingSet)
        if trainingSet != self._set:
            if not self._loop.leave():
                self._remember(self._set)
                return
            self.askNothing()
            self._set = trainingSet
        self.update()
        self.changed.emit()

    def _remember(self, trainingSet: TrainingSet) -> None:
        """Let a set be the first of those that can be chosen."""
        folder = trainingSet.folder
        paths = [folder, *(path for path in self._known() if path != folder)][:_MOST_SETS]
        self._store.setValue(_SETS, json.dumps([str(path) for path in paths]))
        self._showSets()

    def _open(self, path: Path) -> None:
        trainingSet = TrainingSet(path)
        trainingSet.recover()
        self._use(trainingSet)

    def _showSets(self) -> None:
        selector, paths = self._ui.setSelector, self._paths()
        selector.blockSignals(True)
        selector.clear()
        for path in paths:
            selector.addItem(path.name, str(path))
        if not paths:
            selector.addItem(_("None yet"))
        selector.enabled = bool(paths)
        selector.blockSignals(False)

    @guarded
    def _onSetChosen(self, *_arguments: Any) -> None:
        path = self._ui.setSelector.currentData
        if path:
            self._open(Path(path))

    @guarded
    def _onNew(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getSaveFileName(
            self._ui.newSetButton, _("New training set"), str(_defaultFolder())
        )
        if path:
            self._use(TrainingSet.create(Path(path)))

    @guarded
    def _onOpen(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getExistingDirectory(
            self._ui.openSetButton, _("Open a training set"), ""
        )
        if path and (Path(path) / "cases.csv").exists():
            self._open(Path(path))
        elif path:
            self._collecting.begin(Path(path), _defaultFolder())

    # ------------------------------------------------------------------------------------- cases

    @guarded
    def _onAddSegmentation(self, *_arguments: Any) -> None:
        self.addScene(*self._chosenCase())

    def _onNotCollected(self, problem: Any) -> None:
        self.update()  # the line that told how far the copy was
        self.report(problem)

    def _add(self, *_arguments: Any) -> None:
        self.update()
        self.changed.emit()

    @guarded
    def _onAddVolumes(self, *_arguments: Any) -> None:
        self._files.choose(self._set)

    @guarded
    def _onAddStudy(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getExistingDirectory(
            self._ui.addVolumesButton, _("Folder of a DICOM study"), ""
        )
        if path:
            self._collecting.begin(Path(path), self._set.folder)

    @guarded
    def _onCaseChosen(self, row: int, *_arguments: Any) -> None:
        if 0 <= row < len(self._rows):
            self.opened.emit(self._rows[row].name)

    # ------------------------------------------------------------------------------------- table

    def _prepareTable(self) -> None:
        table = self._ui.casesTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Case"), _("Status"), _("Sure")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + _ROW_MARGINS)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)

    def _fillTable(self) -> None:
        table = self._ui.casesTable
        table.setRowCount(len(self._rows))
        for index, row in enumerate(self._rows):
            sure = "" if row.certainty is None else f"{100 * row.certainty:.0f} %"
            for column, text in enumerate((row.name, statusText(row), sure)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(details(row))
                table.setItem(index, column, item)
        self._fitTable()

    def leavePlace(self, *, isCorrecting: bool) -> None:
        """Make the table small while a case is corrected, and as high as it was afterwards."""
        mostRows = _ROWS_BESIDE_A_CASE if isCorrecting else _MAX_ROWS
        if mostRows != self._mostRows:
            self._mostRows = mostRows
            self._fitTable()

    def _fitTable(self) -> None:
        table, count = self._ui.casesTable, min(len(self._rows), self._mostRows)
        height = sum(table.rowHeight(row) for row in range(count)) + 2 * table.frameWidth
        table.setFixedHeight(height + table.horizontalHeader().sizeHint.height())


def _defaultFolder() -> Path:
    """Return a folder for a new set that is not there yet."""
    parent, number = store.home() / "training-sets", 1
    while (folder := parent / f"training-set-{number}").exists():
        number += 1
    return folder
