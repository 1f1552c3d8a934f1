"""What the loop has been worth: Dice of the proposals and minutes spent, case by case."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.annotation.case_table import CaseRow

from ..Guard import guarded
from ..Scene.PlotViews import Curves


class WorthView:
    """The button Show progress and its plot."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the button.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._curves = Curves(_("Corrections"), _("Case"), _("Dice and minutes"))
        ui.worthButton.clicked.connect(self._onClick)

    def show(self, rows: Sequence[CaseRow]) -> None:
        """Show these cases, as far as they were proposed and corrected."""
        rows = sorted((row for row in rows if row.dice is not None), key=lambda row: row.when)
        self._ui.worthButton.visible = bool(rows)
        columns = {
            _("Dice of the proposal"): [row.dice for row in rows],
            _("Minutes"): [math.nan if row.minutes is None else row.minutes for row in rows],
        }
        self._curves.update(columns, list(range(1, len(rows) + 1)))

    @guarded
    def _onClick(self, *_arguments: Any) -> None:
        self._curves.show()
