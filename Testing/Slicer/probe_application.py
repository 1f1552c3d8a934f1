"""Questions about the process, dialogs, plain Qt and Python itself (see probe.py)."""

import asyncio
import faulthandler
import locale
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import warnings

import ctk
import numpy
import qt
import slicer


def ask_about_start(fact):
    app = slicer.app
    fact("sys.executable", lambda: sys.executable)
    fact("sys.argv", lambda: sys.argv)
    fact("shutil.which PythonSlicer", lambda: shutil.which("PythonSlicer"))
    fact("slicer.app.slicerHome", lambda: app.slicerHome)
    fact("slicer.app.temporaryPath", lambda: app.temporaryPath)
    fact("cachePath", lambda: app.cachePath)
    fact("slicer.app.testingEnabled()", lambda: app.testingEnabled())
    fact("slicer.app.majorVersion", lambda: app.majorVersion)
    fact("slicer.app.os", lambda: app.os)
    fact("slicer.app.platform", lambda: app.platform)
    no_window = "slicer.app.commandOptions().noMainWindow"
    fact(no_window, lambda: app.commandOptions().noMainWindow)
    fact("__file__ main", lambda: sys.modules["__main__"].__file__)
    has = lambda name: hasattr(sys.stdout, name)  # noqa: E731
    fact("sys.stdout", lambda: (sys.stdout, has("fileno"), has("encoding"), has("flush")))
    fact("sys.stdin", lambda: sys.stdin)
    set_handler = lambda: signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # noqa: E731
    fact("signal handler in main thread", lambda: set_handler() is not None)


def ask(fact, panel):
    import probe_processes
    import probe_scene

    fact("runTest", lambda: slicer.selfTests["ProbeMod"]())
    fact("dialogs: infoDisplay in testing?", lambda: slicer.app.testingEnabled())
    fact("tempDirectory", lambda: slicer.util.tempDirectory())
    _ask_values(fact)
    _ask_subclasses(fact)
    _ask_inputs(fact, panel.ui)
    _ask_dialogs(fact)
    _ask_tree(fact, panel)
    for name in ("pn.connectGui(ui)", "slider follows", "set sel", "pn.inputVolume"):
        fact.not_asked(name)
    fact.not_asked("pn.thr after slider")
    probe_scene.ask_again(fact)
    probe_processes.ask_again(fact, slicer.util.tempDirectory())
    _ask_window(fact)
    _ask_python(fact)


def _ask_values(fact):
    fact("QByteArray(b).data()", lambda: qt.QByteArray(b"a").data())
    fact("QColor.name()", lambda: qt.QColor(1, 2, 3).name())
    fact("QColor.red()", lambda: qt.QColor(1, 2, 3).red())
    fact("QSize.width()", lambda: qt.QSize(3, 4).width())
    fact("QDir.tempPath", lambda: qt.QDir.tempPath())
    home = qt.QStandardPaths.HomeLocation
    fact("QStandardPaths", lambda: qt.QStandardPaths.writableLocation(home))
    fact("QFileInfo", lambda: qt.QFileInfo("/tmp/a.txt").suffix())
    fact("qt.QApplication.instance()", lambda: qt.QApplication.instance())
    fact("qt.QCoreApplication.processEvents", lambda: qt.QCoreApplication.processEvents())
    fact("QDesktopServices", lambda: qt.QDesktopServices)
    fact("QUrl", lambda: qt.QUrl.fromLocalFile("/tmp/a").toLocalFile())
    fact("QElapsedTimer", lambda: qt.QElapsedTimer())
    fact("QThread", lambda: qt.QThread)
    fact("QNetworkAccessManager", lambda: qt.QNetworkAccessManager)


