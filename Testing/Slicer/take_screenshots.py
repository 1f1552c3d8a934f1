"""Take the pictures of the panel in Resources/Screenshots: every state, in the test host.

    MISFM_PYTHON=venv/bin/python venv-slicer/bin/python Testing/Slicer/take_screenshots.py FOLDER

MISFM_PYTHON is a Python with MISFMLib's dependencies: the results in the pictures are computed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Testing" / "Host"))

import numpy as np  # noqa: E402
from misfm_host.host import Host, start  # noqa: E402 found through the line above
from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402

_SAMPLE = (
    "import sys; from pathlib import Path; from MISFMLib.data.phantom import draw_phantom; "
    "from MISFMLib.volumes.volume import write_volume; "
    "write_volume(draw_phantom(1)[0], Path(sys.argv[1]))"
)
_MARGIN = 8


class Photographer:
    """Drives the module and takes pictures of its panel."""

    def __init__(self, folder: Path, home: Path, options: argparse.Namespace) -> None:
        self.folder, self.home, self.width = folder, home, options.width
        self.suffix = f"-{options.width}" * (options.width != 400) + "-dark" * options.dark
        self.suffix += f"-{options.language}" if options.language else ""
        self.host: Host = start(home / "host")
        if options.dark:
            self.host.app.setPalette(dark_palette())
        if options.language:
            self.host.app.applicationLocaleName = options.language
        self.host.load_module(REPOSITORY / "MISFM" / "MISFM.py")
        self.widget: Any = self.host.select_module("MISFM")
        self.resize(1280)

    @property
    def ui(self) -> Any:
        return self.widget.ui

    def resize(self, window_width: int) -> None:
        """Give the panel its width."""
        window = self.host.window
        window.resize(window_width, 860)
        dock = window.findChild(QtWidgets.QDockWidget, "PanelDockWidget")
        window.resizeDocks([dock], [self.width + 2 * _MARGIN], QtCore.Qt.Orientation.Horizontal)
        self.host.process_events(0.2)

    def panel(self, name: str) -> None:
        """Take a picture of the panel without the empty space below it."""
        self.host.process_events(0.3)
        raw = self.widget.parent._raw
        page = self.ui.segmentTab._raw
        spacer = page.layout().itemAt(page.layout().count() - 1).geometry()
        bottom = page.mapTo(raw, spacer.topLeft()).y() + _MARGIN
        self._save(raw.grab(QtCore.QRect(0, 0, raw.width(), bottom)), name)

    def window(self, name: str) -> None:
        """Take a picture of the whole window."""
        self.host.process_events(0.5)
        self._save(self.host.window.grab(), name)

    def _save(self, pixmap: QtGui.QPixmap, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        image = pixmap.toImage().convertToFormat(QtGui.QImage.Format.Format_RGB888)
        pixels = np.frombuffer(image.bits(), np.uint8)
        pixels |= 3  # a quarter of the levels: nobody sees it, and the file is half as large
        path = self.folder / f"{name}{self.suffix}.png"
        if not image.save(str(path), "PNG", 0):  # the smallest file
            raise OSError(f"{path} could not be written.")

    def worker(self) -> int:
        """Return the process group of the worker."""
        return self.widget.logic._runner._worker._process.pid

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the application work until a condition holds."""
        self.host.wait_until(condition, 120)


def take_all(photographer: Photographer, sample: Path) -> None:
    """Walk through the states as a user does."""
    import slicer

    ui = photographer.ui
    photographer.panel("empty")
    volume = slicer.util.loadVolume(str(sample))
    volume.SetName("T1 hippocampus crop")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    photographer.panel("ready")
    ui.segmentButton.click()
    photographer.wait(lambda: ui.progressBar.value > 20)
    os.killpg(photographer.worker(), signal.SIGSTOP)  # it is too quick for a picture
    photographer.panel("running")
    os.killpg(photographer.worker(), signal.SIGCONT)
    photographer.wait(lambda: not photographer.widget.logic.jobs)
    photographer.panel("done")
    ui.show3DButton.checked = True
    photographer.window("window")
    take_refused(photographer)
    take_failed(photographer)
    take_unsure(photographer)
    take_sections(photographer)


