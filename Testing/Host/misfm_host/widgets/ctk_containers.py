"""CTK: widgets that hold others, and dialogs."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .properties import stored, with_setters

_HIDDEN_BY_COLLAPSE = "misfmHostHiddenByCollapse"


def _show_children(widget: QtWidgets.QWidget, visible: bool) -> None:
    """Hide the children, or show those again that were hidden here."""
    for child in widget.findChildren(
        QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly
    ):
        if visible and child.property(_HIDDEN_BY_COLLAPSE):
            child.setProperty(_HIDDEN_BY_COLLAPSE, None)
            child.show()
        elif not visible and not child.isHidden():
            child.setProperty(_HIDDEN_BY_COLLAPSE, True)
            child.hide()


@with_setters
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that folds the widgets below it."""

    contentsCollapsed = QtCore.Signal(bool)
    collapsed = stored(bool, False, "_fold")
    collapsedHeight = stored(int, 10)
    flat = stored(bool, False)
    contentsFrameShape = stored(int, 0)
    contentsFrameShadow = stored(int, 0)
    contentsLineWidth = stored(int, 0)
    contentsMidLineWidth = stored(int, 0)
    buttonTextAlignment = stored(int, 0)
    indicatorAlignment = stored(int, 0)

    def __init__(self, *arguments: Any):
        text, parent = "", None
        for argument in arguments:
            if isinstance(argument, str):
                text = argument
            else:
                parent = argument
        super().__init__(parent)
        self.setText(text)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred
        )
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.clicked.connect(self._toggle)

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 10

    def _toggle(self) -> None:
        self.collapsed = not self.collapsed

    def _fold(self) -> None:
        _show_children(self, not self.collapsed)
        self.setMaximumHeight(self._header_height() if self.collapsed else 16777215)
        self.updateGeometry()
        self.contentsCollapsed.emit(self.collapsed)

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        if self.collapsed and event.type() == QtCore.QEvent.Type.ChildPolished:
            _show_children(self, False)

    def minimumSizeHint(self) -> QtCore.QSize:
        width = self.fontMetrics().horizontalAdvance(self.text()) + 40
        hint = QtCore.QSize(width, self._header_height())
        layout = self.layout()
        if layout is None or self.collapsed:
            return hint
        return layout.totalMinimumSize().expandedTo(hint)

    def sizeHint(self) -> QtCore.QSize:
        layout = self.layout()
        if layout is None or self.collapsed:
            return self.minimumSizeHint()
        return layout.totalSizeHint().expandedTo(self.minimumSizeHint())

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < self._header_height()

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        header = QtWidgets.QStyleOptionButton()
        header.initFrom(self)
        header.rect = QtCore.QRect(0, 0, self.width(), self._header_height())
        header.state |= QtWidgets.QStyle.StateFlag.State_Raised
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, header)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, (self._header_height() - 8) // 2, 8, 8)
        element = QtWidgets.QStyle.PrimitiveElement
        painter.drawPrimitive(
            element.PE_IndicatorArrowRight if self.collapsed else element.PE_IndicatorArrowDown,
            arrow,
        )
        self.style().drawItemText(
            painter,
            header.rect.adjusted(24, 0, 0, 0),
            int(QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.TextFlag.TextShowMnemonic),
            self.palette(),
            self.isEnabled(),
            self.text(),
            self.foregroundRole(),
        )


@with_setters
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that folds."""

    collapsed = stored(bool, False, "_fold")
    collapsedHeight = stored(int, 14)

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(lambda checked: setattr(self, "collapsed", not checked))

    def _fold(self) -> None:
        self.setChecked(not self.collapsed)
        _show_children(self, not self.collapsed)


class ctkSettingsDialog(QtWidgets.QDialog):
    """The application settings; the host has none to show."""

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("ctkSettingsDialog")


@with_setters
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box with "don't show again"."""

    dontShowAgain = stored(bool, False)
    dontShowAgainVisible = stored(bool, False)
    dontShowAgainSettingsKey = stored(str, "")


@with_setters
class ctkErrorLogModel(QtCore.QObject):
    """The list of messages behind Slicer's error log; the host logs to the console."""

    filePath = stored(str, "")
