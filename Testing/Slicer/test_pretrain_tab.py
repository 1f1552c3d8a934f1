"""The tab Pretrain: folders, what was found in them, the training, and the start it gives."""

import json
import shlex
import sys
import typing
from pathlib import Path

import pytest
from fake_worker import FakeCommand

from MISFMLib.configs import NetworkPreset
from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.models import store

PREPARED = {
    "store": "/stores/volumes",
    "usable": 12,
    "modalities": {"CT": 10, "MR": 2},
    "bytes": 2.5e9,
    "quarantined": {"file-truncated": 3},
    "duplicates": 1,
}


@pytest.fixture
def tab(panel, monkeypatch):
    from MISFMSlicer.Jobs import TrainingProcess as module
    from MISFMSlicer.Jobs.TrainingProcess import TrainingProcess
    from MISFMSlicer.Panel import FoldersView

    # Else a test waits until nobody else on the computer has anything to do.
    monkeypatch.setattr(module, "_lowerPriority", lambda _pid: None)
    start = TrainingProcess.start
    script = Path(__file__).with_name("fake_training.py")
    monkeypatch.setattr(
        TrainingProcess, "start", lambda self: start(self, [sys.executable, str(script)])
    )
    monkeypatch.setattr(FoldersView, "Command", FakeCommand)
    made = panel.widget.pretrainTab
    made.folders.setFolders([])
    yield made
    if made.train.training is not None:
        made.train.training.kill()


@pytest.fixture
def folder(tab, tmp_path):
    path = tmp_path / "my volumes"
    path.mkdir()
    tab.folders.setFolders([str(path)])
    return path


def test_every_network_that_can_be_trained_can_be_chosen(tab):
    selector = tab._ui.pretrainNetworkSelector
    offered = [selector.itemData(row) for row in range(selector.count)]
    assert offered == list(typing.get_args(NetworkPreset))


def test_without_a_folder_nothing_can_start(tab):
    assert not tab._ui.pretrainButton.enabled
    assert not tab._ui.prepareButton.enabled
    assert tab._ui.pretrainLabel.text == "Add a folder with volumes first."


def test_prepare_says_what_was_found_and_refused(tab, folder):
    tab._ui.prepareButton.click()
    (command,) = FakeCommand.started
    assert command.words[:2] == ("prepare", str(folder))
    path = Path(command.words[3])
    assert path.parent == store.home() / "stores"
    assert path.name.startswith("my-volumes-")
    assert not tab._ui.prepareButton.enabled
    command.progressed.emit(Progress("prepare", 0.5, "6 of 12"))
    assert tab._ui.prepareProgress.value == 50
    command.ended.emit(Finished(PREPARED))
    text = "12 volumes ready (CT 10, MR 2), 2.5 GB on the disk. Refused: cut off: 3."
    assert tab._ui.prepareLabel.text == f"{text} 1 were there twice."
    assert tab._ui.prepareButton.enabled


def test_what_is_prepared_is_what_is_listed(tab, folder, panel):
    other = folder.with_name("other")
    other.mkdir()
    tab.folders.setFolders([str(folder), str(other)])
    tab._ui.prepareButton.click()
    tab._ui.foldersList.setCurrentRow(1)
    assert not tab._ui.addFolderButton.enabled
    assert not tab._ui.removeFolderButton.enabled
    other.rmdir()
    tab.lookAround()
    assert len(tab.folders.paths) == 2, "of a preparation that is under way"
    FakeCommand.started[-1].ended.emit(Finished(PREPARED))
    assert tab._ui.addFolderButton.enabled
    tab._ui.foldersList.setCurrentRow(1)
    tab._ui.removeFolderButton.click()
    tab._ui.prepareButton.click()
    both, one = (command.words[command.words.index("-o") + 1] for command in FakeCommand.started)
    assert one != both, "the store still has the volumes of the folder that was removed"


def test_a_preparation_that_fails_says_why(tab, folder):
    tab._ui.prepareButton.click()
    FakeCommand.started[-1].ended.emit(Failed("No volume is there.", "no-volume", "Add a folder."))
    assert "No volume is there.\nAdd a folder." in tab._ui.pretrainNoticeLabel.text
    assert not tab._ui.pretrainNoticeFrame.isHidden()


def test_a_pretraining_ends_as_a_start_for_fine_tuning(tab, folder, panel):
    tab._ui.prepareButton.click()
    FakeCommand.started[-1].ended.emit(Finished(PREPARED))
    tab._ui.pretrainButton.click()
    panel.host.wait_until(lambda: not tab._ui.pretrainOutcomeFrame.isHidden(), 20)
    job = tab.train.training.job
    assert job["job"] == "pretrain"
    assert job["config"]["data"] == ["/stores/volumes"]
    assert job["config"]["minutes"] == 60
    assert job["config"]["method"] == "fusion-masking"
    assert tab._ui.pretrainOutcomeLabel.text == "Pretrained in 20 steps and 40 s."
    assert not tab._ui.pretrainButton.enabled, "another one would take its place"
    assert tab._ui.pretrainLabel.text == "Keep or discard the new start first."

    tab._ui.pretrainNameEdit.text = "my CTs"
    tab._ui.pretrainKeepButton.click()
    assert "my-CTs" in [entry.name for entry in store.list_models()]
    selector = panel.widget.finetuneTab._ui.startSelector
    assert selector.findData("my-CTs") >= 0
    assert tab.train.training is None
    assert tab._ui.pretrainButton.enabled


def test_a_training_that_runs_shows_its_picture_and_can_be_discarded(tab, folder, panel, tmp_path):
    (store.home() / "trainings").mkdir(parents=True, exist_ok=True)
    (store.home() / "trainings/behaviour.json").write_text(json.dumps({"wait": True}))
    tab._ui.pretrainButton.click()
    panel.host.wait_until(lambda: bool(tab.train.training.metrics), 20)
    assert tab._ui.pretrainButton.isHidden()
    assert tab._ui.previewLabel.isHidden()
    panel.host.screenshot(tab.train.training.folder / "preview.png", panel.ui.segmentButton)
    panel.host.wait_until(lambda: not tab._ui.previewLabel.isHidden(), 5)
    assert panel.widget.parent.minimumSizeHint.width() <= 400, "the picture may be wider"
    tab._shown = (tab._shown[0], 1)
    panel.host.wait_until(lambda: tab._shown[1] > 1, 5)  # it follows the width of the panel
    _keep, discard = tab._ui.pretrainStopButton.menu().actions()
    discard.trigger()
    assert tab.train.training is None
    assert not tab._ui.pretrainButton.isHidden()


def test_the_commands_for_a_long_run_can_be_copied(tab, folder):
    import slicer

    tab._ui.pretrainCopyButton.click()
    lines = slicer.app.clipboard().text().splitlines()
    assert shlex.split(lines[1]) == ["misfm", "prepare", str(folder), "-o", "volumes.store"]
    assert shlex.split(lines[2])[:3] == ["misfm", "pretrain", "volumes.store"]
    how = "--method fusion-masking --network small --resume"
    assert f"exec misfm pretrain volumes.store -o my-start {how}" in lines


def test_folders_are_remembered_and_can_be_removed(tab, folder, panel):
    assert tab._ui.foldersList.count == 1
    tab._ui.foldersList.setCurrentRow(0)
    assert tab._ui.removeFolderButton.enabled
    tab._ui.removeFolderButton.click()
    assert tab._ui.foldersList.count == 0
    assert panel.widget.parent.minimumSizeHint.width() <= 400
