"""Fixtures: the panel of the module with a worker that segments by thresholds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from fake_worker import FakeCommand, FakeRunner  # found through the lines above

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "MISFM" / "MISFM.py"


class Panel:
    """The module's panel as a user sees it."""

    def __init__(self, host, widget):
        self.host = host
        self.widget = widget
        self.ui = widget.ui
        self.logic = widget.logic
        self.runner = widget.logic._runner

    @property
    def commands(self):
        """The commands beside the jobs that were started: `FakeCommand`."""
        return FakeCommand.started

    @property
    def parameters(self):
        from MISFMSlicer.Panel.Parameters import Parameters

        return Parameters(self.logic.getParameterNode())

    def settle(self):
        """Let all that was asked for happen."""
        self.host.process_events(0.02)
        self.host.wait_until(lambda: not self.widget._refreshTimer.isActive())

    def choose(self, volume):
        """Choose a volume as a user does."""
        self.ui.volumeSelector.setCurrentNode(volume)
        self.settle()

    def segment(self):
        """Click Segment and wait for the end."""
        self.start()
        self.host.wait_until(lambda: not self.logic.jobs)
        self.settle()

    def start(self):
        """Click Segment and wait until the job is under way."""
        assert self.ui.segmentButton.enabled, self.ui.statusLabel.text
        self.ui.segmentButton.click()
        self.host.process_events(0.15)

    def shown(self, name):
        """Tell whether a widget can be seen."""
        return getattr(self.ui, name).visible


@pytest.fixture
def settings(host):
    """Machine settings without anything of ours."""
    import slicer

    store = slicer.app.userSettings()
    store.remove("MISFM")
    yield store
    store.remove("MISFM")


@pytest.fixture
def panel(host, load_module, settings, monkeypatch, tmp_path):
    """A new panel, shown; nothing is missing and nothing is installed."""
    import slicer

    monkeypatch.setenv("MISFM_HOME", str(tmp_path / "home"))
    load_module(MODULE)
    from MISFMSlicer.Panel import DeviceView, ModelActions
    from MISFMSlicer.Setup import Requirements

    monkeypatch.setattr(Requirements, "missingRequirements", list)
    monkeypatch.setattr(FakeCommand, "started", [])
    monkeypatch.setattr(DeviceView, "Command", FakeCommand)
    monkeypatch.setattr(ModelActions, "Command", FakeCommand)
    slicer.util.reloadScriptedModule("MISFM")
    slicer.mrmlScene.Clear(False)  # what the panel of the last test has chosen
    widget = slicer.modules.MISFMWidget
    widget.logic._runner = FakeRunner()
    widget.enter()
    panel = Panel(host, widget)
    panel.settle()
    yield panel
    widget.segmentTab.cancel()
