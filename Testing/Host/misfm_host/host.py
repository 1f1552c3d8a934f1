"""Start the stand-in application and drive it."""

from __future__ import annotations

import ctypes
import locale
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtTest, QtWidgets

from .process import INTERPRETER
from .pythonqt import connections, runtime
from .pythonqt.classes import wrap
from .shell.application import Options

_DEFERRED_DELETE = QtCore.QEvent.Type.DeferredDelete.value


class Host:
    """The running application; there is one per process."""

    def __init__(self, options: Options):
        from . import namespace
        from .shell.application import Parts, qSlicerApplication
        from .shell.files import qSlicerCoreIOManager
        from .shell.layout import qSlicerLayoutManager
        from .shell.main_window import qSlicerMainWindow
        from .shell.modules import qSlicerModuleManager
        from .shell.scene import Scene

        runtime.watch_observers()
        self.options = options
        QtCore.qInstallMessageHandler(_print_qt_message)
        self.app = qSlicerApplication(options, _slicer_version())
        locale.setlocale(locale.LC_NUMERIC, "C")  # Qt has set the user's
        os.environ["SLICER_HOME"] = str(options.home)
        share = options.home / self.app.slicerSharePath
        self.scene = Scene(options.home, share, Path(self.app.temporaryPath))
        namespace.install_modules()
        namespace.install_application(self.app, self.scene.node)
        self.modules = qSlicerModuleManager(self.scene)
        self.window = qSlicerMainWindow(self.modules)
        self.app._parts = Parts(
            scene=self.scene,
            modules=self.modules,
            layout=qSlicerLayoutManager(self.scene, self.window.viewport()),
            files=qSlicerCoreIOManager(self.scene),
            leave=self._leave,
        )
        self.failures = runtime.failures
        self.dialogs = runtime.dialogs
        self._has_left = False
        if options.main_window:
            self.window.show()
        self.app.startupCompleted.emit()

    def load_module(self, path: Path | str) -> Any:
        """Load a scripted module by the path of its file; return `slicer.modules.<name>`."""
        path = Path(path).resolve()
        module = self.modules.module(path.stem)
        if module is None:
            known = len(connections.targets(self.app, "startupCompleted()"))
            module = self.modules._load(path)
            # Real Slicer has loaded its modules before it says so.
            for target in connections.targets(self.app, "startupCompleted()")[known:]:
                runtime.call_slot(target)
        return wrap(module)

    def select_module(self, name: str) -> Any:
        """Show a module's panel; return its Python widget."""
        import slicer

        self.window.moduleSelector().selectModule(name)
        return slicer.util.getModuleWidget(name)

    def process_events(self, seconds: float = 0.0) -> None:
        """Let Qt work for a while."""
        end = time.monotonic() + seconds
        while True:
            self.app.processEvents()
            # What an event loop does between events, but processEvents does not.
            QtCore.QCoreApplication.sendPostedEvents(None, _DEFERRED_DELETE)
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Let Qt work until a condition holds.

        Raises:
            TimeoutError: It did not hold in time.
        """
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"The condition did not hold within {timeout_s} s.")
            self.process_events(0.005)

    def click(self, widget: Any) -> None:
        """Press and release the left mouse button in the middle of a widget."""
        raw: QtWidgets.QWidget = getattr(widget, "_raw", widget)
        QtTest.QTest.mouseClick(raw, QtCore.Qt.MouseButton.LeftButton)

    def screenshot(self, path: Path | str, widget: Any = None) -> Path:
        """Save a picture of a widget, or of the whole window."""
        self.process_events(0.05)
        raw: QtWidgets.QWidget = self.window if widget is None else getattr(widget, "_raw", widget)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not raw.grab().save(str(path)):
            raise OSError(f"The picture could not be written to {path}.")
        return path

    def clear(self) -> None:
        """Give the next test an empty scene, no dialogs and no failures."""
        self.scene.node.Clear(False)
        self.process_events()
        self.dialogs.reset()
        self.failures.take()

    @contextmanager
    def headless(self) -> Iterator[None]:
        """Behave as `--no-main-window`: no window, no layout manager."""
        command_options = self.app.commandOptions()
        command_options.noMainWindow = True
        self.window.hide()
        try:
            yield
        finally:
            command_options.noMainWindow = False
            self.window.show()

    @contextmanager
    def testing(self) -> Iterator[None]:
        """Behave as `--testing`: `slicer.util` answers its dialogs itself."""
        command_options = self.app.commandOptions()
        before, command_options.testingEnabled = command_options.testingEnabled, True
        try:
            yield
        finally:
            command_options.testingEnabled = before

    @contextmanager
    def language(self, name: str, catalogue: Path) -> Iterator[None]:
        """Speak a language such as "zh_CN", with the texts of a compiled catalogue (.qm)."""
        self.app.applicationLocaleName = name
        self.app.loadTranslations(str(catalogue.parent))
        try:
            yield
        finally:
            self.app.applicationLocaleName = "en_US"
            for translator in self.app.findChildren(QtCore.QTranslator):
                self.app.removeTranslator(translator)
                translator.deleteLater()

    @contextmanager
    def python_slicer(self) -> Iterator[Path]:
        """Put a `PythonSlicer` on PATH, as Slicer's launcher does."""
        folder = self.options.home / "bin"
        folder.mkdir(exist_ok=True)
        launcher = folder / "PythonSlicer"
        launcher.write_text(f'#!/bin/sh\nexec "{INTERPRETER}" "$@"\n')
        launcher.chmod(0o755)
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
        try:
            yield launcher
        finally:
            os.environ["PATH"] = before

    @staticmethod
    def command(
        *arguments: str, home: Path, modules: tuple[Path, ...] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment of another host."""
        run = str(Path(__file__).resolve().parents[1] / "run.py")
        command = [INTERPRETER, run, f"--home={home}", *map(str, modules), *arguments]
        return command, {**os.environ, "QT_QPA_PLATFORM": "offscreen"}

    def stop(self) -> None:
        """Leave as the user does by closing the window: exit, cleanup, aboutToQuit."""
        self.app.exit(0)

    def _leave(self) -> None:
        if self._has_left:
            return
        self._has_left = True
        self.window._panel.setModule("")
        self.modules._unload()


def start(home: Path, *, main_window: bool = True, testing: bool = False) -> Host:
    """Start the application; everything it writes goes below `home`."""
    if "QT_QPA_PLATFORM" not in os.environ and not os.environ.get("DISPLAY"):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    _keep_constants()
    QtCore.QCoreApplication.setAttribute(QtCore.Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    return Host(Options(home, main_window, testing))


def _keep_constants() -> None:
    """Give None, True and False references to lose, as PySide6 6.12 does with every signal.

    From Python 3.12 on they are immortal; before, Python ends when the last reference is gone.
    """
    if sys.version_info < (3, 12):
        for value in (None, True, False):
            ctypes.c_ssize_t.from_address(id(value)).value += 1 << 40


def _print_qt_message(_kind: Any, _context: Any, text: str) -> None:
    if "propagateSizeHints" not in text:  # the offscreen platform says so for every window
        sys.stderr.write(text + "\n")


def _slicer_version() -> tuple[int, int, str]:
    """Return major, minor and revision of the wheel, such as (5, 13, "31053")."""
    major, minor, revision = version("slicer-core").split(".")[:3]
    return int(major), int(minor), revision
