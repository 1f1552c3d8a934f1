"""Take the pictures of the panel in Resources/Screenshots: every state, in the real Slicer.

    MISFM_PYTHON=venv/bin/python Slicer --no-splash --additional-module-paths MISFM \
        --python-script Testing/Slicer/take_screenshots.py -- FOLDER [--tabs [pretrain]] [--dark] \
        [--language zh_CN]

MISFM_PYTHON is a Python with MISFMLib's dependencies: the results in the pictures are computed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer

REPOSITORY = Path(slicer.modules.misfm.path).parents[1]  # a script has no __file__ in Slicer
sys.path.insert(0, str(REPOSITORY / "Testing" / "Host"))

from real_slicer.host import SlicerHost  # noqa: E402 found through the line above

_SAMPLE = (
    "import sys; from pathlib import Path; from MISFMLib.data.phantom import draw_phantom; "
    "from MISFMLib.volumes.volume import write_volume; "
    "write_volume(draw_phantom(1)[0], Path(sys.argv[1]))"
)
_MARGIN = 8


class Photographer:
    """Drives the module and takes pictures of its panel."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder, self.width = options.folder, options.width
        self.suffix = f"-{options.width}" * (options.width != 400) + "-dark" * options.dark
        self.suffix += f"-{options.language}" if options.language else ""
        self.host = SlicerHost()
        self.widget: Any = self.host.select_module("MISFM")
        self.resize()

    @property
    def ui(self) -> Any:
        return self.widget.ui

    def resize(self) -> None:
        """Give the panel its width, and the window one that leaves room for the views."""
        window = slicer.util.mainWindow()
        window.resize(1280, 860)
        dock = slicer.util.findChild(window, "PanelDockWidget")
        for _ in range(3):  # the scroll bar comes and goes
            self.host.process_events(0.3)
            frame = dock.width - self.widget.parent.width
            dock.setFixedWidth(self.width + frame)
        self.host.process_events(0.3)

    def panel(self, name: str) -> None:
        """Take a picture of the panel without the empty space below it."""
        self.host.process_events(0.3)
        panel, page = self.widget.parent, self.ui.tabs.currentWidget()
        self.wait(lambda: panel.height >= panel.minimumSizeHint.height())
        self.wait(lambda: page.height <= page.parent().height)
        bottom = self._bottom()
        self._save(panel.grab(qt.QRect(0, 0, panel.width, bottom)), name)

    def _bottom(self) -> int:
        """Return where the lowest of the sections ends, in the panel."""
        page, lowest = self.ui.tabs.currentWidget(), self.ui.setupSection
        if self.ui.tabs.currentIndex:
            parts = [each for each in page.children() if each.isWidgetType() and each.visible]
            lowest = max(parts, key=lambda each: each.y + each.height)
        return lowest.mapTo(self.widget.parent, qt.QPoint(0, lowest.height)).y() + _MARGIN

    def window(self, name: str) -> None:
        """Take a picture of the whole window."""
        slicer.util.forceRenderAllViews()
        self.host.process_events(0.5)
        self._save(slicer.util.mainWindow().grab(), name)

    def beside_segment_editor(self, name: str) -> None:
        """Take one picture of the panel and of Slicer's own Segment Editor."""
        own = self.widget.parent.grab()
        slicer.util.selectModule("SegmentEditor")
        self.host.process_events(0.5)
        other = slicer.modules.segmenteditor.widgetRepresentation().grab()
        slicer.util.selectModule("MISFM")
        self.host.process_events(0.3)
        both = qt.QPixmap(own.width() + other.width() + _MARGIN, own.height())
        both.fill(qt.QColor("white"))
        painter = qt.QPainter(both)
        painter.drawPixmap(0, 0, own)
        painter.drawPixmap(own.width() + _MARGIN, 0, other)
        painter.end()
        self._save(both, name)

    def _save(self, pixmap: Any, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}{self.suffix}.png"
        if not pixmap.save(str(path), "PNG", 0):
            raise OSError(f"{path} could not be written.")
        try:
            from PIL import Image
        except ImportError:
            return
        with Image.open(path) as picture:  # a quarter of the levels: nobody sees it
            small = picture.convert("RGB").point(lambda level: level | 3)
        small.save(path, optimize=True)

    def worker(self) -> int:
        """Return the process group of the worker."""
        return self.widget.logic._runner._worker._process.pid

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the application work until a condition holds."""
        self.host.wait_until(condition, 120)


def take_all(photographer: Photographer, sample: Path) -> None:
    """Walk through the states as a user does."""
    ui = photographer.ui
    photographer.panel("empty")
    volume = slicer.util.loadVolume(str(sample))
    volume.SetName("T1 hippocampus crop")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    photographer.wait(lambda: ui.segmentButton.enabled)
    photographer.panel("ready")
    photographer.host.click(ui.segmentButton)
    photographer.wait(lambda: ui.progressBar.value > 20 or not photographer.widget.logic.jobs)
    os.killpg(photographer.worker(), signal.SIGSTOP)  # it is too quick for a picture
    photographer.panel("running")
    os.killpg(photographer.worker(), signal.SIGCONT)
    photographer.wait(lambda: not photographer.widget.logic.jobs)
    photographer.panel("done")
    photographer.host.click(ui.show3DButton)
    slicer.app.layoutManager().threeDWidget(0).threeDView().resetFocalPoint()
    photographer.window("window")
    photographer.beside_segment_editor("beside-segment-editor")
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


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument(
        "--tabs",
        nargs="?",
        const="both",
        choices=("both", "finetune", "pretrain"),
        help="Fine-tune and Pretrain instead",
    )
    parser.add_argument("--structures", action="store_true", help="a model of many instead")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--language", help="such as zh_CN; a font for it has to be there")
    options = parser.parse_args([word for word in sys.argv[1:] if word != "--"])
    home = Path(tempfile.mkdtemp(prefix="misfm-pictures-"))
    os.environ["MISFM_HOME"] = str(home / "models")
    sample = home / "sample.nii.gz"
    python, paths = os.environ["MISFM_PYTHON"], {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([python, "-c", _SAMPLE, str(sample)], check=True, env={**os.environ, **paths})
    if options.dark:
        slicer.app.setStyle("Dark Slicer")
        slicer.app.setPalette(slicer.app.style().standardPalette())
    with ExitStack() as stack:
        if options.language:
            catalogue = f"MISFM_{options.language.replace('_', '-')}.qm"
            folder = REPOSITORY / "MISFM" / "Resources" / "Translations"
            stack.enter_context(SlicerHost.language(options.language, folder / catalogue))
            slicer.util.reloadScriptedModule("MISFM")
        if options.tabs:
            sys.path.insert(0, str(REPOSITORY / "Testing" / "Slicer"))
            from tab_screenshots import take_tabs

            take_tabs(Photographer(options), home, options.tabs, python, paths)
        elif options.structures:
            sys.path.insert(0, str(REPOSITORY / "Testing" / "Slicer"))
            from structures_screenshots import take_structures

            take_structures(Photographer(options), home, python, paths)
        else:
            take_all(Photographer(options), sample)


def start() -> None:
    """Take the pictures and leave Slicer, whatever happens."""
    code = 1
    try:
        began = time.monotonic()
        main()
        print(f"Pictures taken in {time.monotonic() - began:.0f} s")
        code = 0
    except BaseException:
        traceback.print_exc()
    slicer.util.exit(code)


qt.QTimer.singleShot(0, start)
