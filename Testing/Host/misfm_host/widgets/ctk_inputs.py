"""CTK: widgets in which the user chooses a value."""

from __future__ import annotations

import enum
from typing import Any

from PySide6 import QtCore, QtWidgets

from .properties import stored, with_setters


@with_setters
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, with its history and a browse button."""

    class Filters(enum.IntFlag):
        """What may be chosen."""

        Dirs = 0x001
        Files = 0x002
        Drives = 0x004
        NoSymLinks = 0x008
        Readable = 0x010
        Writable = 0x020
        Executable = 0x040
        Hidden = 0x100
        System = 0x200
        NoDot = 0x2000
        NoDotDot = 0x4000

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    label = stored(str, "")
    filters = stored(int, Filters.Files)
    options = stored(int, 0)
    settingKey = stored(str, "")
    nameFilters = stored("QStringList", [])
    showBrowseButton = stored(bool, True, "_update_buttons")
    showHistoryButton = stored(bool, True)
    sizeAdjustPolicy = stored(int, 0)
    minimumContentsLength = stored(int, 0)

    def __init__(self, *arguments: Any):
        super().__init__(arguments[-1] if arguments else None)
        self._combo = QtWidgets.QComboBox()
        self._combo.setEditable(True)
        self._combo.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self._button = QtWidgets.QToolButton(text="...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        self._combo.editTextChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    def _read_path(self) -> str:
        return self._combo.currentText()

    def setCurrentPath(self, path: str) -> None:
        self._combo.setEditText(str(path))

    currentPath = QtCore.Property(str, _read_path, setCurrentPath, user=True)

    def _update_buttons(self) -> None:
        self._button.setVisible(self.showBrowseButton)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def addCurrentPathToHistory(self) -> None:
        """Remember the path in the list and in the settings."""
        if self.currentPath and self._combo.findText(self.currentPath) < 0:
            self._combo.addItem(self.currentPath)
        if self.settingKey:
            paths = [self._combo.itemText(index) for index in range(self._combo.count())]
            QtCore.QSettings().setValue(self.settingKey, paths)

    def retrieveHistory(self) -> None:
        """Fill the list from the settings."""
        self._combo.addItems(QtCore.QSettings().value(self.settingKey, []))

    def browse(self) -> None:
        """Let the user choose; PythonQt never sees this dialog, so tests set the path."""
        choose = (
            QtWidgets.QFileDialog.getExistingDirectory
            if self.filters & self.Filters.Dirs
            else QtWidgets.QFileDialog.getOpenFileName
        )
        chosen = choose(self, self.label, self.currentPath)
        chosen = chosen[0] if isinstance(chosen, tuple) else chosen
        if chosen:
            self.currentPath = chosen


@with_setters
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows and chooses a folder."""

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)
    caption = stored(str, "")
    text = stored(str, "")
    directory = stored(str, ".", "_show_directory")

    def __init__(self, *arguments: Any):
        super().__init__(arguments[-1] if arguments else None)
        self._button = QtWidgets.QPushButton(".")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(self.browse)

    def _show_directory(self) -> None:
        self._button.setText(self.directory)
        self.directoryChanged.emit(self.directory)

    def browse(self) -> None:
        """Let the user choose a folder."""
        chosen = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self.directory)
        if chosen:
            self.directory = chosen
            self.directorySelected.emit(chosen)


@with_setters
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a number beside it."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    value = stored(float, 0.0, "_value_changed")
    minimum = stored(float, 0.0, "_update")
    maximum = stored(float, 99.0, "_update")
    singleStep = stored(float, 1.0, "_update")
    pageStep = stored(float, 10.0)
    decimals = stored(int, 2, "_update")
    prefix = stored(str, "", "_update")
    suffix = stored(str, "", "_update")
    tickInterval = stored(float, 0.1)
    tracking = stored(bool, True)
    spinBoxVisible = stored(bool, True, "_update")
    popupSlider = stored(bool, False)
    invertedAppearance = stored(bool, False)
    invertedControls = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, 1000)
        self._spin_box = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin_box)
        self._slider.sliderMoved.connect(self._slider_moved)
        self._spin_box.valueChanged.connect(lambda value: setattr(self, "value", value))
        self._update()

    def setRange(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def reset(self) -> None:
        """Go back to 0, or to the nearest limit."""
        self.value = min(max(0.0, self.minimum), self.maximum)

    def _slider_moved(self, position: int) -> None:
        self.value = self.minimum + (self.maximum - self.minimum) * position / 1000

    def _value_changed(self) -> None:
        limited = min(max(self.value, self.minimum), self.maximum)
        if limited != self.value:
            self.value = limited
            return
        self._update()
        self.valueChanged.emit(self.value)

    def _update(self) -> None:
        box = self._spin_box
        with QtCore.QSignalBlocker(box):
            box.setDecimals(self.decimals)
            box.setRange(self.minimum, self.maximum)
            box.setSingleStep(self.singleStep)
            box.setPrefix(self.prefix)
            box.setSuffix(self.suffix)
            box.setVisible(self.spinBoxVisible)
            box.setValue(self.value)
        extent = self.maximum - self.minimum or 1.0
        self._slider.setValue(round(1000 * (self.value - self.minimum) / extent))


@with_setters
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    defaultText = stored(str, "")


class ctkCheckableComboBox(QtWidgets.QComboBox):
    """A combo box whose items have check boxes."""

    checkedIndexesChanged = QtCore.Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.model().dataChanged.connect(lambda *_: self.checkedIndexesChanged.emit())

    def checkableModel(self) -> QtCore.QAbstractItemModel:
        return self.model()

    def _indexes(self) -> list[QtCore.QModelIndex]:
        return [self.model().index(row, 0) for row in range(self.count())]

    def checkState(self, index: QtCore.QModelIndex) -> QtCore.Qt.CheckState:
        return QtCore.Qt.CheckState(index.data(QtCore.Qt.ItemDataRole.CheckStateRole) or 0)

    def setCheckState(self, index: QtCore.QModelIndex, state: int) -> None:
        """Check an item or not."""
        role = QtCore.Qt.ItemDataRole.CheckStateRole
        self.model().setData(index, QtCore.Qt.CheckState(state), role)

    def checkedIndexes(self) -> list[QtCore.QModelIndex]:
        checked = QtCore.Qt.CheckState.Checked
        return [index for index in self._indexes() if self.checkState(index) == checked]

    def allChecked(self) -> bool:
        return len(self.checkedIndexes()) == self.count()

    def noneChecked(self) -> bool:
        return not self.checkedIndexes()


@with_setters
class ctkSearchBox(QtWidgets.QLineEdit):
    """A search field."""

    showSearchIcon = stored(bool, False)

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self.setClearButtonEnabled(True)
        self.setPlaceholderText("Search...")


@with_setters
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text as high as its content."""

    collapsed = stored(bool, True)
    showDetailsText = stored(str, "Show details...")
    hideDetailsText = stored(str, "Hide details.")
    disableMouseScroll = stored(bool, False)

    def sizeHint(self) -> QtCore.QSize:
        height = int(self.document().size().height()) + 2 * self.frameWidth()
        return QtCore.QSize(super().sizeHint().width(), height)

    def setCollapsibleText(self, text: str) -> None:
        """Show a text that folds after its first line; the host does not fold it."""
        self.setText(text)