def _ask_subclasses(fact):
    plain = type("MyW", (qt.QWidget,), {})
    fact("subclass QWidget", lambda: plain())
    events = []

    class MyW(qt.QLabel):
        def event(self, event):
            events.append(int(event.type()))
            return super().event(event)

    widget = MyW()
    widget.show()
    slicer.app.processEvents()
    assert events, "an overridden virtual method was not called"
    fact("subclass w/ event override", lambda: widget)
    fact("QFont.bold()", lambda: qt.QFont().bold())
    d = qt.QDialog()
    d.objectName = "d"
    deleted = lambda: (d.deleteLater(), slicer.app.processEvents(), d.objectName)  # noqa: E731
    fact("isdeleted wrapper", deleted)


def _ask_inputs(fact, ui):
    spin, combo, k = qt.QSpinBox(), qt.QComboBox(), qt.QCheckBox()
    nothing = lambda *arguments: None  # noqa: E731
    fact("spin.valueChanged.connect", lambda: spin.valueChanged.connect(nothing))
    for text in ("valueChanged(int)", "valueChanged(QString)"):
        fact(f"connect {text}", lambda text=text: spin.connect(text, nothing))
    fact("activated.connect", lambda: combo.activated.connect(nothing))
    k.setChecked(True)
    fact("k.checked", lambda: k.checked)
    fact("k.isChecked()", lambda: k.isChecked())
    fact("k.checkState()", lambda: k.checkState())
    fact("k.checkState", lambda: k.checkState)
    fact("k.setChecked(False)", lambda: k.setChecked(False))
    le, lw = qt.QLineEdit("q"), qt.QListWidget()
    fact("le.text", lambda: le.text)
    fact("le.setPlaceholderText", lambda: le.setPlaceholderText("p"))
    lw.addItems(["a", "b"])
    fact("lw.count", lambda: lw.count)
    fact("lw.item(0).text()", lambda: lw.item(0).text())
    fact("lw.currentRow", lambda: lw.currentRow)
    fact("lw.currentItem()", lambda: lw.currentItem())
    fact("lw.selectedItems()", lambda: lw.selectedItems())
    several = qt.QAbstractItemView.ExtendedSelection
    fact("lw.setSelectionMode", lambda: lw.setSelectionMode(several))
    checkable = ui.checkable
    checkable.addItem("one")
    fact("checkable.checkedIndexes()", lambda: checkable.checkedIndexes())
    first = checkable.model().index(0, 0)
    check = lambda: checkable.setCheckState(first, qt.Qt.Checked)  # noqa: E731
    fact("checkable.setCheckState", check)
    fact("allChecked", lambda: checkable.allChecked)
    got = []

    class O(qt.QObject):  # noqa: E742
        sig = qt.Signal(object)

    emitter = O()
    fact("qt.Signal subclass", lambda: emitter)
    emitter.sig.connect(lambda *arguments: got.append(arguments))
    fact("emit", lambda: (emitter.sig.emit({"a": 1}), got)[1])


def _close_dialog():
    dialog = qt.QApplication.activeModalWidget()
    if dialog:
        dialog.reject()


def _ask_dialogs(fact):
    def while_closing(function, *arguments):
        for delay in (100, 300, 600):
            qt.QTimer.singleShot(delay, _close_dialog)
        return function(*arguments)

    d = qt.QDialog()
    qt.QTimer.singleShot(50, d.accept)
    fact("QDialog.exec_", lambda: (d.exec_(), d.result))
    fact("QDialog.exec", lambda: hasattr(qt.QDialog, "exec"))
    fact("QDialog.Accepted", lambda: qt.QDialog.Accepted)
    util = slicer.util
    fact("slicer.util.infoDisplay", lambda: while_closing(util.infoDisplay, "i"))
    fact("errorDisplay", lambda: while_closing(util.errorDisplay, "e"))
    ok_cancel = util.confirmOkCancelDisplay
    fact("confirmOkCancelDisplay", lambda: while_closing(ok_cancel, "q"))
    fact("confirmYesNoDisplay", lambda: while_closing(util.confirmYesNoDisplay, "q"))
    fact("delayDisplay", lambda: util.delayDisplay("d", 500))
    fact("showStatusMessage", lambda: util.showStatusMessage("m"))
    cursor = lambda: slicer.app.setOverrideCursor(qt.Qt.WaitCursor)  # noqa: E731
    fact("WaitCursor", cursor)
    fact("restore", lambda: slicer.app.restoreOverrideCursor())

    def fail():
        with util.tryWithErrorDisplay("m", show=False):
            raise RuntimeError("x")

    fact("tryWithErrorDisplay(show=False)", fail)
    progress = util.createProgressDialog(value=3, autoClose=False)
    fact("createProgressDialog", lambda: (progress.wasCanceled, progress.value))
    progress.close()
    fact("ctkMessageBox", lambda: ctk.ctkMessageBox())
    fact("QFileDialog static", lambda: qt.QFileDialog.getOpenFileName)