def take_unsure(photographer: Photographer) -> None:
    """Where the model is unsure: the list, and the overlay in the slices."""
    ui = photographer.ui
    ui.uncertaintyBox.click()
    photographer.host.process_events(0.2)
    ui.segmentButton.click()
    photographer.wait(lambda: not photographer.widget.logic.jobs)
    ui.placesList.setCurrentRow(0)
    photographer.panel("where-to-look")
    ui.overlayButton.click()
    photographer.window("overlay")
    ui.uncertaintyBox.click()


def take_refused(photographer: Photographer) -> None:
    """A volume that does not suit the model, and one that is missing."""
    import slicer

    array = np.random.default_rng(1).normal(0, 300, (60, 128, 128)).clip(-1024).astype(np.int16)
    matrix = np.diag([-3.0, -3.0, 5.0, 1.0])
    slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name="CT abdomen")
    photographer.ui.volumeSelector.setCurrentNode(slicer.util.getNode("CT abdomen"))
    photographer.panel("warning")
    photographer.ui.volumeSelector.setCurrentNode(None)
    photographer.ui.regionSelector.setCurrentIndex(1)
    photographer.panel("refused")
    photographer.ui.regionSelector.setCurrentIndex(0)
    photographer.ui.volumeSelector.setCurrentNode(slicer.util.getNode("T1 hippocampus crop"))


def take_failed(photographer: Photographer) -> None:
    """A worker that the system ended."""
    photographer.host.process_events(0.2)
    photographer.ui.segmentButton.click()
    os.killpg(photographer.worker(), signal.SIGKILL)
    photographer.wait(lambda: not photographer.widget.logic.jobs)
    photographer.panel("failed")
    photographer.widget.segmentTab.choicesChanged()


def take_sections(photographer: Photographer) -> None:
    """What is one click away."""
    ui = photographer.ui
    photographer.widget.segmentTab._result.hide()
    ui.regionSelector.setCurrentIndex(1)
    ui.newRoiButton.click()
    ui.optionsSection.collapsed = False
    photographer.panel("options")
    ui.regionSelector.setCurrentIndex(0)
    ui.optionsSection.collapsed = True
    ui.modelsSection.collapsed = False
    photographer.panel("models")
    ui.modelList.setCurrentRow(ui.modelList.count - 1)
    photographer.panel("model-to-get")
    ui.modelsSection.collapsed = True
    ui.setupSection.collapsed = False
    ui.selfCheckButton.click()
    photographer.wait(lambda: ui.selfCheckButton.enabled)
    photographer.panel("set-up")
    ui.setupSection.collapsed = True


def dark_palette() -> QtGui.QPalette:
    """Return colours like those of Slicer's dark style."""
    role, group = QtGui.QPalette.ColorRole, QtGui.QPalette.ColorGroup
    colours = {
        role.Window: "#353535",
        role.WindowText: "#ffffff",
        role.Base: "#232323",
        role.AlternateBase: "#353535",
        role.ToolTipBase: "#353535",
        role.ToolTipText: "#ffffff",
        role.Text: "#ffffff",
        role.Button: "#353535",
        role.ButtonText: "#ffffff",
        role.Highlight: "#2a82da",
        role.HighlightedText: "#000000",
        role.PlaceholderText: "#9a9a9a",
    }
    palette = QtGui.QPalette()
    for name, colour in colours.items():
        palette.setColor(name, QtGui.QColor(colour))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(group.Disabled, name, QtGui.QColor("#7f7f7f"))
    return palette


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--language", help="such as zh_CN; a font for it has to be there")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="misfm-pictures-"))
    os.environ["MISFM_HOME"] = str(home / "models")
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    sample = home / "sample.nii.gz"
    subprocess.run([os.environ["MISFM_PYTHON"], "-c", _SAMPLE, str(sample)], check=True)
    photographer = Photographer(options.folder, home, options)
    take_all(photographer, sample)
    photographer.host.stop()


if __name__ == "__main__":
    main()
