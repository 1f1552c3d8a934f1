"""The section Models: find one, read its card, import, export, remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib import store

from .Guard import guarded
from .Models import Model, cardHtml, segmentationModels

_MAX_ROWS = 4
_ROW_MARGINS = 4


class ModelsView:
    """Lists the installed models; choosing one in the list chooses it in the panel."""

    def __init__(
        self, ui: Any, choose: Callable[[str], None], report: Callable[[Exception], None]
    ) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            choose: Takes the name of the model that the user chose.
            report: Shows an error to the user.
        """
        self.report = report
        self.models: list[Model] = []
        self.changed: Callable[[], None] = lambda: None
        self._ui = ui
        self._choose = choose
        self._chips = {"CT": ui.ctChip, "MR": ui.mrChip, "mine": ui.mineChip}
        ui.modelSearch.textChanged.connect(self._onFilter)
        for chip in self._chips.values():
            chip.toggled.connect(self._onFilter)
        ui.modelList.currentRowChanged.connect(self._onRowChosen)
        ui.importModelButton.setMenu(self._importMenu())
        ui.exportModelButton.clicked.connect(self._onExport)
        ui.removeModelButton.clicked.connect(self._onRemove)

    def read(self) -> None:
        """Look which models are installed."""
        self.models = segmentationModels()
        modalities = {model.modality for model in self.models}
        self._ui.ctChip.visible = self._ui.mrChip.visible = {"CT", "MR"} <= modalities
        self._ui.mineChip.visible = any(model.isMine for model in self.models)
        self._showList()

    def model(self, name: str) -> Model | None:
        """Return an installed model; None when there is none of that name."""
        return next((model for model in self.models if model.name == name), None)

    def update(self, model: Model | None) -> None:
        """Show the chosen model."""
        row = self._shown.index(model) if model in self._shown else -1
        self._ui.modelList.blockSignals(True)
        self._ui.modelList.setCurrentRow(row)
        self._ui.modelList.blockSignals(False)
        self._ui.cardLabel.text = cardHtml(model) if model is not None else ""
        self._ui.cardLabel.visible = self._ui.exportModelButton.enabled = model is not None
        self._ui.removeModelButton.enabled = model is not None and model.isMine

    @property
    def _shown(self) -> Sequence[Model]:
        chips = [name for name, chip in self._chips.items() if chip.checked]
        search = self._ui.modelSearch.text
        return [model for model in self.models if model.matches(search, chips)]

    def _showList(self) -> None:
        chosen = self._current()
        self._ui.modelList.blockSignals(True)
        self._ui.modelList.clear()
        for model in self._shown:
            self._ui.modelList.addItem(f"{model.title}\n{model.summary()}")
        rows = min(max(1, len(self._shown)), _MAX_ROWS)
        height = rows * 2 * self._ui.modelList.fontMetrics().lineSpacing() + _ROW_MARGINS * rows
        self._ui.modelList.setFixedHeight(int(height + 2 * self._ui.modelList.frameWidth))
        self._ui.modelList.blockSignals(False)
        self.update(chosen)

    def _current(self) -> Model | None:
        return self.model(self._ui.modelSelector.currentData or "")

    @guarded
    def _onFilter(self, *_arguments: Any) -> None:
        self._showList()

    @guarded
    def _onRowChosen(self, row: int, *_arguments: Any) -> None:
        if 0 <= row < len(self._shown):
            self._choose(self._shown[row].name)

    def _importMenu(self) -> Any:
        menu = qt.QMenu(self._ui.importModelButton)
        menu.addAction(_("From a file…")).triggered.connect(self._onImportFile)
        menu.addAction(_("From a folder…")).triggered.connect(self._onImportFolder)
        return menu

    @guarded
    def _onImportFile(self, *_arguments: Any) -> None:
        button, kinds = self._ui.importModelButton, _("Models (*.zip)")
        self._import(qt.QFileDialog.getOpenFileName(button, _("Import a model"), "", kinds))

    @guarded
    def _onImportFolder(self, *_arguments: Any) -> None:
        button = self._ui.importModelButton
        self._import(qt.QFileDialog.getExistingDirectory(button, _("Import a model"), ""))

    def _import(self, path: str) -> None:
        if not path:
            return
        with slicer.util.WaitCursor():
            bundle = store.import_model(Path(path))
        self._readAgain()
        self._choose(bundle.manifest.name)

    @guarded
    def _onExport(self, *_arguments: Any) -> None:
        name = self._current().name
        path = qt.QFileDialog.getSaveFileName(
            self._ui.exportModelButton, _("Export a model"), f"{name}.zip", _("Models (*.zip)")
        )
        if path:
            with slicer.util.WaitCursor():
                store.export_model(name, Path(path), overwrite=True)  # the dialog has asked

    @guarded
    def _onRemove(self, *_arguments: Any) -> None:
        model = self._current()
        question = _("Delete the model {model} from this computer?").format(model=model.title)
        if slicer.util.confirmYesNoDisplay(question):
            store.remove_model(model.name)
            self._readAgain()

    def _readAgain(self) -> None:
        self.read()
        self.changed()
