"""Questions about widgets, properties, enums and signals (see probe.py)."""

import ctk
import qt
import slicer


def _set(owner, name, value):
    setattr(owner, name, value)


def _then(*values):
    return values[-1]


def ask(fact, ui):
    _ask_button(fact, ui.applyButton, ui)
    _ask_combo(fact, ui.combo)
    _ask_inputs(fact, ui)
    _ask_table(fact, ui.table)
    _ask_enums(fact)
    _ask_signals(fact, ui.applyButton)
    _ask_selector(fact, ui.inputSelector)


def _ask_button(fact, b, ui):
    for name in (
        *("inputSelector", "slider", "pathEdit", "combo", "checkable", "segSel", "segTable"),
        *("shTree", "applyButton", "progress", "log", "table", "inputsCollapsibleButton"),
    ):
        fact(f"ui.{name}", lambda name=name: getattr(ui, name))
    fact("b.text", lambda: b.text)
    fact("b.text()", lambda: b.text())
    fact("b.enabled", lambda: b.enabled)
    fact("b.isEnabled()", lambda: b.isEnabled())
    fact("b.visible", lambda: b.visible)
    fact("b.isVisible()", lambda: b.isVisible())
    fact("b.toolTip", lambda: b.toolTip)
    fact("b.objectName", lambda: b.objectName)
    fact("b.objectName()", lambda: b.objectName())
    fact("b.name", lambda: b.name)
    fact("b.text = x", lambda: _then(_set(b, "text", "x"), b.text))
    fact("b.setText", lambda: _then(b.setText("Apply"), b.text))
    fact("b.setEnabled(1)", lambda: b.setEnabled(1))
    fact("b.setEnabled(None)", lambda: b.setEnabled(None))
    current = ui.inputSelector.currentNode()
    fact("b.setEnabled(ui.inputSelector.currentNode())", lambda: b.setEnabled(current))
    fact("b.enabled = None", lambda: _set(b, "enabled", None))
    fact("b.enabled='a'", lambda: _set(b, "enabled", "a"))
    fact("b.setText(3)", lambda: b.setText(3))
    fact("b.toolTip=3", lambda: _set(b, "toolTip", 3))
    fact("b.width", lambda: b.width)
    fact("b.size", lambda: b.size)
    fact("b.size.width()", lambda: b.size.width())
    fact("b.geometry", lambda: b.geometry)
    fact("b.parent()", lambda: b.parent())
    fact("b.parentWidget()", lambda: b.parentWidget())
    fact("b.layout()", lambda: b.layout())
    fact("b.font", lambda: b.font)
    fact("b.styleSheet", lambda: b.styleSheet)
    fact("b.className()", lambda: b.className())
    fact("b.metaObject().className()", lambda: b.metaObject().className())
    fact("b.inherits", lambda: b.inherits("QWidget"))
    fact("isinstance QPushButton", lambda: isinstance(b, qt.QPushButton))
    fact("isinstance QWidget", lambda: isinstance(b, qt.QWidget))
    fact("b.newAttr=1", lambda: _set(b, "newAttr", 1))
    fact("b.setProperty", lambda: _then(b.setProperty("foo", 5), b.property("foo")))
    fact("b.foo dyn property", lambda: b.foo)
    fact("b.undefinedThing", lambda: b.undefinedThing)


def _ask_combo(fact, combo):
    thing = object()
    fact("combo.addItem", lambda: combo.addItem("a", {"k": 1}))
    fact("combo.addItems tuple", lambda: combo.addItems(("b", "c")))
    fact("combo.addItems list", lambda: combo.addItems(["d", "e"]))
    fact("combo.count", lambda: combo.count)
    fact("combo.count()", lambda: combo.count())
    fact("combo.currentText", lambda: combo.currentText)
    fact("combo.currentText()", lambda: combo.currentText())
    fact("combo.currentIndex", lambda: combo.currentIndex)
    fact("combo.currentData", lambda: combo.currentData)
    fact("combo.currentData()", lambda: combo.currentData())
    fact("combo.itemData(0)", lambda: combo.itemData(0))
    fact("combo.itemText(1)", lambda: combo.itemText(1))
    fact("combo.setCurrentIndex", lambda: combo.setCurrentIndex(2))
    fact("combo.currentIndex=0", lambda: _set(combo, "currentIndex", 0))
    choose = lambda: _set(combo, "currentText", "b")  # noqa: E731
    fact("combo.currentText='b'", lambda: _then(choose(), combo.currentIndex))
    fact("combo.findText('c')", lambda: combo.findText("c"))
    fact("combo.findData", lambda: combo.findData({"k": 1}))
    fact("combo.addItem userData obj", lambda: combo.addItem("obj", thing))
    fact("itemData obj", lambda: combo.itemData(5))
    fact("combo.clear()", lambda: combo.clear())


