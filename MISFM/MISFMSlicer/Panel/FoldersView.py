"""The folders that a pretraining learns from, and their preparation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.models import store

from .. import Messages
from ..Guard import guarded
from ..Jobs.Command import Command
from ..Signal import Signal
from .Lists import fitRows

_FOLDERS = "MISFM/pretrainFolders"
_MAX_ROWS = 4
_UNKNOWN = "other"
"""Modality of volumes of which no file tells it."""


class FoldersView:
    """The list of folders; ``changed()`` tells that another one, or a prepared store, is there."""

    def __init__(
        self,
        ui: Any,
        installMissing: Callable[[], bool],
        report: Callable[[Exception | Failed], None],
    ) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            installMissing: Installs what a child process needs; tells whether all is there.
            report: Shows an error, or how the child process failed.
        """
        self.changed = Signal()
        self.report = report
        self._ui = ui
        self._installMissing = installMissing
        self._store = slicer.app.userSettings()
        self._folders: list[str] = []
        self._prepared = ""
        self._command: Command | None = None
        ui.addFolderButton.clicked.connect(self._onAddFolder)
        ui.removeFolderButton.clicked.connect(self._onRemoveFolder)
        ui.prepareButton.clicked.connect(self._onPrepare)
        ui.foldersList.currentRowChanged.connect(self._onRow)

    @property
    def paths(self) -> list[str]:
        """The folders in the order in which they were added."""
        return self._folders

    @property
    def data(self) -> list[str]:
        """What is learnt from: the store that was prepared, or the folders as they are."""
        return [self._prepared] if self._prepared else self._folders

    @property
    def isPreparing(self) -> bool:
        """Whether a preparation is under way."""
        return self._command is not None

    def readSettings(self) -> None:
        """Take up the folders of the last time that are still there, unless they are in use."""
        if self.isPreparing:
            return
        try:
            folders = json.loads(self._store.value(_FOLDERS, "[]"))
        except (TypeError, ValueError):  # somebody has edited the file
            folders = []
        self.setFolders([folder for folder in folders if Path(folder).is_dir()])

    def setFolders(self, folders: list[str]) -> None:
        """Learn from the volumes below these folders."""
        if folders != self._folders:
            self._prepared = ""
            self._ui.prepareLabel.text = ""
        self._folders = folders
        self._store.setValue(_FOLDERS, json.dumps(folders))
        self._ui.foldersList.clear()
        for folder in folders:
            self._ui.foldersList.addItem(folder)
        fitRows(self._ui.foldersList, _MAX_ROWS)
        self._show()

    def close(self) -> None:
        """End a preparation, which goes on the next time."""
        if self._command is not None:
            self._command.close()

    def _show(self) -> None:
        canChange = not self.isPreparing  # else what is prepared would not be what is listed
        self._ui.addFolderButton.enabled = canChange
        self._ui.removeFolderButton.enabled = canChange and self._ui.foldersList.currentRow >= 0
        self._ui.prepareButton.enabled = canChange and bool(self._folders)
        self.changed.emit()

    def _storeFolder(self) -> Path:
        """Return the place of these folders alone: a store keeps all that ever went into it."""
        name = re.sub(r"\W+", "-", Path(self._folders[0]).name).strip("-") or "volumes"
        key = hashlib.sha256(json.dumps(sorted(self._folders)).encode()).hexdigest()[:8]
        return store.home() / "stores" / f"{name}-{key}"

    @guarded
    def _onRow(self, *_arguments: Any) -> None:
        self._show()

    @guarded
    def _onAddFolder(self, *_arguments: Any) -> None:
        path = qt.QFileDialog.getExistingDirectory(
            self._ui.addFolderButton, _("Folder with volumes"), ""
        )
        if path and path not in self._folders:
            self.setFolders([*self._folders, path])

    @guarded
    def _onRemoveFolder(self, *_arguments: Any) -> None:
        row = self._ui.foldersList.currentRow
        self.setFolders([each for index, each in enumerate(self._folders) if index != row])

    @guarded
    def _onPrepare(self, *_arguments: Any) -> None:
        self._ui.pretrainNoticeFrame.visible = False
        if not self._installMissing():
            return
        self._command = Command(["prepare", *self._folders, "-o", str(self._storeFolder())])
        self._command.progressed.connect(self._onProgress)
        self._command.ended.connect(self._onPrepared)
        self._ui.prepareProgress.visible = True
        self._command.start()
        self._show()

    @guarded
    def _onProgress(self, progress: Progress) -> None:
        self._ui.prepareProgress.value = round(100 * progress.fraction)
        self._ui.prepareLabel.text = progress.message

    @guarded
    def _onPrepared(self, event: Finished | Failed) -> None:
        self._command = None
        self._ui.prepareProgress.visible = False
        if isinstance(event, Failed):
            self.report(event)
        else:
            self._prepared = str(event.report.get("store") or self._storeFolder())
            self._ui.prepareLabel.text = preparedText(event.report)
            self._ui.prepareLabel.toolTip = event.report.get("text", "")
        self._show()


def preparedText(report: dict[str, Any]) -> str:
    """Say what a preparation has found, what it has refused and why."""
    fields = {"count": report["usable"], "size": Messages.memory(report["bytes"])}
    modalities = report["modalities"]
    if set(modalities) <= {_UNKNOWN}:
        lines = [_("{count} volumes ready, {size} on the disk.").format(**fields)]
    else:
        text = ", ".join(f"{name} {count}" for name, count in modalities.items())
        text = _("{count} volumes ready ({modalities}), {size} on the disk.").format(
            modalities=text, **fields
        )
        lines = [text]
    refused = report.get("quarantined") or {}
    if refused:
        known = _reasons()
        parts = [f"{known.get(code, code)}: {count}" for code, count in refused.items()]
        lines.append(_("Refused: {reasons}.").format(reasons="; ".join(parts)))
    if report.get("duplicates"):
        lines.append(_("{count} were there twice.").format(count=report["duplicates"]))
    return " ".join(lines)


def _reasons() -> dict[str, str]:
    """Return in words why the library refuses a volume, by its code."""
    return {
        "file-truncated": _("cut off"),
        "file-damaged": _("damaged"),
        "not-an-image": _("no image"),
        "empty-volume": _("without voxels"),
        "not-finite": _("values that are no numbers"),
        "two-dimensional": _("a single slice"),
        "four-dimensional": _("a series over time"),
        "implausible-spacing": _("voxel size that cannot be right"),
        "zero-spacing": _("voxel size that cannot be right"),
        "too-few-slices": _("too few slices"),
        "coarse-voxels": _("voxels too large"),
        "label-map": _("a label map"),
        "not-hounsfield": _("a CT without Hounsfield units"),
        "other-modality": _("neither CT nor MR"),
        "localizer": _("a localizer"),
        "nothing-left": _("nothing but air"),
        "held-out": _("held out"),
    }
