"""CT and T1 of the same patients in the panel: from the scene to a model that segments with both.

    MISFM_PYTHON=.venv/bin/python KIT/run-slicer.sh --no-splash --additional-module-paths MISFM \
        --python-script Testing/RealSlicer/channels_walk.py -- ../shared/data/sarcoma_ct_mr \
        [--minutes 1] [--pictures FOLDER]
    MISFM_PYTHON=.venv/bin/python .venv-slicer/bin/python Testing/RealSlicer/channels_walk.py ...

DATA has the folders CT and MR_T1 with files of the same names, whose grids differ. Bone, above 250
HU, is the annotator's label. Three cases are added from the scene and two from files without
labels; a model is trained and kept, the next case is opened, and another patient is segmented. A
minute of training finds nothing yet: what is walked is the way. The exit code is 1 when a step
fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    import slicer

    REPOSITORY = Path(slicer.modules.misfm.path).parents[1]
except (ImportError, AttributeError):  # a plain Python, which becomes the stand-in
    REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "Testing" / "RealSlicer")]

import numpy as np
from walker import Walker, host_of, run

_BONE_HU = 250
_KINDS = {"CT": "CT", "T1": "MR_T1"}
"""What a volume is, and the folder it lies in."""
_LABELLED, _FROM_FILES = 3, 2


def load(data: Path, name: str) -> list[Any]:
    """Load all volumes of a patient; the first is shown."""
    import slicer

    return [
        slicer.util.loadVolume(
            str(data / folder / f"{name}.nii.gz"), {"name": f"{name} {kind}", "show": kind == "CT"}
        )
        for kind, folder in _KINDS.items()
    ]


def label_bone(volume: Any) -> None:
    """Draw what is above a threshold."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    key = node.GetSegmentation().AddEmptySegment("bone", "bone")
    bone = (slicer.util.arrayFromVolume(volume) > _BONE_HU).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(bone, node, key, volume)


def add_from_scene(walker: Walker, data: Path, names: list[str]) -> None:
    """Add labelled cases; what they consist of is said with the first one."""
    import slicer
    from MISFMSlicer.Panel.Parameters import Parameters

    ui = walker.ui
    for index, name in enumerate(names):
        volumes = load(data, name)
        label_bone(volumes[0])
        Parameters(walker.widget.logic.getParameterNode()).setVolume(volumes[0])
        walker.host.process_events(0.5)
        walker.click(ui.addSegmentationButton, "Add labels")
        walker.wait(lambda: ui.channelsFrame.visible)
        if index == 0:
            ui.channelsTable.cellWidget(1, 0).checked = True
        walker.picture(f"channels-{index + 1}")
        walker.click(ui.channelsAddButton, "Add case")
        walker.wait(lambda: len(walker.tab.setView.rows) == index + 1)  # noqa: B023 at once
        slicer.mrmlScene.Clear(0)
    made = walker.tab.setView.current
    assert made.channels == tuple(_KINDS), made.channels
    walker.reached(f"{len(names)} cases of {' and '.join(made.channels)} are in the set")


def add_files(walker: Walker, data: Path, names: list[str], folder: Path) -> None:
    """Add files without labels, named after patient and kind."""
    folder.mkdir()
    for name in names:
        for kind, place in _KINDS.items():
            shutil.copyfile(data / place / f"{name}.nii.gz", folder / f"{name}_{kind}.nii.gz")
    walker.host.dialogs.answer("Ok")
    files = walker.tab.setView._files
    files.add(walker.tab.setView.current, sorted(folder.iterdir()))
    walker.reached("files are in the set")


def train(walker: Walker, minutes: float) -> None:
    """Train and keep."""
    tab, ui = walker.tab, walker.ui
    walker.set_minutes(minutes)
    walker.click(ui.trainButton, "Fine-tune")
    walker.wait(lambda: tab.isTraining)
    walker.wait(lambda: tab.outcome.isOpen or not tab.isTraining)
    walker.wait(lambda: tab.outcome.isOpen)
    walker.picture("channels-outcome")
    walker.click(ui.keepButton, "Keep")
    walker.reached("the model is kept")


def correct(walker: Walker) -> None:
    """Open the next case, which shows both volumes, and take its proposal as it is."""
    tab, ui = walker.tab, walker.ui
    walker.expand(ui.loopSection)
    walker.click(ui.nextCaseButton, "Next case")
    walker.wait(lambda: tab.loop.case is not None)
    case = tab.loop.case
    assert [volume.GetName() for volume in case.volumes] == [f"{case.name} {k}" for k in _KINDS]
    walker.picture("channels-next")
    walker.click(ui.doneButton, "Done")
    walker.wait(lambda: tab.setView.current.case(case.name).is_labelled)
    walker.reached("a case is checked")


def segment(walker: Walker, data: Path, name: str) -> None:
    """Segment a patient that is in no set; both volumes are found by their names."""
    import slicer

    slicer.mrmlScene.Clear(0)
    ui, segment_tab = walker.widget.ui, walker.widget.segmentTab
    walker.show_tab(0)
    volumes = load(data, name)
    model = walker.tab.setView.current.name
    ui.modelSelector.setCurrentIndex(ui.modelSelector.findData(model))
    walker.wait(lambda: [s.currentNode() for s in segment_tab._inputs._selectors] == volumes)
    walker.wait(lambda: "another grid" in ui.warningLabel.text)
    walker.click(ui.segmentButton, "Segment")
    walker.wait(lambda: not walker.widget.logic.jobs)
    walker.picture("channels-segmented")
    assert not ui.failureFrame.visible, ui.failureLabel.text
    walker.reached("another patient is segmented")


def main() -> int:
    """Walk; print each step with its clicks and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="such as shared/data/sarcoma_ct_mr")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the training")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args([word for word in sys.argv[1:] if word != "--"])
    home = Path(tempfile.mkdtemp(prefix="misfm-channels-"))
    os.environ["MISFM_HOME"] = str(home / "models")
    names = sorted(path.name[: -len(".nii.gz")] for path in (options.data / "CT").glob("*.nii.gz"))
    walker = Walker(host_of(home), options.pictures)
    walker.show_tab(1)
    try:
        add_from_scene(walker, options.data, names[:_LABELLED])
        add_files(walker, options.data, names[_LABELLED:][:_FROM_FILES], home / "files")
        train(walker, options.minutes)
        correct(walker)
        segment(walker, options.data, names[_LABELLED + _FROM_FILES])
    finally:
        if walker.tab.train.training is not None:
            walker.tab.train.training.kill()
    failures = walker.host.failures.take()
    shutil.rmtree(home, ignore_errors=True)
    return int(bool(failures))


run(main)
