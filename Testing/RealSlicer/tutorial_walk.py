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
from pathlib import Path

try:
    import slicer

    REPOSITORY = Path(slicer.modules.misfm.path).parents[1]
except (ImportError, AttributeError):  # a plain Python, which becomes the stand-in
    slicer, REPOSITORY = None, Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "RealSlicer")]

from walker import Walker, host_of, run

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


def walk(tutorial: Walker, data: Path, minutes: float) -> None:
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


def _watch(tutorial: Walker) -> None:
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
    tutorial = Walker(host_of(home), options.pictures)
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


run(main)
