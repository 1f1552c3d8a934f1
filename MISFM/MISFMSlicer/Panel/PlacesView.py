"""The part of the result that tells where the model is unsure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..Guard import guarded
from ..Job import JobResult, Place
from ..Scene.SliceViews import Overlay, jumpTo
from .Lists import fillRows

_MAX_ROWS = 6
_BACKGROUND = "background"
"""How the library calls what has no label."""


class PlacesView:
    """Lists the places to look at first and lays the uncertainty over the image."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._places: tuple[Place, ...] = ()
        self._uncertainty: Any = None
        self._overlay = Overlay()
        ui.placesList.currentRowChanged.connect(self._onRowChosen)
        ui.overlayButton.toggled.connect(self._onOverlayToggled)

    def show(self, result: JobResult) -> None:
        """Show the places of a result; nothing when it has no uncertainty."""
        self.hide()
        self._places, self._uncertainty = result.places, result.uncertainty
        fillRows(self._ui.placesList, map(_title, self._places), _MAX_ROWS)
        self._ui.placesList.visible = bool(self._places)
        self._ui.placesLabel.text = _("Where to look") if self._places else _("No unsure place")
        self._ui.placesBox.visible = self._uncertainty is not None

    def hide(self) -> None:
        """Show nothing, and take the uncertainty away from the image."""
        self._ui.overlayButton.checked = False
        self._ui.placesBox.visible = False
        self._places, self._uncertainty = (), None

    def chooseNext(self) -> None:
        """Go to the next place, from the last to the first."""
        if self._places:
            row = self._ui.placesList.currentRow + 1
            self._ui.placesList.setCurrentRow(row % len(self._places))

    @guarded
    def _onRowChosen(self, row: int, *_arguments: Any) -> None:
        if 0 <= row < len(self._places):
            jumpTo(self._places[row].position)

    @guarded
    def _onOverlayToggled(self, isShown: bool, *_arguments: Any) -> None:
        node = self._uncertainty
        if isShown and node is not None and slicer.mrmlScene.IsNodePresent(node):
            self._overlay.show(node)
        else:
            self._overlay.hide()


def _title(place: Place) -> str:
    # That a label may also be none of them goes without saying.
    names = [name for name in place.labels if name != _BACKGROUND]
    right, anterior, superior = place.position
    where = ", ".join(
        f"{letters[value < 0]} {abs(value):.0f}"
        for letters, value in zip(("RL", "AP", "SI"), (right, anterior, superior), strict=True)
    )
    return _("{position} mm: {labels}").format(position=where, labels=" / ".join(names))
