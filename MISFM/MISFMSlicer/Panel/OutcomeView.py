"""What a training has brought: before and after, the worst cases, keep or discard."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.models import store
from MISFMLib.models.bundle_manifest import model_name
from MISFMLib.models.versions import bring_back, keep_model, list_versions

from ..Guard import guarded
from ..Jobs.TrainingProcess import TrainingProcess
from ..Signal import Signal
from .Lists import fillRows
from .Scrolling import bringIntoView
from .TrainView import reportOf

_WORST = 5
_ROW_MARGINS = 8


class OutcomeView:
    """The box of a finished training.

    Signals: ``kept(name)`` when its model is in the list; ``discarded()``; ``opened(case)`` when
    the user wants to see a case.
    """

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.kept = Signal()
        self.discarded = Signal()
        self.opened = Signal()
        self.report = report
        self._ui = ui
        self._training: TrainingProcess | None = None
        self._worst: list[str] = []
        self._prepareTable()
        ui.keepButton.clicked.connect(self._onKeep)
        ui.discardButton.clicked.connect(self._onDiscard)
        ui.worstList.currentRowChanged.connect(self._onCaseChosen)
        ui.versionsButton.setMenu(qt.QMenu(ui.versionsButton))
        ui.versionsButton.menu().aboutToShow.connect(self._onVersions)

    @property
    def isOpen(self) -> bool:
        """Whether there is a model about which nobody has decided."""
        return self._training is not None

    def show(self, training: TrainingProcess) -> None:
        """Show what a finished training has brought."""
        self._training = training
        report = reportOf(training)
        self._ui.outcomeLabel.text = verdict(report)
        self._fillTable(report)
        self._fillWorst(report)
        self._ui.keepNameEdit.text = str(training.about.get("name") or "my-model")
        isGood = shallKeep(report)
        self._ui.keepButton.default = isGood
        self._ui.discardButton.default = not isGood
        self._ui.outcomeFrame.visible = True
        bringIntoView(self._ui.outcomeFrame)

    def hide(self) -> None:
        """Show nothing."""
        self._training = None
        self._ui.outcomeFrame.visible = False

    def showVersions(self) -> None:
        """Offer earlier versions where there are some."""
        self._ui.versionsButton.visible = any(list_versions(name) for name in _mine())

    # ------------------------------------------------------------------------------------- tables

    def _prepareTable(self) -> None:
        table = self._ui.outcomeTable
        table.setColumnCount(4)
        table.setHorizontalHeaderLabels([_("Label"), _("Before"), _("After"), _("Spread")])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + _ROW_MARGINS)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2, 3):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)

    def _fillTable(self, report: Mapping[str, Any]) -> None:
        table, rows = self._ui.outcomeTable, labelRows(report)
        table.visible = bool(rows)
        table.setRowCount(len(rows))
        for index, cells in enumerate(rows):
            for column, text in enumerate(cells):
                table.setItem(index, column, qt.QTableWidgetItem(text))
        height = sum(table.rowHeight(row) for row in range(min(len(rows), 10)))
        header = table.horizontalHeader().sizeHint.height()
        table.setFixedHeight(int(height + 2 * table.frameWidth + header))

    def _fillWorst(self, report: Mapping[str, Any]) -> None:
        worst = worstCases(report)
        self._worst = [name for name, _dice in worst]
        titles = [
            _("{case}: Dice {dice}").format(case=name, dice=f"{dice:.2f}") for name, dice in worst
        ]
        fillRows(self._ui.worstList, titles, _WORST)
        self._ui.worstList.visible = self._ui.outcomeCasesLabel.visible = bool(worst)
        self._ui.outcomeCasesLabel.text = _("Held-out cases, the worst first:")

    # -------------------------------------------------------------------------------------- slots

    @guarded
    def _onKeep(self, *_arguments: Any) -> None:
        name = model_name(self._ui.keepNameEdit.text, "my-model")
        keep_model(self._training.output, name)
        self.hide()
        self.showVersions()
        self.kept.emit(name)

    @guarded
    def _onDiscard(self, *_arguments: Any) -> None:
        self.hide()
        self.discarded.emit()

    @guarded
    def _onCaseChosen(self, row: int, *_arguments: Any) -> None:
        if 0 <= row < len(self._worst):
            self.opened.emit(self._worst[row])

    @guarded
    def _onVersions(self, *_arguments: Any) -> None:
        menu = self._ui.versionsButton.menu()
        menu.clear()
        for name in _mine():
            for version in list_versions(name):
                dice = "" if version.mean_dice is None else f", Dice {version.mean_dice:.2f}"
                text = _("{name}, version {number}{dice}").format(
                    name=name, number=version.number, dice=dice
                )
                action = menu.addAction(text)
                action.triggered.connect(partial(self._bringBack, name, version.number))

    @guarded
    def _bringBack(self, name: str, number: int, *_arguments: Any) -> None:
        bring_back(name, number)
        self.kept.emit(name)


def _mine() -> list[str]:
    return [entry.name for entry in store.list_models() if entry.origin == "mine"]


# ------------------------------------------------------------------------------- reading a report


def verdict(report: Mapping[str, Any]) -> str:
    """Say in words whether a training was worth it."""
    evaluation, comparison = report.get("evaluation") or {}, report.get("comparison") or {}
    count = evaluation.get("held-out cases", 0)
    if not count:
        return _(
            "No case is held out yet, so nobody knows how good this model is: it takes three cases"
            " with labels."
        )
    mean = evaluation.get("mean Dice of the labels")
    after = "-" if mean is None else f"{mean:.2f}"
    if not comparison:
        return _(
            "Mean Dice {dice} on {count} held-out cases, which were never trained on. There is no"
            " earlier model to compare with."
        ).format(dice=after, count=count)
    gain, needed = f"{comparison['gain']:+.3f}", comparison.get("needed")
    if comparison["is_better"]:
        return _(
            "Better than before: Dice {gain} on {count} held-out cases; chance alone would stay"
            " below {needed}."
        ).format(gain=gain, count=count, needed=f"{needed:.3f}")
    if needed is None:
        return _("Dice {gain} on one held-out case: too few to tell from chance.").format(gain=gain)
    return _(
        "Not better than before by more than chance: Dice {gain} on {count} held-out cases, where"
        " {needed} would be needed."
    ).format(gain=gain, count=count, needed=f"{needed:.3f}")


def shallKeep(report: Mapping[str, Any]) -> bool:
    """Tell whether to keep is the better default: better than before, or the first of its kind."""
    comparison = report.get("comparison")
    return bool(comparison["is_better"]) if comparison else True


def isBetter(report: Mapping[str, Any]) -> bool:
    """Tell whether proposals shall come from the new model: better on the held-out cases at all.

    A few cases can hardly show more than chance lets happen; for proposals, which are looked at one
    by one, and with versions to go back to, the better mean is enough.
    """
    comparison = report.get("comparison")
    return bool(comparison["gain"] > 0) if comparison else True


def gainText(report: Mapping[str, Any]) -> str:
    """Say what a training has gained on how many cases."""
    comparison = report.get("comparison")
    if not comparison:
        return verdict(report)
    count = (report.get("evaluation") or {}).get("held-out cases", 0)
    return _("Dice {gain} on {count} held-out cases.").format(
        gain=f"{comparison['gain']:+.3f}", count=count
    )


def labelRows(report: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return label, Dice before, after, and its spread over the cases, as texts."""
    evaluation = report.get("evaluation") or {}
    before = (report.get("comparison") or {}).get("before", {})
    rows = []
    for name, values in evaluation.items():
        if isinstance(values, Mapping) and "dice" in values:
            old = before.get(name, {}).get("dice")
            rows.append(
                (name, _number(old), _number(values["dice"]), _number(values.get("dice_sd")))
            )
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def worstCases(report: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the held-out cases with the lowest mean Dice, and that; the worst first."""
    scores: dict[str, list[float]] = {}
    path = Path(report.get("scores") or "")
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            value = float(row["dice"])
            if not math.isnan(value):
                scores.setdefault(row["case"], []).append(value)
    means = [(name, statistics.fmean(values)) for name, values in scores.items()]
    return sorted(means, key=lambda each: each[1])[:_WORST]
