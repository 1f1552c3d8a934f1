"""Which label of the training set is each segment of a case that comes in: asked, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow
from MISFMLib.annotation.labels import match_labels
from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.configs import LabelConfig
from MISFMLib.errors import DataError

from ..Guard import guarded
from ..Scene.Masks import liesOnGrid
from ..Scene.SceneCases import LEAVE_OUT, NEW, addCase, replaceLabels
from ..Scene.SceneIO import isInScene
from ..Scene.TrainingCases import segmentNames
from .Scrolling import bringIntoView

_UNDECIDED = ""


class MappingView:
    """Adds a volume with a segmentation to a set, or its labels to the case that it is there.

    Names that the set has, whatever their case, need no question, and the first case of a set
    brings its labels along. All others are asked for in a table before anything is written, and so
    is whether segments that lie on another grid may be resampled.
    """

    def __init__(
        self, ui: Any, added: Callable[[CaseRow], None], report: Callable[[Exception], None]
    ) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            added: Called with the row of a case that was added.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._added = added
        self._case: tuple[TrainingSet, Sequence[Any], Any, str] | None = None
        self._choices: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        table = ui.mappingTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Segment"), _("Label of the set")])
        table.verticalHeader().setVisible(False)
        for column in (0, 1):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)
        ui.mappingAddButton.clicked.connect(self._onAdd)
        ui.mappingCancelButton.clicked.connect(self._onCancel)

    def begin(
        self, trainingSet: TrainingSet, volumes: Sequence[Any], segmentation: Any, known: str = ""
    ) -> None:
        """Add a case at once, or ask first what its labels are.

        Args:
            trainingSet: The set.
            volumes: A volume for each of its channels.
            segmentation: What is segmented.
            known: A case that has the first volume's image already; its labels are replaced.

        Raises:
            MISFMError: It cannot be added.
        """
        names = segmentNames(segmentation)
        labels = trainingSet.labels
        mapping = match_labels(names.values(), labels)
        self._case = (trainingSet, volumes, segmentation, known)
        unclear = [key for key, name in names.items() if name in mapping.unknown]
        isOnGrid = liesOnGrid(segmentation, volumes[0])
        if (labels and unclear) or not isOnGrid:
            self._ask(names, labels, unclear if labels else [], isOnGrid=isOnGrid)
            return
        chosen = {key: mapping.values.get(name, NEW) for key, name in names.items()}
        self._write(chosen)

    # ------------------------------------------------------------------------------------ asking

    def _ask(
        self,
        names: dict[str, str],
        labels: tuple[LabelConfig, ...],
        unclear: list[str],
        *,
        isOnGrid: bool,
    ) -> None:
        table = self._ui.mappingTable
        self._ui.mappingLabel.text = _questions(isUnclear=bool(unclear), isOnGrid=isOnGrid)
        known = match_labels(names.values(), labels).values
        table.setRowCount(len(names))
        self._choices, self._names = {}, names
        for row, (key, name) in enumerate(names.items()):
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            combo = qt.QComboBox()
            if key in unclear:
                combo.addItem(_("Choose…"), _UNDECIDED)
            for label in labels:
                combo.addItem(label.name, label.value)
            combo.addItem(_("a new label"), NEW)
            combo.addItem(_("leave out"), LEAVE_OUT)
            if key not in unclear:
                combo.setCurrentIndex(combo.findData(known.get(name, NEW)))
            combo.currentIndexChanged.connect(self._onChoice)
            table.setCellWidget(row, 1, combo)
            self._choices[key] = combo
        height = sum(table.rowHeight(row) for row in range(min(len(names), 8)))
        table.setFixedHeight(
            int(height + 2 * table.frameWidth + table.horizontalHeader().sizeHint.height())
        )
        self._ui.mappingFrame.visible = True
        bringIntoView(self._ui.mappingFrame)
        self._onChoice()

    @guarded
    def _onChoice(self, *_arguments: Any) -> None:
        chosen = [combo.currentData for combo in self._choices.values()]
        values = [each for each in chosen if isinstance(each, int)]
        isTwice = len(set(values)) < len(values)
        self._ui.mappingAddButton.enabled = _UNDECIDED not in chosen and not isTwice
        self._ui.mappingAddButton.toolTip = (
            _("Two segments have the same label.") if isTwice else _("Choose a label for each.")
        )

    @guarded
    def _onAdd(self, *_arguments: Any) -> None:
        segmentation = self._case[2]
        if not isInScene(segmentation):
            self.end()
            raise DataError(
                _("The segmentation was removed from the scene."),
                code="segmentation-removed",
                remedy=_("Press Add labels for another one."),
            )
        if segmentNames(segmentation) != self._names:  # what was asked is not so any more
            self.begin(*self._case)
        else:
            self._write({key: combo.currentData for key, combo in self._choices.items()})

    @guarded
    def _onCancel(self, *_arguments: Any) -> None:
        self.end()

    def end(self) -> None:
        """Ask nothing any more."""
        self._case, self._choices = None, {}
        self._ui.mappingTable.setRowCount(0)
        self._ui.mappingFrame.visible = False

    # ----------------------------------------------------------------------------------- writing

    def _write(self, chosen: dict[str, Any]) -> None:
        trainingSet, volumes, segmentation, known = self._case
        if known:
            row = replaceLabels(trainingSet, known, volumes[0], segmentation, chosen)
        else:
            row = addCase(trainingSet, volumes, segmentation, chosen)
        self.end()
        self._added(row)


def _questions(*, isUnclear: bool, isOnGrid: bool) -> str:
    parts = []
    if isUnclear:
        parts.append(
            _(
                "The training set does not know these names. Say what each segment is; nothing is"
                " written before."
            )
        )
    if not isOnGrid:
        parts.append(
            _(
                "These segments lie on another grid than the volume. They are resampled to it when"
                " you add them: each voxel gets the nearest label."
            )
        )
    return " ".join(parts)
