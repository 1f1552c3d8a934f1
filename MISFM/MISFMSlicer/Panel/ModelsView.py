"""The section Models: find one and read its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from MISFMLib.models import store

from ..Guard import guarded
from ..Setup.Models import Model, cardHtml, segmentationModels
from .Lists import fitRows
from .Offers import Offer, offers

_MAX_ROWS = 4


class ModelsView:
    """Lists the installed models and, greyed, those that can be had.

    Choosing an installed one chooses it in the panel; of the others the card tells how to get them.
    """

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
        self.choose = choose
        self._offers: list[Offer] = []
        self._shown: list[Model | Offer] = []
        self._chosen: Model | None = None
        self._offer: Offer | None = None
        self._ui = ui
        self._chips = {"CT": ui.ctChip, "MR": ui.mrChip, "mine": ui.mineChip}
        ui.modelSearch.textChanged.connect(self._onFilter)
        for chip in self._chips.values():
            chip.toggled.connect(self._onFilter)
        ui.modelList.currentRowChanged.connect(self._onRowChosen)

    @property
    def current(self) -> Model | Offer | None:
        """What the card is about."""
        return self._offer or self._chosen

    def read(self) -> None:
        """Look which models are installed."""
        entries = store.list_models()
        self.models, self._offers = segmentationModels(entries), offers(entries)
        modalities = {model.modality for model in self.models}
        self._ui.ctChip.visible = self._ui.mrChip.visible = {"CT", "MR"} <= modalities
        self._ui.mineChip.visible = any(model.isMine for model in self.models)
        self._offer = self._offer if self._offer in self._offers else None
        self._showList()

    def model(self, name: str) -> Model | None:
        """Return an installed model; None when there is none of that name."""
        return next((model for model in self.models if model.name == name), None)

    def update(self, model: Model | None) -> None:
        """Show the chosen model, unless the user reads the card of one that can be had."""
        if model != self._chosen:
            self._chosen, self._offer = model, None
        self._showCurrent()

    def _showCurrent(self) -> None:
        ui, current = self._ui, self.current
        ui.modelList.blockSignals(True)
        ui.modelList.setCurrentRow(self._shown.index(current) if current in self._shown else -1)
        self._greyOffers()
        ui.modelList.blockSignals(False)
        ui.cardLabel.visible = current is not None
        isOffer = isinstance(current, Offer)
        if current is not None:
            ui.cardLabel.text = current.cardHtml() if isOffer else cardHtml(current)
        if self.models and not self._shown:
            ui.cardLabel.text = _("No model is found so: search for less, or import one.")
            ui.cardLabel.visible = True
        ui.exportModelButton.enabled = isinstance(current, Model)
        ui.removeModelButton.enabled = isinstance(current, Model) and current.isMine
        ui.downloadModelButton.visible = isOffer and current.canBeFetched

    def _greyOffers(self) -> None:
        """Show what is not here in grey: again and again, since the user may change the style."""
        palette = self._ui.modelList.palette  # PythonQt's colour is a part of it and goes with it
        brush = qt.QBrush(palette.color(qt.QPalette.PlaceholderText))
        for row, each in enumerate(self._shown):
            if isinstance(each, Offer):
                self._ui.modelList.item(row).setForeground(brush)

    def _filtered(self) -> Sequence[Model | Offer]:
        chips = [name for name, chip in self._chips.items() if chip.checked]
        search = self._ui.modelSearch.text
        found: list[Model | Offer] = [each for each in self.models if each.matches(search, chips)]
        # Of the others neither modality nor organ is known before they are here.
        return found if chips else found + [each for each in self._offers if each.matches(search)]

    def _showList(self) -> None:
        modelList = self._ui.modelList
        self._shown = list(self._filtered())
        modelList.blockSignals(True)
        modelList.clear()
        for each in self._shown:
            modelList.addItem(f"{each.title}\n{each.summary()}")
        fitRows(modelList, _MAX_ROWS)
        modelList.blockSignals(False)
        self._showCurrent()

    @guarded
    def _onFilter(self, *_arguments: Any) -> None:
        self._showList()

    @guarded
    def _onRowChosen(self, row: int, *_arguments: Any) -> None:
        if not 0 <= row < len(self._shown):
            return
        each = self._shown[row]
        self._offer = each if isinstance(each, Offer) else None
        if isinstance(each, Model):
            self._chosen = each
            self.choose(each.name)
        self._showCurrent()
