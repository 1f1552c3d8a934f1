"""Drive the Slicer that this Python runs in, in the words of `misfm_host.host`."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qt
import slicer

from .dialogs import Dialogs

_DEFERRED_DELETE = 52  # QEvent::DeferredDelete


class Failures:
    """Exceptions that Slicer prints and swallows; a test that leaves one here has failed."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self._previous = sys.excepthook
        sys.excepthook = self._hook  # PythonQt and VTK hand over what left a slot or an observer

    def record(self, error: BaseException) -> None:
        """Keep and print an exception."""
        report = "".join(traceback.format_exception(error))
        self.reports.append(report)
        sys.stderr.write(report)

    def take(self) -> list[str]:
        """Return what was recorded and forget it: the test expected these errors."""
        reports, self.reports = self.reports, []
        return reports

    def _hook(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            self.record(error.with_traceback(trace))
        else:
            self._previous(kind, error, trace)


class SlicerHost:
    """The running application; there is one per process."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.dialogs = Dialogs(self.failures.record)

    def load_module(self, path: Path | str) -> Any:
        """Load a scripted module by the path of its file; return `slicer.modules.<name>`."""
        path = Path(path).resolve()
        if path.stem not in slicer.util.moduleNames():
            factory = slicer.app.moduleManager().factoryManager()
            factory.registerModule(qt.QFileInfo(str(path)))
            factory.loadModules([path.stem])
        return slicer.app.moduleManager().module(path.stem)

    def select_module(self, name: str) -> Any:
        """Show a module's panel; return its Python widget."""
        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    def process_events(self, seconds: float = 0.0) -> None:
        """Let Qt work for a while."""
        end = time.monotonic() + seconds
        while True:
            slicer.app.processEvents()
            # What an event loop does between events, but processEvents does not.
            qt.QCoreApplication.sendPostedEvents(None, _DEFERRED_DELETE)
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
        middle = qt.QPointF(widget.width / 2, widget.height / 2)
        left, none = qt.Qt.LeftButton, qt.Qt.NoButton
        for kind, held in (("MouseButtonPress", left), ("MouseButtonRelease", none)):
            event = qt.QMouseEvent(getattr(qt.QEvent, kind), middle, left, held, qt.Qt.NoModifier)
            qt.QApplication.sendEvent(widget, event)

    def screenshot(self, path: Path | str, widget: Any = None) -> Path:
        """Save a picture of a widget, or of the whole window."""
        self.process_events(0.05)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (widget or slicer.util.mainWindow()).grab().save(str(path)):
            raise OSError(f"The picture could not be written to {path}.")
        return path

    def clear(self) -> None:
        """Give the next test an empty scene, no dialogs and no failures."""
        slicer.mrmlScene.Clear(False)
        self.process_events()
        self.dialogs.reset()
        self.failures.take()

    @contextmanager
    def headless(self) -> Iterator[None]:
        """Behave as `--no-main-window`: no window, no layout manager, for all that asks Python."""
        app, main_window = slicer.app, slicer.util.mainWindow
        slicer.app = _WithoutWindow(app)
        slicer.util.mainWindow = lambda *_: None
        try:
            yield
        finally:
            slicer.app, slicer.util.mainWindow = app, main_window

    @contextmanager
    def testing(self) -> Iterator[None]:
        """Behave as `--testing`: `slicer.util` answers its dialogs itself."""
        app = slicer.app
        slicer.app = _Testing(app)
        try:
            yield
        finally:
            slicer.app = app

    @staticmethod
    @contextmanager
    def language(_name: str, catalogue: Path) -> Iterator[None]:
        """Speak a language, with the texts of a compiled catalogue (.qm).

        Slicer reads its own setting at the start only; what it then does is this.
        """
        translator = qt.QTranslator()
        if not translator.load(str(catalogue)):
            raise OSError(f"{catalogue} could not be read.")
        qt.QCoreApplication.installTranslator(translator)
        try:
            yield
        finally:
            qt.QCoreApplication.removeTranslator(translator)

    @staticmethod
    def command(
        *arguments: str, home: Path, modules: tuple[Path, ...] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment of another Slicer, with a home of its own."""
        folders = [str(module.parent) for module in modules]
        command = [os.environ["MISFM_SLICER"], "--no-splash", *arguments]
        if folders:
            command[2:2] = ["--additional-module-paths", *folders]
        return command, {**os.environ, "SLICER_TEST_HOME": str(home)}

    def stop(self) -> None:
        """Slicer ends when pytest has."""


class _Changed:
    """`slicer.app`, some of it answered otherwise."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)


class _WithoutWindow(_Changed):
    def layoutManager(self) -> None:
        return None

    def mainWindow(self) -> None:
        return None


class _Testing(_Changed):
    def testingEnabled(self) -> bool:
        return True


def start(_home: Path) -> SlicerHost:
    """Return the host of the Slicer that runs."""
    return SlicerHost()
