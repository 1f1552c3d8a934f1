"""The section Set-up: what MISFM needs and whether it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished

from .. import Messages
from ..Guard import guarded
from ..Jobs import RunLog
from ..Jobs.Logic import MISFMLogic
from ..Library import findLibrary
from ..LibraryMessages import forPanel
from ..Setup import Requirements
from ..Setup.SelfCheck import SelfCheck, meanDice

_ICON_PIXELS = 16


class SetupView:
    """A line for each requirement, with a button that puts it right, and the self-check."""

    def __init__(self, ui: Any, logic: MISFMLogic, report: Callable[[Exception], None]) -> None:
        """Connect the widgets; the requirements are looked up when the section opens.

        Args:
            ui: Widgets of the .ui file by their names.
            logic: Holds the worker.
            report: Shows an error to the user.
        """
        self.report = report
        self.changed: Callable[[], None] = lambda: None
        self._ui = ui
        self._logic = logic
        self.announcement = ""
        """What will have to be installed before the first run; empty when nothing has to."""
        self._check: SelfCheck | None = None
        self._rows: list[Any] = []
        ui.setupSection.contentsCollapsed.connect(self._onCollapsed)
        ui.selfCheckButton.clicked.connect(self._onSelfCheck)
        ui.releaseButton.clicked.connect(self._onRelease)
        ui.logButton.clicked.connect(self._onOpenLogs)
        ui.aboutLabel.text = _about()

    def look(self) -> None:
        """Look what is missing."""
        missing = ", ".join(item.title for item in Requirements.missingRequirements())
        text = _("Before the first run Segment will ask to install {missing}.")
        self.announcement = text.format(missing=missing) if missing else ""

    def open(self) -> None:
        """Show the section."""
        self._ui.setupSection.collapsed = False
        self.refresh()

    def refresh(self) -> None:
        """Look again what is there and what is missing."""
        for widget in self._rows:
            widget.hide()
            self._ui.requirements.layout().removeWidget(widget)
            widget.deleteLater()
        self._rows = []
        for row, requirement in enumerate(Requirements.checkRequirements()):
            self._addRow(row, requirement)
        self._ui.releaseButton.enabled = self._logic.isWorkerWarm

    def installMissing(self) -> bool:
        """Ask once to install what is missing; tell whether all is there now.

        Raises:
            MISFMError: Something could not be installed.
        """
        missing = Requirements.missingRequirements()
        if not missing:
            return True
        question = Requirements.installationQuestion(missing)
        if not slicer.util.confirmOkCancelDisplay(question, _("MISFM needs more software")):
            return False
        with slicer.util.WaitCursor():
            Requirements.installRequirements(missing)
        self._ui.failureFrame.visible = False  # of an earlier try
        self._changed()
        return True

    def close(self) -> None:
        """End a self-check that is running."""
        if self._check is not None:
            self._check.close()
            self._check = None

    def _addRow(self, row: int, requirement: Requirements.Requirement) -> None:
        icon, text = qt.QLabel(), qt.QLabel()
        icon.setPixmap(_icon(icon, requirement.status))
        icon.toolTip = _statusName(requirement.status)
        text.setTextFormat(qt.Qt.PlainText)
        text.text = f"{requirement.title}: {requirement.message}"
        text.wordWrap = True
        # The height follows the width of the panel, not the other way round.
        text.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        text.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        widgets = [icon, text]
        if requirement.fix is not None:
            button = qt.QPushButton(_("Fix"))
            button.toolTip = requirement.command
            button.clicked.connect(lambda *_arguments: self._onFix(requirement))
            widgets.append(button)
        layout = self._ui.requirements.layout()
        for column, widget in enumerate(widgets):
            layout.addWidget(widget, row, column)
        layout.setColumnStretch(1, 1)
        self._rows += widgets

    @guarded
    def _onFix(self, requirement: Requirements.Requirement) -> None:
        with slicer.util.WaitCursor():
            requirement.fix()
        self._changed()

    def _changed(self) -> None:
        self.look()
        self.refresh()
        self.changed()

    @guarded
    def _onCollapsed(self, isCollapsed: bool, *_arguments: Any) -> None:
        if not isCollapsed:
            self.refresh()

    @guarded
    def _onSelfCheck(self, *_arguments: Any) -> None:
        if not self.installMissing():
            return
        self._check = SelfCheck(slicer.app.temporaryPath)
        self._check.ended.connect(self._onChecked)
        self._ui.selfCheckButton.enabled = False
        self._tell(_("Checking…"))

    @guarded
    def _onChecked(self, end: Finished | Failed) -> None:
        self._check = None
        self._ui.selfCheckButton.enabled = True
        self._tell(_outcome(end))

    def _tell(self, text: str) -> None:
        self._ui.selfCheckLabel.text = text
        self._ui.selfCheckLabel.visible = True

    @guarded
    def _onRelease(self, *_arguments: Any) -> None:
        self._logic.releaseMemory()
        self._tell(_("The memory is free; the next run loads the model again."))

    @guarded
    def _onOpenLogs(self, *_arguments: Any) -> None:
        folder = RunLog.folder()
        folder.mkdir(parents=True, exist_ok=True)
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))


def _outcome(end: Finished | Failed) -> str:
    if isinstance(end, Failed):
        return _("The self-check failed. {message} {remedy}").format(
            message=forPanel(end.message), remedy=forPanel(end.remedy)
        )
    return _("Works: a sample was segmented in {time} on the {device}, mean Dice {dice}.").format(
        time=Messages.duration(end.report["seconds"]),
        device=Messages.deviceName(end.report["device"]),
        dice=f"{meanDice(end.report):.2f}",
    )


def _about() -> str:
    library = findLibrary()
    version = library.version if library is not None else "?"
    return _(
        "MISFM {version}. Everything runs on this computer; nothing is sent. Not for clinical use."
    ).format(version=version)


def _icon(widget: Any, status: Requirements.Status) -> Any:
    icons = {
        Requirements.Status.GREEN: qt.QStyle.SP_DialogApplyButton,
        Requirements.Status.AMBER: qt.QStyle.SP_MessageBoxWarning,
        Requirements.Status.RED: qt.QStyle.SP_MessageBoxCritical,
    }
    return widget.style().standardIcon(icons[status]).pixmap(_ICON_PIXELS, _ICON_PIXELS)


def _statusName(status: Requirements.Status) -> str:
    names = {
        Requirements.Status.GREEN: _("in order"),
        Requirements.Status.AMBER: _("works, but could be better"),
        Requirements.Status.RED: _("missing"),
    }
    return names[status]
