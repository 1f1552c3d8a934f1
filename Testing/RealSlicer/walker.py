"""The panel as a user has it, for walks in a real Slicer or its stand-in: mouse, menus, pictures.

A walk is a file that Slicer runs by ``--python-script``, or a plain Python in the stand-in; it ends
with ``run(main)``.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "Host"), str(REPOSITORY / "MISFM")]
try:
    import slicer

    IN_SLICER = hasattr(slicer, "modules")
except ImportError:  # a plain Python, which becomes the stand-in
    IN_SLICER = False

_LONG_S = 1800.0
_SIZE = (1280, 860)


class Walker:
    """The panel, the mouse, and how often it was clicked."""

    def __init__(self, host: Any, pictures: Path | None) -> None:
        self.host, self.pictures = host, pictures
        self.widget = host.select_module("MISFM")
        self.tab = self.widget.finetuneTab
        self.ui = self.tab._ui
        self.began = time.monotonic()
        self.clicks: list[str] = []
        self.rows: list[tuple[str, int, float]] = []

    def click(self, widget: Any, what: str) -> None:
        """Click a widget that a user could click."""
        self.wait(lambda: widget.visible and widget.enabled)
        self.host.click(widget)
        self.clicks.append(what)

    def choose(self, menu: Any, text: str) -> None:
        """Open the menu of a button and choose in it."""
        self.clicks += ["open the menu", text]
        menu.aboutToShow.emit()
        (action,) = [each for each in menu.actions() if each.text == text]
        action.trigger()

    def set_minutes(self, minutes: float) -> None:
        """Drag the slider."""
        self.ui.minutesSlider.value = minutes
        self.clicks.append("Minutes")

    def open_folder(self, button: Any, folder: Path) -> None:
        """Click a button and choose a folder in the dialog that opens."""
        self.host.dialogs.answer(str(folder))
        self.click(button, "Open")
        self.clicks.append("choose the folder")

    def show_tab(self, index: int) -> None:
        """Click the title of a tab."""
        self.widget.ui.tabs.setCurrentIndex(index)
        self.clicks.append("tab")

    def expand(self, section: Any) -> None:
        """Click the title of a section, if it is closed."""
        if section.collapsed:
            section.collapsed = False
            self.clicks.append("section")

    def wait(self, condition: Callable[[], Any]) -> None:
        """Let Slicer work until a condition holds."""
        self.host.wait_until(condition, _LONG_S)

    def reached(self, what: str) -> None:
        """Note a step that is done, and take its picture."""
        self.host.process_events(0.5)
        self.rows.append((what, len(self.clicks), time.monotonic() - self.began))
        print(f"{what}: {len(self.clicks)} clicks, {self.rows[-1][2]:.0f} s", flush=True)

    def picture(self, name: str, widget: Any = None) -> None:
        """Take a picture of the window, or of a part of it."""
        if self.pictures is not None:
            self.host.process_events(1.0)
            self.host.screenshot(self.pictures / f"{name}.png", widget)


def host_of(home: Path) -> Any:
    """Return the application: the Slicer that this runs in, or a stand-in with its files here."""
    if IN_SLICER:
        from real_slicer.host import SlicerHost

        window = slicer.util.mainWindow()
        window.resize(*_SIZE)
        return SlicerHost()
    from misfm_host.host import start

    host = start(home / "host")
    host.load_module(REPOSITORY / "MISFM" / "MISFM.py")
    return host


def run(main: Callable[[], int]) -> None:
    """Run a walk to its exit code: when Slicer is up, or at once in the stand-in."""
    if not IN_SLICER:
        sys.exit(main())
    import qt

    def walk() -> None:
        code = 1
        try:
            code = main()
        except BaseException:
            traceback.print_exc()
        slicer.util.exit(code)

    qt.QTimer.singleShot(0, walk)
