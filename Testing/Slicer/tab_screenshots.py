"""Pictures of every state of the tabs Fine-tune and Pretrain, for `take_screenshots.py --tabs`.

Proposals are computed, and so is the picture of fused volumes, by a short pretraining; the
trainings that are shown are stood in for by `fake_training.py`, whose numbers are made up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.models import store
from MISFMLib.models.terminology import label_config

_FAKE = Path(slicer.modules.misfm.path).parents[1] / "Testing" / "Slicer" / "fake_training.py"
_LABELS = (label_config(1, "anterior hippocampus"), label_config(2, "posterior hippocampus"))
_TABLE = {
    "evaluation": {
        "anterior hippocampus": {"dice": 0.861, "dice_sd": 0.031},
        "posterior hippocampus": {"dice": 0.842, "dice_sd": 0.044},
        "mean Dice of the labels": 0.851,
        "held-out cases": 4,
    },
    "comparison": {
        "before": {
            "anterior hippocampus": {"dice": 0.792},
            "posterior hippocampus": {"dice": 0.771},
        },
        "cases": [],
        "gain": 0.07,
        "gain_sd": 0.02,
        "needed": 0.024,
        "is_better": True,
    },
}

_DRAW = """
import sys
from pathlib import Path
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.volumes.volume import write_volume
folder = Path(sys.argv[1])
folder.mkdir()
for seed in range(6):
    write_volume(draw_phantom(seed)[0], folder / f"hippocampus_{seed + 1}.nii.gz")
