"""The check of a training set before a training, in a child process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished, Progress

from ..Guard import guarded
from ..Jobs.Command import Command
from ..TemporaryFolder import makeFolder


class CaseCheck:
    """The button Check.

    What is wrong goes to ``failed(Failed)``, else ``passed(report)`` is called.
    """

    def __init__(
        self,
        ui: Any,
        settings: Callable[[], Mapping[str, Any] | None],
        failed: Callable[[Failed], None],
        report: Callable[[Exception], None],
    ) -> None:
        """Connect the button.

        Args:
            ui: Widgets of the .ui file by their names.
            settings: Returns what `misfm finetune` would be started with; None when that cannot be.
            failed: Takes what is wrong.
            report: Shows an error to the user.
        """
        self.report = report
        self.passed: Callable[[Mapping[str, Any]], None] = lambda _report: None
        self._ui = ui
        self._settings = settings
        self._failed = failed
        self._command: Command | None = None
        self._folder: Path | None = None
        ui.checkButton.clicked.connect(self._onCheck)

    def close(self) -> None:
        """End a check that is under way."""
        if self._command is not None:
            self._command.close()
            self._command = None
            self._ui.checkButton.enabled = True
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @guarded
    def _onCheck(self, *_arguments: Any) -> None:
        config = self._settings()
        if config is None or self._command is not None:
            return
        self._folder = makeFolder("check", slicer.app.temporaryPath)
        job = {**config, "output": str(self._folder / "model"), "check_only": True}
        path = self._folder / "job.json"
        path.write_text(json.dumps({"job": "finetune", "config": job}), "utf-8")
        self._command = Command(["run", str(path)])
        self._command.progressed.connect(self._onProgress)
        self._command.ended.connect(self._onEnded)
        self._ui.checkButton.enabled = False
        self._command.start()

    @guarded
    def _onProgress(self, progress: Progress) -> None:
        self._ui.trainLabel.text = _("Checking the cases: {what}").format(what=progress.message)

    @guarded
    def _onEnded(self, event: Finished | Failed) -> None:
        self.close()
        if isinstance(event, Failed):
            self._failed(event)
        else:
            self.passed(event.report)
