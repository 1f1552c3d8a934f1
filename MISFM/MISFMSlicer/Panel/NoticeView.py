"""Messages in the panel: warnings before a run, and the one message of a failure."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import MISFMError
from MISFMLib.events import Failed

from ..LibraryMessages import forPanel

_ICON_PIXELS = 16
_SETUP_CODES = ("device", "missing", "no-python", "out-of-memory", "package", "worker")


class NoticeView:
    """The warning line under the forecast, and the box of a failure."""

    def __init__(self, ui: Any) -> None:
        """Keep the widgets of the .ui file by their names."""
        self._ui = ui
        self._reportText = ""
        _setIcon(ui.warningIcon, qt.QStyle.SP_MessageBoxWarning)
        _setIcon(ui.failureIcon, qt.QStyle.SP_MessageBoxCritical)
        ui.copyReportButton.clicked.connect(self._onCopyReport)

    def showWarnings(self, warnings: Sequence[str]) -> None:
        """Show the first warning, all of them in its tooltip, or nothing."""
        self._ui.warningLabel.text = warnings[0] if warnings else ""
        self._ui.warningLabel.toolTip = "\n".join(warnings)
        self._ui.warningBox.visible = bool(warnings)

    def showFailure(self, failure: Failed, reportText: str, *, job: str = "") -> None:
        """Show cause and remedy, and the job if there are several; Copy report has the report."""
        self._reportText = reportText
        message = forPanel(failure.message)
        self._ui.failureLabel.text = f"{job}: {message}" if job else message
        self._ui.remedyLabel.text = forPanel(failure.remedy)
        self._ui.remedyLabel.visible = bool(failure.remedy)
        self._ui.failureSetupButton.visible = failure.code.startswith(_SETUP_CODES)
        self._ui.copyReportButton.text = _("Copy report")
        self._ui.failureFrame.visible = True

    def hideFailure(self) -> None:
        """Take the message of a failure away."""
        self._ui.failureFrame.visible = False

    def _onCopyReport(self, *_arguments: Any) -> None:
        slicer.app.clipboard().setText(self._reportText)
        self._ui.copyReportButton.text = _("Copied")


def failureOf(error: Exception | Failed) -> Failed:
    """Return what an error in the panel means for the user."""
    if isinstance(error, Failed):
        return error
    if isinstance(error, MISFMError):
        return Failed(error.message, code=error.code, remedy=error.remedy)
    return Failed(
        _("Unexpected {kind}: {message}").format(kind=type(error).__name__, message=error),
        code="internal",
        remedy=_("Report it with Copy report."),
        traceback="".join(traceback.format_exception(error)),
    )


def _setIcon(label: Any, standardIcon: Any) -> None:
    icon = label.style().standardIcon(standardIcon)
    label.setPixmap(icon.pixmap(_ICON_PIXELS, _ICON_PIXELS))
