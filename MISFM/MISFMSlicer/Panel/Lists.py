"""Lists that are as high as what they show."""

from __future__ import annotations

from typing import Any


def fitRows(listWidget: Any, most: int) -> None:
    """Give a QListWidget the height of its rows.

    Args:
        listWidget: The list.
        most: Rows to show without scrolling.
    """
    height = sum(listWidget.sizeHintForRow(row) for row in range(min(listWidget.count, most)))
    height = max(height, listWidget.fontMetrics().lineSpacing())  # of an empty list
    listWidget.setFixedHeight(int(height + 2 * listWidget.frameWidth))