(folder / "cut_off.nii.gz").write_bytes((folder / "hippocampus_1.nii.gz").read_bytes()[:4000])
"""
_QUICKLY = ("--steps", "20", "--validate-every", "20", "--batch-size", "2", "--threads", "1")
_QUICKLY += ("--patch-size", "32", "32", "32", "--device", "cpu")


def take_tabs(
    photographer: Any, home: Path, which: str, python: str, paths: Mapping[str, str]
) -> None:
    """Walk through the states of the tabs as a user does.

    Args:
        photographer: Takes the pictures.
        home: Folder for what is made on the way; holds the sample.
        which: finetune, pretrain or both.
        python: Has the library's packages.
        paths: Where it finds the library: environment variables.
    """
    from MISFMSlicer.Jobs.TrainingProcess import TrainingProcess

    start = TrainingProcess.start
    TrainingProcess.start = lambda self: start(self, [sys.executable or "python3", str(_FAKE)])
    ui = photographer.ui
    if which != "pretrain":
        ui.tabs.setCurrentIndex(1)
        tab = photographer.widget.finetuneTab
        pictures = _Pictures(photographer, tab, home)
        pictures.take_set()
        pictures.take_problems()
        pictures.take_training()
        pictures.take_loop()
        pictures.take_closing()
    if which != "finetune":
        environment = {**os.environ, **paths}
        volumes = home / "volumes"
        subprocess.run([python, "-c", _DRAW, str(volumes)], check=True, env=environment)
        words = ["pretrain", str(volumes), "-o", str(home / "start"), *_QUICKLY]
        words += ["--preview", str(home / "fused.png")]
        subprocess.run([python, "-m", "MISFMLib", *words], check=True, env=environment)
        ui.tabs.setCurrentIndex(2)
        _take_pretrain(photographer, photographer.widget.pretrainTab, home)


class _Pictures:
    def __init__(self, photographer: Any, tab: Any, home: Path) -> None:
        self.photographer, self.tab, self.ui, self.home = photographer, tab, tab._ui, home

    def picture(self, name: str) -> None:
        self.photographer.panel(f"finetune-{name}")

    def wait(self, condition: Callable[[], bool]) -> None:
        self.photographer.wait(condition)

    def behave(self, **behaviour: Any) -> None:
        folder = store.home() / "trainings"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "behaviour.json").write_text(json.dumps(behaviour))

    def take_set(self) -> None:
        """From nothing to a set with cases."""
        from MISFMSlicer.Scene.Export import writeLabelMap

        self.picture("empty")
        made = TrainingSet.create(self.home / "hippocampi", _LABELS, channels=("MR",))
        self.tab.setView._use(made)
        self.picture("new-set")
        image = self.home / "sample.nii.gz"
        node = slicer.util.loadVolume(str(image), {"show": True})
        labels = np.zeros(slicer.util.arrayFromVolume(node).shape, np.uint8)
        labels[15:25, 10:20, 10:20], labels[15:25, 20:30, 10:20] = 1, 2
        for number in range(9):
            name = f"hippocampus_{number + 1:03d}"
            made.add_case(name, lambda path: shutil.copyfile(image, path))
            if number < 4:
                made.save_labels(name, lambda path: writeLabelMap(labels, node, path))
        self.tab._onSetChanged()
        self.picture("ready")
        self.take_mapping(node)
        self.take_channels(node)
        slicer.mrmlScene.Clear()

    def take_mapping(self, volume: Any) -> None:
        """A segmentation with a name that the set does not know."""
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        mask = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        mask[10:20, 10:20, 10:20] = 1
        for name in ("anterior hippocampus", "hippo tail"):
            key = segmentation.GetSegmentation().AddEmptySegment(name, name)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, key, volume)
            mask = np.roll(mask, 12, axis=1)
        self.tab.setView._mapping.begin(self.tab.setView.current, [volume], segmentation)
        self.picture("mapping")
        self.ui.mappingCancelButton.click()

    def take_channels(self, volume: Any) -> None:
        """The first case of a set, in a scene with a second volume of the same place."""
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        grid = slicer.util.arrayFromVTKMatrix(matrix) @ np.diag([1, 1, 2, 1])
        array = slicer.util.arrayFromVolume(volume)[::2]
        slicer.util.addVolumeFromArray(array.copy(), ijkToRAS=grid, name="hippocampus T2")
        volume.SetName("hippocampus T1")
        made = TrainingSet.create(self.home / "two-volumes")
        self.tab.setView._channels.begin(made, volume, lambda _volumes: None)
        self.ui.channelsTable.cellWidget(1, 0).checked = True
        self.picture("channels")
        self.ui.channelsCancelButton.click()

    def take_problems(self) -> None:
        """What the check lists."""
        problems = [
            {"code": "label-values", "case": "hippocampus_001", "values": [7], "message": ""},
            {
                "code": "label-islands",
                "case": "hippocampus_002",
                "values": [1],
                "positions_xyz": [(0.0, 0.0, 0.0)] * 3,
            },
            {
                "code": "case-on-both-sides",
                "cases": ["hippocampus_003", "hippocampus_002"],
            },
            {"code": "label-not-judged", "values": [2], "cases": ["hippocampus_001"]},
        ]
        self.tab._problems.showList(problems)
        self.ui.problemsList.setCurrentRow(1)
        self.tab._note = "These cases can be trained on. Look at what is listed."
        self.picture("problems")
        self.tab._problems.hide()
        self.tab._note = ""
        self.tab.loop._close()
        self.tab.loop._show()
        self.ui.loopSection.collapsed = True

    def take_training(self) -> None:
        """Running, paused, interrupted, failed, done."""
        self.tab._installMissing = lambda: True
        self.behave(wait=True)
        self.ui.trainButton.click()
        self.wait(lambda: len(self.tab.train.training.metrics) > 0)
        self.photographer.host.process_events(1.0)
        self.picture("running")
        self.ui.curvesButton.click()
        self.photographer.window("finetune-curves")
        self.ui.pauseButton.click()
        self.wait(lambda: self.tab.train.canGoOn)
        self.picture("paused")
        self.ui.trainButton.click()
        self.wait(lambda: self.tab.isTraining)
        self.photographer.host.process_events(1.0)
        self.tab.train.training.kill()
        self.wait(lambda: self.tab.train.canGoOn)
        self.picture("interrupted")
        self.behave(**_TABLE)
        self.ui.trainButton.click()
        self.wait(lambda: self.ui.outcomeFrame.visible)
        self.picture("outcome")
        self.ui.keepButton.click()
        self.photographer.host.process_events(0.5)
        self.picture("kept")

    def take_loop(self) -> None:
        """From case to case."""
        self.ui.trainSection.collapsed = True
        self.ui.loopSection.collapsed = False
        self.ui.nextCaseButton.click()
        self.picture("waiting")
        self.wait(lambda: self.tab.loop.case is not None)
        self.photographer.host.process_events(1.0)
        self.picture("correct")
        self.photographer.window("finetune-correct-window")
        for _case in range(3):
            self.wait(lambda: self.tab.loop.case is not None)
            self.photographer.host.process_events(1.0)
            self.behave(wait=True, **_TABLE)
            self.ui.doneButton.click()
        self.photographer.host.process_events(1.5)
        self.ui.trainSection.collapsed = False
        self.picture("trains-by-itself")
        self.ui.worthButton.click()
        self.photographer.window("finetune-progress")

    def take_closing(self) -> None:
        """What is asked when Slicer is closed."""
        from MISFMSlicer.Panel.Closing import settleTrainings

        def grab(box: Any) -> str:
            self.photographer._save(box.grab(), "closing")
            return "No"

        self.photographer.host.dialogs.answer(grab)
        settleTrainings([self.tab.train.training])
        self.tab.train.forget()
        self.tab.refresh()


def _take_pretrain(photographer: Any, tab: Any, home: Path) -> None:
    ui = tab._ui
    tab._installMissing = lambda: True
    photographer.panel("pretrain-empty")
    tab.folders.setFolders([str(home / "volumes")])
    photographer.panel("pretrain-folders")
    ui.prepareButton.click()
    photographer.wait(lambda: not tab.folders.isPreparing)
    photographer.panel("pretrain-prepared")
    folder = store.home() / "trainings"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "behaviour.json").write_text(json.dumps({"wait": True}))
    ui.pretrainButton.click()
    photographer.wait(lambda: len(tab.train.training.metrics) > 0)
    shutil.copyfile(home / "fused.png", tab.train.training.folder / "preview.png")
    photographer.wait(lambda: ui.previewLabel.visible)
    photographer.host.process_events(1.0)
    photographer.panel("pretrain-running")
    (folder / "behaviour.json").write_text("{}")
    tab.train.training.ask("finish")
    photographer.wait(lambda: ui.pretrainOutcomeFrame.visible)
    photographer.panel("pretrain-outcome")
    ui.pretrainCopyButton.click()
    photographer.panel("pretrain-copied")
