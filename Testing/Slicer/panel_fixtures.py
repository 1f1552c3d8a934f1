"""Fixtures: the panel of the module with a worker that segments by thresholds."""

import html
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from fake_worker import FakeCommand, FakeRunner  # found through the lines above

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "MISFM" / "MISFM.py"


def plain_text(tool_tip):
    """Return the text of a tool tip; Slicer makes a paragraph of plain ones, so that they wrap."""
    lines = tool_tip.removeprefix("<p>").removesuffix("</p>").replace("<br>\n", "\n")
    return html.unescape(lines)


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
        from MISFMSlicer.Jobs import Logic

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Logic, "_POLL_MS", 5)  # nothing is to be seen meanwhile
            self._click()
            self.host.wait_until(lambda: not self.logic.jobs)
        self.settle()

    def start(self):
        """Click Segment and wait until the job is under way, or refused."""
        self._click()
        self.host.wait_until(lambda: self.runner.isBusy or not self.logic.jobs)
        self.hear()

    def hear(self):
        """Wait until the panel has heard what the worker says."""
        self.host.wait_until(lambda: not self.runner._pending)

    def _click(self):
        assert self.ui.segmentButton.enabled, self.ui.statusLabel.text
        self.ui.segmentButton.click()

    def tool_tip(self, name):
        """Return a tool tip without the tags that Slicer adds so that it wraps."""
        return plain_text(getattr(self.ui, name).toolTip)

    def shown(self, name):
        """Tell whether a widget can be seen."""
        return getattr(self.ui, name).visible


class Extensions:
    """Stands for Slicer's Extensions Manager, so that no test downloads anything."""

    def __init__(self):
        self.interactive = True
        self.can_install = False
        self.calls = []

    def isExtensionInstalled(self, name):
        return False

    def installExtensionFromServer(self, *arguments):
        self.calls.append(arguments)
        return self.can_install


@pytest.fixture
def extensions(host, monkeypatch):
    """The Extensions Manager; a test says whether it can install."""
    import slicer

    class Application:
        def __getattr__(self, name):
            return getattr(app, name)

        def extensionsManagerModel(self):
            return manager

    app, manager = slicer.app, Extensions()
    monkeypatch.setattr(slicer, "app", Application())
    return manager


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
    choices = slicer.modules.MISFMWidget.logic.getParameterNode()
    slicer.mrmlScene.RemoveNode(choices)  # those of the panel of the last test
    slicer.util.reloadScriptedModule("MISFM")
    widget = slicer.modules.MISFMWidget
    widget.logic._runner = FakeRunner()
    widget.enter()
    panel = Panel(host, widget)
    panel.settle()
    yield panel
    widget.segmentTab.cancel()
