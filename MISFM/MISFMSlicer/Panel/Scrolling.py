"""What is new in the panel is seen, wherever the user has scrolled it."""

from __future__ import annotations

from typing import Any

import qt

_LAID_OUT_MS = 100
"""After so long a widget that was just shown has its place."""


def bringIntoView(widget: Any) -> None:
    """Scroll to a widget soon; nothing where it is hidden by then, or nothing scrolls."""
    timer = qt.QTimer(widget)  # goes with the widget
    timer.setSingleShot(True)
    timer.setInterval(_LAID_OUT_MS)
    timer.timeout.connect(lambda: _scrollTo(widget))
    timer.timeout.connect(timer.deleteLater)
    timer.start()


def _scrollTo(widget: Any) -> None:
    area = widget.parent()
    while area is not None and not hasattr(area, "ensureWidgetVisible"):
        area = area.parent()
    if area is not None and widget.visible:
        area.ensureWidgetVisible(widget)
