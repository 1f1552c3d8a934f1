"""A data set from elsewhere, nnU-Net's say, or folders of pairs, becomes a training set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.errors import DataError
from MISFMLib.events import Failed, Finished, Progress

from ..Guard import guarded
from ..Jobs.Command import Command


class CollectView:
    """Copies the cases of a folder in a child process; the folder itself stays as it is."""

    def __init__(
        self, ui: Any, opened: Callable[[Path], None], report: Callable[[Any], None]
    ) -> None:
        """Keep the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            opened: Opens the training set that came out.
            report: Shows an error, or how the child process failed.
        """
        self.report = report
        self._ui = ui
        self._opened = opened
        self._command: Command | None = None

    def begin(self, source: Path, target: Path) -> None:
        """Copy the cases of a data set into a new training set.

        Args:
            source: The data set.
            target: Folder of the training set, not there yet.
        """
        self.close()
        self._command = Command(["collect", str(source), "-o", str(target)])
        self._command.progressed.connect(self._onProgress)
        self._command.ended.connect(self._onEnded)
        self._ui.setLabel.text = _("Copying the cases of {folder}").format(folder=source.name)
        self._command.start()

    def close(self) -> None:
        """End a copy that is under way."""
        if self._command is not None:
            self._command.close()
            self._command = None

    @guarded
    def _onProgress(self, progress: Progress) -> None:
        self._ui.setLabel.text = _("Copying the cases: {what}").format(what=progress.message)

    @guarded
    def _onEnded(self, event: Finished | Failed) -> None:
        self._command = None
        if isinstance(event, Failed):
            self.report(event)
            return
        self._opened(Path(event.report["set"]))
        refused = event.report.get("refused") or {}
        if refused:
            lines = [f"{name}: {why}" for name, why in refused.items()]
            raise DataError(
                _("Not added:") + "\n" + "\n".join(lines),
                code="cases-refused",
                remedy=_("The other cases are in the training set."),
            )
