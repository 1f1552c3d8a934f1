"""The tab Fine-tune as tests see it, with a stand-in for trainings and one for proposals."""

import json
import sys
from pathlib import Path

import pytest
from fake_worker import FakeRunner, segment_case, unsure_case

from MISFMLib.models import store
from MISFMLib.models.terminology import label_config

LABELS = (label_config(1, "left hippocampus"), label_config(2, "spleen"))


class ProposalRunner(FakeRunner):
    """Proposes the ball as left hippocampus; reads the voxels from a file that it can read."""

    def __init__(self, grid):
        super().__init__(LABELS)
        self.grid = grid

    def _segment(self, folder, config):
        labels = Path(config["output"])
        report = segment_case([self.grid], labels, self.labels)
        places = unsure_case([self.grid], Path(config["uncertainty"]))
        report |= {"where_to_look": places, "certainty": 0.75}
        Path(config["report"]).write_text(json.dumps(report))
        return report


class Tab:
    """The tab as a user sees it."""

    def __init__(self, panel):
        self.panel = panel
        self.tab = panel.widget.finetuneTab
        self.ui = self.tab._ui

    def behave(self, **behaviour):
        folder = store.home() / "trainings"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "behaviour.json").write_text(json.dumps(behaviour))

    def wait(self, condition, seconds=20):
        self.panel.host.wait_until(condition, seconds)

    def shown(self, name):
        return not getattr(self.ui, name).isHidden()

    def train(self):
        assert self.ui.trainButton.enabled, self.ui.trainButton.toolTip
        self.ui.trainButton.click()
        self.panel.settle()

    def segment_and_add(self, make_volume, name="ct"):
        volume = make_volume(name=name)
        self.panel.choose(volume)
        self.panel.segment()
        self.panel.ui.addToSetButton.click()
        self.panel.settle()


@pytest.fixture
def tab(panel, monkeypatch, tmp_path):
    from MISFMSlicer.Jobs import TrainingProcess as module
    from MISFMSlicer.Jobs.TrainingProcess import TrainingProcess

    # Else a test waits until nobody else on the computer has anything to do.
    monkeypatch.setattr(module, "_lowerPriority", lambda _pid: None)
    start = TrainingProcess.start
    script = Path(__file__).with_name("fake_training.py")
    monkeypatch.setattr(
        TrainingProcess, "start", lambda self: start(self, [sys.executable, str(script)])
    )
    made = Tab(panel)
    made.tab._timer.setInterval(30)  # a tenth of the time
    made.tab._proposals._runner = ProposalRunner(tmp_path / "grid.nrrd")
    yield made
    if made.tab.train.training is not None:
        made.tab.train.training.kill()
