"""Trainings that outlive the panel: found again whatever happened to them or to Slicer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from MISFMLib.events import Failed, Finished, Metric

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "MISFM"))

from MISFMSlicer.Jobs import TrainingProcess as module  # noqa: E402
from MISFMSlicer.Jobs.TrainingProcess import TrainingProcess, TrainingState  # noqa: E402
from MISFMSlicer.Jobs.Trainings import findTrainings, newTraining  # noqa: E402

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and file locks of POSIX")
PRELUDE = """
import json, os, sys, time
from pathlib import Path
job = json.loads(Path("job.json").read_text())
run = Path(job["config"]["output"] + ".run")
run.mkdir(exist_ok=True)
(run / "settings.json").touch()
def tell(**event):
    print(json.dumps(event), flush=True)
"""
ENDLESS = """
tell(event="Progress", stage="train", fraction=0.1)
tell(event="Metric", step=1, values={"loss": 0.5})
while True:
    time.sleep(0.02)
    control = run / "control"
    if control.exists():
        word = control.read_text()
        if word == "pause":
            tell(event="Failed", message="Cancelled.", code="cancelled")
            sys.exit(130)
        if word == "finish":
            tell(event="Finished", report={"bundle": "b"})
            sys.exit(0)
"""


@pytest.fixture
def training(request, monkeypatch):
    if "priority" not in request.node.name:  # the lowest waits for whatever else a computer does
        monkeypatch.setattr(module, "_lowerPriority", lambda _pid: None)
    made = newTraining("finetune", {"data": "d"}, {"title": "T"})
    yield made
    made.kill()


@pytest.fixture
def script(tmp_path):
    def write(body):
        path = tmp_path / "training.py"
        path.write_text(PRELUDE + textwrap.dedent(body))
        return [sys.executable, str(path)]

    return write


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def heard_of_a_step(training):
    training.poll()
    return 1 in training.metrics


def test_a_training_says_what_happens_and_ends(training, script):
    training.start(
        script(
            """
            tell(event="Metric", step=10, values={"loss": 1.0})
            tell(event="Metric", step=10, values={"dice/liver": 0.5})
            tell(event="Finished", report={"bundle": "b"})
            """
        )
    )
    wait_for(lambda: not training.isRunning)

    events = training.poll()

    assert [type(event) for event in events] == [Metric, Metric, Finished]
    assert training.metrics == {10: {"loss": 1.0, "dice/liver": 0.5}}
    assert training.state is TrainingState.FINISHED
    assert training.poll() == []


def test_it_is_found_again_by_another_slicer_while_it_runs(training, script):
    training.start(script(ENDLESS))
    wait_for(lambda: heard_of_a_step(training))

    (again,) = findTrainings("finetune")

    assert again.about == {"title": "T"}
    assert again.state is TrainingState.RUNNING
    assert again.metrics == {1: {"loss": 0.5}}
    assert findTrainings("pretrain") == []


def test_it_outlives_the_process_that_started_it(tmp_path, script, monkeypatch):
    code = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "MISFM")!r}]
from MISFMSlicer.Jobs import TrainingProcess as module
from MISFMSlicer.Jobs.Trainings import newTraining
module._lowerPriority = lambda _pid: None
newTraining("finetune", {{"data": "d"}}, {{"title": "T"}}).start({script(ENDLESS)!r})
import os; os.kill(os.getpid(), 9)
"""
    starter = subprocess.run([sys.executable, "-c", code], check=False)
    assert starter.returncode == -signal.SIGKILL

    (found,) = findTrainings()
    wait_for(lambda: heard_of_a_step(found))
    assert found.state is TrainingState.RUNNING
    found.ask("pause")
    wait_for(lambda: not found.isRunning)
    found.poll()
    assert found.state is TrainingState.PAUSED


