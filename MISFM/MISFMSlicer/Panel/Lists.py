"""Lists that are as high as what they show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def fillRows(listWidget: Any, texts: Iterable[str], most: int) -> None:
    """Show texts in a QListWidget, none of them chosen; nobody hears of it.

    Args:
        listWidget: The list.
        texts: A row each, whole in its tool tip.
        most: Rows to show without scrolling.
    """
    listWidget.blockSignals(True)
    listWidget.clear()
    for row, text in enumerate(texts):
        listWidget.addItem(text)
        listWidget.item(row).setToolTip(text)
    listWidget.setCurrentRow(-1)
    listWidget.blockSignals(False)
    fitRows(listWidget, most)


def fitRows(listWidget: Any, most: int) -> None:
    """Give a QListWidget the height of its rows.

    Args:
        listWidget: The list.
        most: Rows to show without scrolling.
    """
    height = sum(listWidget.sizeHintForRow(row) for row in range(min(listWidget.count, most)))
    height = max(height, listWidget.fontMetrics().lineSpacing())  # of an empty list
    listWidget.setFixedHeight(int(height + 2 * listWidget.frameWidth))