def _ask_inputs(fact, ui):
    slider, progress, path_edit = ui.slider, ui.progress, ui.pathEdit
    collapsible, log = ui.inputsCollapsibleButton, ui.log
    fact("slider.value", lambda: slider.value)
    fact("slider.value()", lambda: slider.value())
    fact("slider.maximum", lambda: slider.maximum)
    fact("progress.value", lambda: progress.value)
    fact("progress.setValue(3.7)", lambda: progress.setValue(3.7))
    fact("progress.setRange", lambda: progress.setRange(0, 0))
    fact("progress.maximum", lambda: progress.maximum)
    fact("progress.value = 2", lambda: _set(progress, "value", 2))
    fact("pathEdit.currentPath", lambda: path_edit.currentPath)
    fact(
        "pathEdit.currentPath=",
        lambda: _then(_set(path_edit, "currentPath", "/tmp/x"), path_edit.currentPath),
    )
    fact("pathEdit.filters", lambda: path_edit.filters)
    fact("ctk.ctkPathLineEdit.Files", lambda: ctk.ctkPathLineEdit.Files)
    both = lambda: ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable  # noqa: E731
    fact("ctk.ctkPathLineEdit.Dirs|..", both)
    fact("pathEdit.filters =", lambda: _set(path_edit, "filters", ctk.ctkPathLineEdit.Files))
    fact("pathEdit.addCurrentPathToHistory()", lambda: path_edit.addCurrentPathToHistory())
    fact("pathEdit.settingKey", lambda: path_edit.settingKey)
    fact("collapsible.collapsed", lambda: collapsible.collapsed)
    fact("collapsed=True", lambda: _set(collapsible, "collapsed", True))
    fact("collapsed=False", lambda: _set(collapsible, "collapsed", False))
    fact("log.plainText", lambda: log.plainText)
    fact("log.toPlainText()", lambda: log.toPlainText())
    fact("log.appendPlainText", lambda: log.appendPlainText("hé"))
    fact("log.plainText2", lambda: log.plainText)
    fact("log.verticalScrollBar()", lambda: log.verticalScrollBar())
    fact("log.readOnly", lambda: log.readOnly)
    fact("log.moveCursor", lambda: log.moveCursor(qt.QTextCursor.End))


def _ask_table(fact, table):
    fact("table.setRowCount", lambda: table.setRowCount(2))
    fact("table.rowCount", lambda: table.rowCount)
    fact("table.rowCount()", lambda: table.rowCount())
    fact("setColumnCount", lambda: table.setColumnCount(2))
    fact("setHorizontalHeaderLabels", lambda: table.setHorizontalHeaderLabels(["a", "b"]))
    item = qt.QTableWidgetItem("x")
    fact("setItem", lambda: table.setItem(0, 0, item))
    fact("item(0,0).text()", lambda: table.item(0, 0).text())
    fact("item.text", lambda: item.text)
    fact("item(1,1)", lambda: table.item(1, 1))
    fact("item.setCheckState", lambda: item.setCheckState(qt.Qt.Checked))
    fact("item.checkState()", lambda: item.checkState())
    fact("checkState == Checked", lambda: item.checkState() == qt.Qt.Checked)
    fact("item.flags", lambda: item.flags())
    fact("item.setFlags(int & ~)", lambda: item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable))
    fact("item.setForeground", lambda: item.setForeground(qt.QBrush(qt.QColor(255, 0, 0))))
    fact("selectedItems", lambda: table.selectedItems())
    stretch = qt.QHeaderView.Stretch
    header = "horizontalHeader().setSectionResizeMode"
    fact(header, lambda: table.horizontalHeader().setSectionResizeMode(stretch))
    check_box = qt.QCheckBox()
    fact("setCellWidget", lambda: table.setCellWidget(1, 0, check_box))
    fact("cellWidget", lambda: table.cellWidget(1, 0))
    rows = qt.QAbstractItemView.SelectRows
    fact("setSelectionBehavior", lambda: table.setSelectionBehavior(rows))


def _ask_enums(fact):
    fact("qt.Qt.AlignLeft|AlignTop", lambda: qt.Qt.AlignLeft | qt.Qt.AlignTop)
    fact("qt.Qt.AlignLeft", lambda: qt.Qt.AlignLeft)
    fact("int(...)", lambda: int(qt.Qt.AlignLeft))
    fact("QProcess.Running", lambda: qt.QProcess.Running)
    fact("QProcess.NormalExit", lambda: qt.QProcess.NormalExit)
    fact("str(enum)", lambda: str(qt.QProcess.Running))
    fact("qt.QMessageBox.Ok", lambda: qt.QMessageBox.Ok)
    policy = lambda: qt.QSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)  # noqa: E731
    fact("QSizePolicy", policy)
    fact("Qt.UserRole+1", lambda: qt.Qt.UserRole + 1)
    fact("scoped Qt.AlignmentFlag.AlignLeft", lambda: qt.Qt.AlignmentFlag.AlignLeft)
    fact("QProcess.ProcessState.Running", lambda: qt.QProcess.ProcessState.Running)
    fact("qt.Signal", lambda: qt.Signal)
    fact("qt.Slot", lambda: qt.Slot)