def test_a_paused_training_goes_on_with_resume(training, script):
    training.start(script(ENDLESS))
    assert training.job["config"]["resume"] is False
    wait_for(lambda: heard_of_a_step(training))
    training.ask("pause")
    wait_for(lambda: not training.isRunning)
    training.poll()
    assert training.state is TrainingState.PAUSED
    (training.output.with_name("model.run") / "control").unlink()

    training.start(script(ENDLESS))
    assert training.job["config"]["resume"] is True
    wait_for(lambda: training.poll() != [])
    assert training.state is TrainingState.RUNNING

    training.ask("finish")
    wait_for(lambda: not training.isRunning)
    training.poll()
    assert training.state is TrainingState.FINISHED


def test_a_killed_training_is_told_from_a_failed_one_and_goes_on(training, script):
    training.start(script(ENDLESS))
    wait_for(lambda: heard_of_a_step(training))
    os.kill(json.loads((training.folder / "process.json").read_text())["pid"], signal.SIGKILL)
    wait_for(lambda: not training.isRunning)
    assert training.state is TrainingState.KILLED
    with (training.folder / "events.jsonl").open("a") as file:
        file.write('{"event": "Metr')  # half a line, as a kill leaves it

    training.start(script('tell(event="Failed", message="No", code="bad-option")'))
    wait_for(lambda: not training.isRunning)
    training.poll()

    assert training.state is TrainingState.FAILED
    assert training.end == Failed("No", "bad-option")


def test_discard_leaves_nothing(training, script):
    training.start(script(ENDLESS))
    wait_for(lambda: heard_of_a_step(training))
    training.discard()
    assert not training.folder.exists()
    assert not training.isRunning
    assert findTrainings() == []


def test_a_running_training_is_not_started_twice(training, script):
    training.start(script(ENDLESS))
    with pytest.raises(RuntimeError):
        TrainingProcess(training.folder).start(script(ENDLESS))


def test_it_computes_at_the_lowest_priority(training, script):
    training.start(script("tell(event='Metric', step=1, values={'nice': os.nice(0)})"))
    wait_for(lambda: not training.isRunning, timeout_s=60.0)
    training.poll()
    # The process may have asked before it was lowered; later ones never do.
    assert training.metrics[1]["nice"] in (0, 19)


def test_trainings_of_one_second_have_folders_of_their_own():
    folders = {newTraining("finetune", {}, {"n": number}).folder for number in range(3)}
    assert len(folders) == 3


def test_a_program_that_is_missing_raises_and_nothing_runs(training):
    with pytest.raises(OSError, match="nowhere"):
        training.start(["/nowhere/python"])
    assert not training.isRunning


@pytest.mark.slow
def test_a_real_training_is_killed_and_goes_on_to_its_model(tmp_path, write_case, monkeypatch):
    pytest.importorskip("lightning_fabric")
    monkeypatch.setattr(module, "_lowerPriority", lambda _pid: None)  # it waits for other tests
    for index, name in enumerate("abcd"):
        files = (tmp_path / f"set/{kind}/{name}.nii.gz" for kind in ("imagesTr", "labelsTr"))
        write_case(*files, shape=(12 + index, 14, 16))
    monkeypatch.setenv("MISFM_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    config = {"data": str(tmp_path / "set"), "network": "unet3d-small", "steps": 10}
    config |= {"checkpoint_every": 2, "validate_every": 10, "batch_size": 1, "device": "cpu"}
    config |= {"threads": 1}
    training = newTraining("finetune", config, {"title": "T"})
    training.start()
    wait_for(lambda: (training.folder / "model.run/checkpoint.pt").exists(), 300)
    training.kill()
    training.poll()
    assert training.state is TrainingState.KILLED

    training.start()
    wait_for(lambda: not training.isRunning, 300)
    training.poll()
    assert training.state is TrainingState.FINISHED, training.log()
    assert (training.output / "models/model.safetensors").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_everything_else_goes_first_by_priority(training, script):
    training.start(script(ENDLESS))
    pid = json.loads((training.folder / "process.json").read_text())["pid"]

    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    group = Path(f"/proc/{pid}/autogroup")  # there, where the kernel makes a group of each session
    assert not group.exists() or group.read_text().split()[-1] == "19"