def _ask_tree(fact, panel):
    vbox, w = qt.QVBoxLayout(), panel.uiWidget
    fact("vbox spacing", lambda: vbox.spacing())
    fact("vbox.spacing prop", lambda: vbox.spacing)
    fact("layout.count()", lambda: panel.layout.count())
    fact("layout.itemAt(0).widget()", lambda: panel.layout.itemAt(0).widget())
    fact("findChild by name", lambda: slicer.util.findChild(w, "applyButton"))
    children = lambda: slicer.util.findChildren(w, className="QLabel")  # noqa: E731
    fact("findChildren className", lambda: len(children()))
    fact("w.findChild(qt.QLabel,name)", lambda: w.findChild(qt.QLabel, "label"))
    fact("w.findChildren(qt.QPushButton)", lambda: len(w.findChildren(qt.QPushButton)))


def _ask_window(fact):
    fact("Clipboard", lambda: slicer.app.clipboard())
    fact("qt.QIcon(':/Icons/..')", lambda: qt.QIcon(":/Icons/Go.png").isNull())
    window = slicer.util.mainWindow()
    fact("w.setStyleSheet", lambda: window.findChild("QDockWidget", "PanelDockWidget"))
    fact("slicer.util.mainWindow().moduleSelector()", lambda: window.moduleSelector())
    fact("slicer.util.selectedModule()", lambda: slicer.util.selectedModule())
    fact("modulePanel", lambda: slicer.util.findChild(window, "ModulePanel"))
    fact("environ SLICER_HOME", lambda: os.environ.get("SLICER_HOME"))


def _ask_python(fact):
    fact("os.environ PYTHONHOME", lambda: os.environ.get("PYTHONHOME"))
    fact("sys.flags.no_user_site", lambda: sys.flags.no_user_site)
    fact("site imported", lambda: "site" in sys.modules)
    fact("sys.prefix", lambda: sys.prefix)
    encodings = lambda: (sys.getfilesystemencoding(), locale.getpreferredencoding())  # noqa: E731
    fact("isolation encoding", encodings)
    fact("LC_NUMERIC", lambda: locale.setlocale(locale.LC_NUMERIC))
    fact("asyncio running?", lambda: asyncio.new_event_loop())
    fact("multiprocessing start method", lambda: multiprocessing.get_start_method())
    fact("faulthandler", lambda: faulthandler.is_enabled())
    echo = lambda: subprocess.run(["echo", "x"], capture_output=True, text=True)  # noqa: E731
    fact("subprocess.Popen text", lambda: echo().stdout)
    fact.not_asked("input()")
    fact("numpy", lambda: numpy.__version__)
    fact("sys.stdout.flush", lambda: sys.stdout.flush())
    fact("sys.stdout.isatty", lambda: sys.stdout.isatty())
    fact("sys.stdout.write ret", lambda: sys.stdout.write("\n"))
    fact("sys.stderr.fileno", lambda: sys.stderr.fileno())
    fact("tqdm-like stderr encoding", lambda: sys.stderr.encoding)
    fact("sys.stdout.buffer", lambda: sys.stdout.buffer)
    fact("logging.info", lambda: logging.info("i"))
    fact("warnings.warn", lambda: warnings.warn("w", stacklevel=1))
