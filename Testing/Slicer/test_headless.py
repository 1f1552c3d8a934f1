"""MISFMScripts/segment.py without a main window: no dialog, and always an exit code."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from host_fixtures import Host

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

_ROOT = Path(__file__).resolve().parents[2]
_FAKE_PYTHON = """#!{python}
import json, os, sys
sys.stdout.reconfigure(encoding="utf-8")
print(json.dumps({{"arguments": sys.argv[1:], "path": os.environ["PYTHONPATH"]}}, indent=1))
print("Größe 大小")
print("a warning", file=sys.stderr)
for word in sys.argv:
    if os.path.isdir(word):
        print("folder:", sorted(os.listdir(word)))
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""


@pytest.fixture
def fake_python(tmp_path, monkeypatch):
    """A Python for the worker that tells how it was called."""
    fake = tmp_path / "fake python"
    fake.write_text(_FAKE_PYTHON.format(python=sys.executable), "utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("MISFM_PYTHON", str(fake))


@pytest.fixture
def call(application, tmp_path, fake_python):
    """Run the script as `Slicer --no-main-window --python-script` does."""

    def run(*arguments, script=_ROOT / "MISFM" / "MISFMScripts" / "segment.py", **variables):
        return application(
            *("--no-main-window", "--python-script", str(script), "--", *map(str, arguments)),
            home=tmp_path / "home",
            **variables,
        )

    return run


@pytest.fixture(autouse=True)
def output_pipes(host, monkeypatch):
    """The search for the way to the caller; in an application under test it finds none."""
    from MISFMSlicer.Jobs import BatchProcess

    search = BatchProcess._outputPipes
    monkeypatch.setattr(BatchProcess, "_outputPipes", list)
    return search


@pytest.fixture
def run(host, capsys):
    """Do what the script does, in this process; return exit code, output and errors."""
    from MISFMSlicer import Headless

    def run_here(*arguments):
        with host.headless():
            code = Headless.run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run_here


def test_the_exit_code_and_the_output_are_those_of_the_command(call):
    done = call("ct scan.nrrd", "-m", "model", "-o", "out.nrrd", FAKE_EXIT="3")
    assert done.returncode == 3, done.stdout + done.stderr
    words = ["-m", "MISFMLib", "segment", "ct scan.nrrd", "-m", "model", "-o", "out.nrrd"]
    for word in words:
        assert f'"{word}"' in done.stdout
    assert "Größe 大小" in done.stdout
    assert "a warning" in done.stdout


def test_a_broken_installation_does_not_leave_slicer_waiting(call, tmp_path):
    script = tmp_path / "Scripts" / "segment.py"
    script.parent.mkdir()
    script.write_text((_ROOT / "MISFM" / "MISFMScripts" / "segment.py").read_text("utf-8"), "utf-8")
    done = call("ct.nrrd", script=script)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_a_pipe_of_ours_is_not_the_way_to_the_caller(output_pipes):
    reader, writer = os.pipe()
    try:
        assert writer not in output_pipes()
        os.set_inheritable(writer, True)
        assert writer in output_pipes()
    finally:
        os.close(reader)
        os.close(writer)


def test_success_has_the_code_0(run, fake_python):
    code, output, _ = run("--", "ct.nrrd", "-m", "model", "-o", "out.nrrd")
    assert code == 0
    assert '"segment",\n  "ct.nrrd"' in output


@pytest.fixture
def without_packages(extensions, monkeypatch):
    """A Slicer whose Python has none of our packages, and that can install none."""

    def version(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.delenv("MISFM_PYTHON", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", version)


def test_a_missing_package_ends_with_the_command_that_installs_it(run, without_packages):
    code, output, errors = run("ct.nrrd", "-m", "model", "-o", "out.nrrd")
    assert code == 7
    assert "--install" in errors
    assert "-m pip install" in errors
    assert output == ""


def test_install_is_tried_when_told_to_and_its_failure_is_told(run, without_packages):
    code, _, errors = run("--install", "ct.nrrd")
    assert code == 7
    assert "Extensions Manager" in errors


def test_a_program_that_is_missing_ends_with_a_code(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MISFM_PYTHON", str(tmp_path / "absent"))
    code, _, errors = run("ct.nrrd")
    assert code == 7
    assert "absent" in errors


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError, 1), (KeyboardInterrupt, 130), (SystemExit(0), 1)]
)
def test_every_way_out_has_a_code(run, monkeypatch, error, code):
    from MISFMSlicer import Headless

    def leave():
        raise error

    monkeypatch.setattr(Headless, "missingRequirements", leave)
    assert run()[0] == code


def test_a_scene_stands_for_all_its_volumes(run, fake_python, make_volume, tmp_path):
    import slicer

    for direction in ("oblique", "axial"):
        make_volume(direction, name="CT head")
    make_volume("axial", name="../é/1")
    slicer.util.addVolumeFromArray(
        np.zeros((2, 2, 2), np.uint8), nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    path = tmp_path / "patient one.mrb"
    assert slicer.util.saveScene(str(path), {})
    code, output, errors = run(path, "-m", "model", "-o", "out")
    assert code == 0, output + errors
    assert "folder: ['.._é_1.nrrd', 'CT head.nrrd', 'CT head_2.nrrd']" in output
    assert not list(Path(slicer.app.temporaryPath).glob("misfm-scene-*"))


def test_a_scene_without_volumes_is_told(run, fake_python, tmp_path):
    import slicer

    path = tmp_path / "empty.mrb"
    assert slicer.util.saveScene(str(path), {})
    code, _, errors = run(path, "-m", "model", "-o", "out")
    assert code == 3
    assert "holds no volume" in errors


# ---------------------------------------------------------------------------------- ended early

_SLOW_PYTHON = """#!{python}
import os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path({folder!r}, "heard").write_text(str(number))
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print("working", flush=True)
pathlib.Path({folder!r}, "pid").write_text(str(os.getpid()))
for _ in range(600):
    time.sleep(0.1)
"""


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """Start the script with a command that works for a minute; return it when that works."""
    fake = tmp_path / "slow python"
    fake.write_text(_SLOW_PYTHON.format(python=sys.executable, folder=str(tmp_path)), "utf-8")
    fake.chmod(0o755)
    started = []

    def start(**streams):
        script = str(_ROOT / "MISFM" / "MISFMScripts" / "segment.py")
        words = ("--no-main-window", "--python-script", script, "--", "ct.nrrd")
        command, environment = Host.command(*words, home=tmp_path / "home")
        environment |= {"MISFM_PYTHON": str(fake), "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, env=environment, **streams)
        started.append(process)
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def is_gone(tmp_path):
    """Tell whether the command has ended and its folder is removed."""
    try:
        os.kill(int((tmp_path / "pid").read_text()), 0)
    except ProcessLookupError:
        return not list(tmp_path.rglob("misfm-scene-*"))
    return False


@pytest.mark.standin_only("the script that starts the real one takes the signal, and kills it")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_is_the_exit_code(slow, tmp_path, number):
    process = slow()
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    wait_for(lambda: is_gone(tmp_path), 10)
    assert (tmp_path / "heard").read_text() == str(int(signal.SIGTERM))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_closed_pipe_ends_the_command(slow, tmp_path):
    process = slow(stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(20) == 141
    wait_for(lambda: is_gone(tmp_path), 10)


def test_events_go_to_a_file_of_their_own(run, fake_python, tmp_path):
    events = tmp_path / "events.jsonl"
    code, out, _ = run("ct.nrrd", "--events-file", events)
    assert code == 0
    assert '"--events",\n  "json"' in events.read_text("utf-8")
    assert out == "a warning\n"
    code, _, err = run("ct.nrrd", "--events-file", events)
    assert code == 5
    assert "exists already" in err
    assert run("ct.nrrd", "--events-file", events, "--overwrite")[0] == 0
    assert run("ct.nrrd", "--events-file")[0] == 2


def test_a_bent_volume_of_a_scene_is_refused(run, fake_python, make_volume, tmp_path):
    import slicer

    volume = make_volume(name="uneven")
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "acquisition")
    volume.SetAndObserveTransformNodeID(grid.GetID())
    slicer.util.saveScene(str(tmp_path / "bent.mrb"))
    code, _, err = run(tmp_path / "bent.mrb")
    assert code == 3
    assert "uneven" in err
    assert "Harden" in err


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_trainings_have_scripts_of_their_own(call, verb):
    script = _ROOT / "MISFM" / "MISFMScripts" / f"{verb}.py"
    done = call("data", "-o", "model", script=script, FAKE_EXIT="9")
    assert done.returncode == 9, done.stdout + done.stderr
    assert f'"{verb}",\n  "data"' in done.stdout


def test_a_job_file_of_the_panel_is_run(host, fake_python, capsys):
    from MISFMSlicer import Headless

    with host.headless():
        assert Headless.run(["job.json"], "finetune") == 0
    assert '"run",\n  "job.json"' in capsys.readouterr().out


def test_a_scene_with_segmentations_is_a_data_set(host, fake_python, make_volume, tmp_path, capsys):
    import json

    import slicer
    from MISFMSlicer import Headless
    from MISFMSlicer.Scene.SceneCases import addAllOfScene

    from MISFMLib.annotation.training_set import TrainingSet

    slicer.mrmlScene.Clear(False)
    for name, start in (("one", 2), ("two", 3)):
        volume = make_volume(name=name)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} labels")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        array = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        array[start : start + 2, 3:6, 3:6] = 1
        for label in ("liver", "Spleen")[: 1 + (name == "two")]:
            key = node.GetSegmentation().AddEmptySegment("", label)
            if label == "liver":
                slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, key, volume)
    made = TrainingSet.create(tmp_path / "direct")
    addAllOfScene(made)
    assert [label.name for label in made.labels] == ["liver", "Spleen"]
    assert [row.name for row in made.cases()] == ["one", "two"]
    assert json.loads((made.folder / "dataset.json").read_text())["numTraining"] == 2

    path = tmp_path / "patients.mrb"
    assert slicer.util.saveScene(str(path), {})
    with host.headless():
        assert Headless.run([str(path), "-o", "model"], "finetune") == 0
    output = capsys.readouterr().out
    assert "folder: ['.lock', 'cases.csv', 'dataset.json', 'imagesTr'" in output


def test_a_scene_without_segmentations_is_no_data_set(run, fake_python, make_volume, tmp_path):
    import slicer
    from MISFMSlicer import Headless

    slicer.mrmlScene.Clear(False)
    make_volume()
    path = tmp_path / "patient.mrb"
    assert slicer.util.saveScene(str(path), {})
    assert Headless.run([str(path), "-o", "model"], "finetune") == 3
