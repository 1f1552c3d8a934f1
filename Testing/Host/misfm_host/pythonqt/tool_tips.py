"""Slicer's trapper of tool tips: a plain text that a widget gets becomes rich text."""

from __future__ import annotations

from PySide6.QtGui import Qt


def trapped(text: str) -> str:
    """Return what a widget's tool tip is afterwards; CTK makes it rich so that Qt breaks lines."""
    if not text or Qt.mightBeRichText(text):
        return text
    return Qt.convertFromPlainText(text, Qt.WhiteSpaceMode.WhiteSpaceNormal)
