"""What can be done with models in the panel: add, download, give away, delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.models import store
from MISFMLib.models.recognise import kind_of

from .. import Messages
from ..Guard import guarded
from ..Jobs.Command import Command
from .ModelsView import ModelsView


class ModelActions:
    """The buttons below the list of models; downloads and conversions run in a child process."""

    def __init__(self, ui: Any, view: ModelsView, installMissing: Callable[[], bool]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            view: The list.
            installMissing: Installs what a child process needs; tells whether all is there.
        """
        self.report = view.report
        self.changed: Callable[[], None] = lambda: None
        self._ui = ui
        self._view = view
        self._installMissing = installMissing
        self._command: Command | None = None
        ui.importModelButton.setMenu(self._importMenu())
        ui.downloadModelButton.clicked.connect(self._onDownload)
        ui.exportModelButton.clicked.connect(self._onExport)
        ui.removeModelButton.clicked.connect(self._onRemove)

    def close(self) -> None:
        """End what is running; a download goes on there the next time."""
        if self._command is not None:
            self._command.close()
            self._command = None

    # ------------------------------------------------------------------------------------- import

    def _importMenu(self) -> Any:
        menu = qt.QMenu(self._ui.importModelButton)
        menu.addAction(_("From a file…")).triggered.connect(self._onImportFile)
        menu.addAction(_("From a folder…")).triggered.connect(self._onImportFolder)
        return menu

    @guarded
    def _onImportFile(self, *_arguments: Any) -> None:
        button, kinds = self._ui.importModelButton, _("Models (*.zip *.pt *.pth)")
        path = qt.QFileDialog.getOpenFileName(button, _("Import a model"), "", kinds)
        if path:
            self._import(Path(path))

    @guarded
    def _onImportFolder(self, *_arguments: Any) -> None:
        button = self._ui.importModelButton
        path = qt.QFileDialog.getExistingDirectory(button, _("Import a model"), "")
        if path:
            self._import(Path(path))

    def _import(self, path: Path) -> None:
        """Import a bundle at once: it needs no PyTorch and only copies. Others are converted."""
        if kind_of(path) != "bundle":
            self._run("models", "import", str(path))
            return
        with slicer.util.WaitCursor():
            bundle = store.import_model(path)
        self._added(bundle.manifest.name)

    # --------------------------------------------------------------------------- in a child process

    @guarded
    def _onDownload(self, *_arguments: Any) -> None:
        if self._command is not None:
            self.close()
            self._showEnd(_("Stopped. The next download goes on from here."))
        else:
            self._run("models", "fetch", self._view.current.entry.name)

    def _run(self, *words: str) -> None:
        if self._command is not None or not self._installMissing():
            return
        self._ui.failureFrame.visible = False  # of an earlier try
        self._command = Command(words)
        self._command.progressed.connect(self._onProgress)
        self._command.ended.connect(self._onEnded)
        self._command.start()
        self._ui.downloadModelButton.text = _("Stop")
        self._ui.importModelButton.enabled = False
        self._showProgress(Progress("start", 0.0))

    @guarded
    def _onProgress(self, progress: Progress) -> None:
        self._showProgress(progress)

    def _showProgress(self, progress: Progress) -> None:
        ui = self._ui
        ui.modelProgress.visible = ui.modelStatusLabel.visible = True
        ui.modelProgress.maximum = 100 if progress.fraction else 0
        ui.modelProgress.value = round(100 * progress.fraction)
        parts = [Messages.stage(progress), Messages.timeLeft(progress)]
        ui.modelStatusLabel.text = ", ".join(part for part in parts if part)

    @guarded
    def _onEnded(self, end: Finished | Failed) -> None:
        self._command = None
        self._showEnd("")
        if isinstance(end, Failed):
            self.report(_notSegmenting(end))
        else:
            self._added(Path(end.report["path"]).name)

    def _showEnd(self, text: str) -> None:
        ui = self._ui
        ui.modelProgress.visible = False
        ui.modelStatusLabel.text = text
        ui.modelStatusLabel.visible = bool(text)
        ui.downloadModelButton.text = _("Download")
        ui.importModelButton.enabled = True

    def _added(self, name: str) -> None:
        self._view.read()
        self.changed()
        if self._view.model(name) is not None:
            self._view.choose(name)
        else:
            text = _("{model} is one of your models now. It is for training and cannot segment.")
            self._showEnd(text.format(model=name))

    # ---------------------------------------------------------------------------- export and remove

    @guarded
    def _onExport(self, *_arguments: Any) -> None:
        name = self._view.current.name
        path = qt.QFileDialog.getSaveFileName(
            self._ui.exportModelButton, _("Export a model"), f"{name}.zip", _("Models (*.zip)")
        )
        if path:
            with slicer.util.WaitCursor():
                store.export_model(name, Path(path), overwrite=True)  # the dialog has asked

    @guarded
    def _onRemove(self, *_arguments: Any) -> None:
        model = self._view.current
        question = _("Delete the model {model} from this computer?").format(model=model.title)
        if slicer.util.confirmYesNoDisplay(question):
            store.remove_model(model.name)
            self._view.read()
            self.changed()


def _notSegmenting(end: Failed) -> Failed:
    """Return a failure in words for a program that was ended and does not segment."""
    if not end.code.startswith("worker-"):
        return end
    message = _("The program that gets or converts the model was ended.")
    remedy = _("Try again: a download goes on from where it was.")
    return Failed(message, code=end.code, remedy=remedy, traceback=end.traceback)
