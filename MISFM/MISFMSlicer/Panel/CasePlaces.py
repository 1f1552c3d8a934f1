"""Where to look first in the case that is corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

from ..Guard import guarded
from ..Scene.SliceViews import jumpTo
from .Lists import fillRows

_MAX_ROWS = 5
_BACKGROUND = "background"
"""How the library calls what has no label."""


class CasePlaces:
    """Lists the unsure places of a proposal; a click goes there."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._places: list[Sequence[float]] = []
        ui.casePlacesList.currentRowChanged.connect(self._onRowChosen)

    def show(self, report: Mapping[str, Any]) -> None:
        """Show the places of the library's report; nothing without."""
        places = report.get("where_to_look", ())
        self._places = [each["position_xyz"] for each in places]
        titles = []
        for number, each in enumerate(places, start=1):
            names = " / ".join(name for name in each["labels"] if name != _BACKGROUND)
            titles.append(_("{number}. {labels}").format(number=number, labels=names))
        fillRows(self._ui.casePlacesList, titles, _MAX_ROWS)
        self._ui.casePlacesBox.visible = bool(places)
        if places:
            jumpTo(_toRas(self._places[0]))

    def hide(self) -> None:
        """Show nothing."""
        self._places = []
        self._ui.casePlacesBox.visible = False

    @guarded
    def _onRowChosen(self, row: int, *_arguments: Any) -> None:
        if 0 <= row < len(self._places):
            jumpTo(_toRas(self._places[row]))


def _toRas(position: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = position  # LPS, as the library tells it; cases of a set have no transform
    return -x, -y, z
