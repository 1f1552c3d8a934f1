"""Nothing of a patient stays on the disk after Slicer was killed."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def temporary_folder(load_module):
    from panel_fixtures import MODULE

    load_module(MODULE)
    from MISFMSlicer import TemporaryFolder

    return TemporaryFolder


@pytest.fixture
def ended_process():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"] if os.name != "nt" else ["cmd", "/c", "exit"])
    process.wait()
    return process.pid


def test_folders_of_ended_processes_are_removed(temporary_folder, ended_process, tmp_path):
    ours = temporary_folder.makeFolder("job", str(tmp_path))
    left = tmp_path / f"misfm-job-{ended_process}-abc"
    before = tmp_path / f"misfm-worker-{os.getpid()}-of-an-earlier-process"
    running = tmp_path / f"misfm-worker-{os.getppid()}-abc"
    others = tmp_path / "misfm-something-else", tmp_path / "another"
    for folder in (left, before, running, *others):
        folder.mkdir()
        (folder / "volume.nrrd").write_text("voxels")
    temporary_folder.removeLeftovers([str(tmp_path)])
    assert set(tmp_path.iterdir()) == {ours, running, *others}


def test_what_a_killed_slicer_left_is_removed_at_the_next_start(
    temporary_folder, ended_process, host
):
    import slicer
    from MISFMSlicer.Setup.Leftovers import removeLeftovers

    left = Path(slicer.app.temporaryPath) / f"misfm-job-{ended_process}-abc"
    left.mkdir(parents=True)
    removeLeftovers()
    assert not left.exists()


def test_the_files_of_a_job_tell_their_process(panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.holds = True
    panel.start()
    assert panel.runner._folder.name.startswith(f"misfm-job-{os.getpid()}-")
    panel.widget.segmentTab.cancel()
