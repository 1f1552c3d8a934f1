"""A job through what the application does meanwhile: quit, reload, scene close, other layouts.

Each of the first tests runs the application in a process of its own, with a worker that has a child
and listens to nobody: only who ends it on purpose gets rid of it.
"""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from panel_fixtures import MODULE, REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at process numbers of POSIX")
_WORKER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open({pids!r}, "w") as file:
    file.write(f"{{os.getpid()}} {{child.pid}}\\n")
time.sleep(600)
"""
_SCRIPT = """
import sys, time
import numpy as np, slicer
sys.path[:0] = [{repository!r}, {module!r}]
from MISFMSlicer.Setup import Requirements
from MISFMSlicer.Jobs.JobRunner import JobRunner
Requirements.missingRequirements = list
slicer.util.addVolumeFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), name="head")
slicer.util.selectModule("MISFM")
widget = slicer.modules.MISFMWidget
widget.logic._runner = JobRunner([{python!r}, {worker!r}])
deadline = time.monotonic() + 60
def work_until(condition):
    while not condition():
        assert time.monotonic() < deadline, widget.ui.statusLabel.text
        slicer.app.processEvents()
        time.sleep(0.01)
work_until(lambda: widget.ui.segmentButton.enabled)
widget.ui.segmentButton.click()
work_until(lambda: open({pids!r}, "a+").tell() > 0)
assert widget.logic.jobs
{end}
"""


@pytest.fixture
def pids_after(application, tmp_path):
    """Run an application that starts a job and does something; return the worker's processes."""
    started = []

    def run(end):
        pids, worker, script = (tmp_path / name for name in ("pids", "worker.py", "script.py"))
        worker.write_text(_WORKER.format(pids=str(pids)), "utf-8")
        texts = {"repository": REPOSITORY, "module": REPOSITORY / "MISFM", "worker": worker}
        texts |= {"pids": pids, "python": sys.executable}
        script.write_text(
            _SCRIPT.format(**{name: str(text) for name, text in texts.items()}, end=end), "utf-8"
        )
        done = application(
            *("--testing", "--python-script", str(script)),
            home=tmp_path / "home",
            modules=(MODULE,),
            MISFM_HOME=str(tmp_path / "models"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        started.extend(int(word) for word in pids.read_text().split())
        return started

    yield run
    for pid in alive(started):
        os.kill(pid, signal.SIGKILL)


def alive(pids):
    """Return which processes still run; one that has ended may wait for its parent to look."""
    return [
        pid
        for pid in pids
        if Path(f"/proc/{pid}/stat").exists()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ]


@pytest.mark.parametrize(
    "end",
    [
        "slicer.util.exit(0)",
        "slicer.mrmlScene.Clear(False); assert not widget.logic.jobs; import os; os._exit(0)",
        "widget.onReload(); import os; os._exit(0)",
    ],
    ids=["quit", "scene close", "reload"],
)
def test_nothing_of_a_job_survives(pids_after, end):
    """os._exit skips what quitting does: the scene close or the reload has to have done it."""
    pids = pids_after(end)
    deadline = time.monotonic() + 2
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    assert alive(pids) == []


@pytest.mark.usefixtures("drawing")
def test_other_layouts_during_a_job_and_with_its_result_are_no_trouble(panel, make_volume):
    import slicer

    Layout = slicer.vtkMRMLLayoutNode
    layouts = (
        Layout.SlicerLayoutOneUpRedSliceView,
        Layout.SlicerLayoutConventionalView,
        Layout.SlicerLayoutFourUpView,
    )
    panel.ui.uncertaintyBox.click()
    panel.choose(make_volume(name="head"))
    panel.runner.holds = True
    panel.start()
    for layout in layouts:
        slicer.app.layoutManager().setLayout(layout)
        panel.settle()
        assert len(panel.logic.jobs) == 1
    panel.runner.holds = False
    panel.host.wait_until(lambda: not panel.logic.jobs)
    panel.settle()
    for layout in layouts:
        slicer.app.layoutManager().setLayout(layout)
        panel.ui.show3DButton.checked = not panel.ui.show3DButton.checked
        panel.ui.overlayButton.click()
        panel.ui.placesList.setCurrentRow(0)
        panel.settle()
    assert not panel.shown("failureFrame")
    assert panel.ui.resultLabel.text.startswith("head: segmented")