def _raising():
    raise RuntimeError("expected: an exception in a slot")


def _ask_signals(fact, b):
    calls = []

    def callback(*arguments):
        calls.append(arguments)

    b.setEnabled(True)
    fact("b.connect('clicked()',cb)", lambda: b.connect("clicked()", callback))
    fact("b.connect('clicked(bool)',cb)", lambda: b.connect("clicked(bool)", callback))
    fact("b.clicked.connect", lambda: b.clicked.connect(callback))
    fact("b.click()", lambda: b.click())
    assert sorted(calls) == [(), (False,), (False,)], calls
    fact("b.disconnect('clicked()',cb)", lambda: b.disconnect("clicked()", callback))
    fact("b.clicked.disconnect(cb)", lambda: b.clicked.disconnect(callback))
    fact("disconnect all", lambda: b.disconnect())
    fact("bad signal", lambda: b.connect("noSuchSignal()", callback))
    fact("lambda connect", lambda: b.clicked.connect(lambda: _raising()))
    fact("click with raising slot", lambda: b.click())
    fact("b.blockSignals", lambda: b.blockSignals(True))
    fact("b.blockSignals2", lambda: b.blockSignals(False))


def _ask_selector(fact, sel):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "vol1")
    sel.setCurrentNode(None)
    fact("sel.nodeTypes", lambda: sel.nodeTypes)
    fact("sel.currentNode()", lambda: sel.currentNode())
    fact("sel.currentNode", lambda: sel.currentNode)
    fact("sel.currentNodeID", lambda: sel.currentNodeID)
    fact("sel.currentNodeId", lambda: sel.currentNodeId)
    fact("sel.noneEnabled", lambda: sel.noneEnabled)
    fact("sel.noneDisplay", lambda: sel.noneDisplay)
    fact("sel.mrmlScene()", lambda: sel.mrmlScene() is slicer.mrmlScene)
    fact("sel.nodeCount()", lambda: sel.nodeCount())
    fact("sel.addEnabled", lambda: sel.addEnabled)
    fact("sel.enabled", lambda: sel.enabled)
    callback = lambda *arguments: None  # noqa: E731
    for text in (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
    ):
        fact(f"connect {text}", lambda text=text: sel.connect(text, callback))
    fact("sel.currentNodeChanged.connect", lambda: sel.currentNodeChanged.connect(callback))
    fact("sel.setCurrentNode(n)", lambda: sel.setCurrentNode(volume))
    fact("sel.setCurrentNode(None)", lambda: sel.setCurrentNode(None))
    choose = lambda: _set(sel, "currentNodeID", volume.GetID())  # noqa: E731
    fact("sel.currentNodeID=", lambda: _then(choose(), sel.currentNode().GetName()))
    fact("sel.setCurrentNodeID('')", lambda: sel.setCurrentNodeID(""))
    fact("sel.addNode()", lambda: sel.addNode())
    fact("sel.nodes?", lambda: sel.nodes)
    fact("sel.nodeFromIndex(0)", lambda: sel.nodeFromIndex(0))
    fact("sel.baseName", lambda: sel.baseName)
    fact("sel.renameEnabled", lambda: sel.renameEnabled)
    kind = "vtkMRMLScalarVolumeNode"
    fact("addAttribute", lambda: sel.addAttribute(kind, "wanted"))
    fact("removeAttribute", lambda: sel.removeAttribute(kind, "wanted"))


def ask_what_a_walk_through_showed(fact):
    """Ask what the first walk through a real Slicer showed (November 2026)."""
    button = qt.QPushButton("x")

    def tip(text):
        button.toolTip = text
        return button.toolTip

    fact("b.toolTip of a line", lambda: tip("plain"))
    fact("b.toolTip of two lines", lambda: tip("a\nb").replace("\n", "|"))
    fact("b.toolTip of signs", lambda: tip("a < b & c"))
    fact("b.toolTip that is rich", lambda: tip("<b>rich</b>"))
    policy = ctk.ctkCollapsibleButton().sizePolicy
    fact(
        "ctkCollapsibleButton.sizePolicy",
        lambda: (policy.horizontalPolicy(), policy.verticalPolicy()),
    )
