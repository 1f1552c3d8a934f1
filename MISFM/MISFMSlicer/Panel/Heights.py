"""A page as tall as its wrapped texts need."""

from __future__ import annotations

from typing import Any

import qt


class FullHeight(qt.QObject):
    """Keeps the minimum height of a page at what it needs for its width.

    Qt asks a scroll area, such as the one around Slicer's panels, only for the height with every
    text on one line, and else lets what is below a wrapped text slide over it.
    """

    def __init__(self, page: Any) -> None:
        """Watch a page with a layout."""
        qt.QObject.__init__(self, page)
        self._page = page
        self._timer = qt.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)  # later: a change amid a layout does not reach the scroll area
        self._timer.timeout.connect(self._fit)
        page.installEventFilter(self)

    def eventFilter(self, _watched: Any, event: Any) -> bool:
        """Look again whenever the page gets another width or other content."""
        if event.type() in (qt.QEvent.LayoutRequest, qt.QEvent.Resize):
            self._timer.start()
        return False

    def _fit(self) -> None:
        needed = self._page.layout().heightForWidth(self._page.width)
        if needed > 0 and needed != self._page.minimumHeight:
            self._page.setMinimumHeight(needed)
