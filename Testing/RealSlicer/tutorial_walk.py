"""README's tutorial, click by click: from an empty panel to the first proposal and its correction.

    MISFM_PYTHON=.venv/bin/python KIT/run-slicer.sh --no-splash --additional-module-paths MISFM \
        --python-script Testing/RealSlicer/tutorial_walk.py -- [--data FOLDER] [--minutes 4] \
        [--pictures FOLDER] [--most-minutes 10]
    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/RealSlicer/tutorial_walk.py ...

The same walk in a real Slicer and, started by a plain Python, in its stand-in. FOLDER is a data set
such as nnU-Net's, of which eight cases with labels and two without are taken; when not given, ten
hippocampi are drawn. Every click is one of the mouse on a widget, a choice in a menu, or a dialog
for files that is answered; all are counted. The exit code is 1 when a step fails, or when the first
proposal takes longer than asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import slicer

    REPOSITORY = Path(slicer.modules.misfm.path).parents[1]
except (ImportError, AttributeError):  # a plain Python, which becomes the stand-in
    slicer, REPOSITORY = None, Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "Host"), str(REPOSITORY / "MISFM")]

_LABELLED, _UNLABELLED = 8, 2
_DRAW = """
import json, sys
from pathlib import Path
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.volumes.volume import write_label_map, write_volume
folder, labelled, unlabelled = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for part in ("imagesTr", "labelsTr", "imagesTs"):
    (folder / part).mkdir(parents=True)
for seed in range(labelled + unlabelled):
    image, labels = draw_phantom(seed)
    part = "imagesTr" if seed < labelled else "imagesTs"
    write_volume(image, folder / part / f"hippocampus_{seed + 1:02d}.nii.gz")
    if seed < labelled:
        write_label_map(labels, folder / "labelsTr" / f"hippocampus_{seed + 1:02d}.nii.gz")
names = {"0": "background", "1": "anterior hippocampus", "2": "posterior hippocampus"}
content = {"labels": names, "modality": {"0": "MR"}}
(folder / "dataset.json").write_text(json.dumps(content))
"""
_LONG_S = 1800.0
_SIZE = (1280, 860)


def make_data(source: Path | None, folder: Path) -> Path:
    """Make a data set of eight cases with labels and two without."""
    if source is None:
        words = [os.environ["MISFM_PYTHON"], "-c", _DRAW, str(folder), str(_LABELLED)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run([*words, str(_UNLABELLED)], check=True, env=environment)
        return folder
    names = sorted(path.name for path in (source / "labelsTr").glob("*.nii.gz"))
    for index, name in enumerate(names[: _LABELLED + _UNLABELLED]):
        part = "imagesTr" if index < _LABELLED else "imagesTs"
        (folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "imagesTr" / name, folder / part / name)
        if index < _LABELLED:
            (folder / "labelsTr").mkdir(exist_ok=True)
            shutil.copyfile(source / "labelsTr" / name, folder / "labelsTr" / name)
    description = json.loads((source / "dataset.json").read_text("utf-8"))
    kept = {name: description[name] for name in ("labels", "modality") if name in description}
    (folder / "dataset.json").write_text(json.dumps(kept))
    return folder


class Tutorial:
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


def walk(tutorial: Tutorial, data: Path, minutes: float) -> None:
    """Do what README says."""
    tab, ui = tutorial.tab, tutorial.ui
    tutorial.show_tab(1)
    tutorial.open_folder(ui.openSetButton, data)
    tutorial.wait(lambda: len(tab.setView.rows) == _LABELLED + _UNLABELLED)
    tutorial.reached("the training set is there")
    tutorial.set_minutes(minutes)
    tutorial.click(ui.trainButton, "Fine-tune")
    tutorial.wait(lambda: tab.isTraining)
    tutorial.wait(lambda: tab.train.training.metrics or not tab.isTraining)
    _watch(tutorial)
    tutorial.wait(lambda: not tab.isTraining)
    tutorial.wait(lambda: tab.outcome.isOpen)
    tutorial.reached("the model is there")
    tutorial.picture("finetune-learnt")
    tutorial.picture("finetune-outcome", tutorial.widget.ui.tabs.currentWidget())
    tutorial.click(ui.keepButton, "Keep")
    tutorial.expand(ui.loopSection)
    tutorial.click(ui.nextCaseButton, "Next case")
    tutorial.wait(lambda: tab.loop.case is not None)
    tutorial.reached("the first proposal is on the screen")
    tutorial.picture("finetune-correct")
    name = tab.loop.case.name
    if not tab.loop.case.before.any():
        raise AssertionError("the proposal is empty")
    tutorial.click(ui.doneButton, "Done")
    tutorial.wait(lambda: tab.setView.current.case(name).is_labelled)
    tutorial.wait(lambda: tab.loop.case is not None)
    tutorial.reached("the next proposal is on the screen")


def _watch(tutorial: Tutorial) -> None:
    """Look at a held-out case while the network learns; not needed, so not among the clicks."""
    tab, ui = tutorial.tab, tutorial.ui
    tutorial.wait(lambda: ui.watchButton.visible or not tab.isTraining)
    if not tab.isTraining:
        return
    rows = tab.setView.rows
    name = next(row.name for row in rows if row.split == "validation" and row.is_labelled)
    tutorial.choose(ui.watchButton.menu(), name)
    del tutorial.clicks[-2:]
    tutorial.wait(lambda: tab.watch._shownAt or not tab.isTraining)
    if tab.watch._shownAt:
        tutorial.reached("a held-out case is watched, 2 clicks more")
        tutorial.picture("finetune-watch")


def _host(home: Path) -> Any:
    if slicer is not None:
        from real_slicer.host import SlicerHost

        window = slicer.util.mainWindow()
        window.resize(*_SIZE)
        return SlicerHost()
    from misfm_host.host import start

    host = start(home / "host")
    host.load_module(REPOSITORY / "MISFM" / "MISFM.py")
    return host


def main() -> int:
    """Walk; print each step with its clicks and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="such as shared/data/hippocampus_mr")
    parser.add_argument("--minutes", type=float, default=4.0, help="of the training")
    parser.add_argument("--most-minutes", type=float, default=10.0, help="to the first proposal")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args([word for word in sys.argv[1:] if word != "--"])
    home = Path(tempfile.mkdtemp(prefix="misfm-tutorial-"))
    os.environ["MISFM_HOME"] = str(home / "models")
    data = make_data(options.data, home / "hippocampi")
    tutorial = Tutorial(_host(home), options.pictures)
    try:
        walk(tutorial, data, options.minutes)
    finally:
        if tutorial.tab.train.training is not None:
            tutorial.tab.train.training.kill()
    print("| step | clicks | minutes |\n| --- | --- | --- |")
    for what, clicks, seconds in tutorial.rows:
        print(f"| {what} | {clicks} | {seconds / 60:.1f} |")
    print("clicks:", ", ".join(tutorial.clicks))
    first = next(seconds for what, _, seconds in tutorial.rows if "first proposal" in what)
    failures = tutorial.host.failures.take()
    shutil.rmtree(home, ignore_errors=True)
    return int(bool(failures) or first > 60 * options.most_minutes)


def _in_slicer() -> None:
    code = 1
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
    slicer.util.exit(code)


if slicer is not None:
    import qt

    qt.QTimer.singleShot(0, _in_slicer)
elif __name__ == "__main__":
    sys.exit(main())
