"""The logs of the last runs and Copy report: they tell what happened, and name nobody."""

import time
from pathlib import Path

import pytest

from MISFMLib.events import Failed, Notice


@pytest.fixture
def logs(tmp_path):
    """Return the texts of the logs, the oldest first."""
    folder = tmp_path / "home" / "logs"
    return lambda: [path.read_text("utf-8") for path in sorted(folder.glob("*.txt"))]


def test_a_run_leaves_a_log_with_versions_options_result_and_the_workers_words(
    panel, make_volume, logs
):
    make_volume(name="Jane Doe")
    panel.settle()
    panel.segment()
    (log,) = logs()
    for words in ("MISFM 0.", "Slicer 5.", "Model: hippocampus-mr", "20 x 16 x 12 voxels"):
        assert words in log
    assert "1 of 3 labels found" in log
    assert "finished after" in log
    assert "what the worker wrote" in log
    assert "Jane" not in log


def test_a_failed_run_leaves_what_copy_report_copies(panel, make_volume, logs):
    import slicer

    make_volume()
    panel.settle()
    panel.runner.events = [
        Notice("A notice."),
        Failed("It broke.", code="bad-x", remedy="Mend it."),
    ]
    panel.segment()
    panel.ui.copyReportButton.click()
    assert logs() == [slicer.app.clipboard().text()]
    assert "bad-x: It broke.\nMend it." in logs()[0]
    assert "Note: A notice." in logs()[0]


def test_a_cancelled_run_leaves_a_log_too(panel, make_volume, logs):
    make_volume()
    panel.settle()
    panel.runner.holds = True
    panel.start()
    panel.widget._onCancelKey()
    assert "cancelled after" in logs()[0]


def test_only_the_last_logs_are_kept(panel, make_volume, logs, monkeypatch):
    seconds = iter(range(100))
    monkeypatch.setattr(time, "strftime", lambda _format: f"2026-11-23-{next(seconds):04d}")
    make_volume()
    panel.settle()
    from MISFMSlicer.Job import Job, JobState, SegmentRequest
    from MISFMSlicer.Jobs import RunLog

    job = Job(SegmentRequest((), "models/some model"), "title", JobState.FINISHED)
    for number in range(25):
        job.log = f"run {number}"
        RunLog.keep(job)
    assert [text.split("run ")[1].strip() for text in logs()] == list(map(str, range(5, 25)))


def test_a_log_that_cannot_be_written_spoils_nothing(panel, make_volume, tmp_path):
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "logs").write_text("a file where the folder should be")
    make_volume()
    panel.settle()
    panel.segment()
    assert panel.shown("resultFrame")
    assert not panel.shown("failureFrame")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('File "/Users/jane/slicer/job.py", line 3', 'File "…/job.py", line 3'),
        (r"C:\Users\Jane Doe\data\x.nii is broken", "…/x.nii is broken"),
        (r"\\server\Jane Doe\x.nii", "\\…/x.nii"),
        ("file:///Users/jane doe/y.nii", "…/y.nii"),
        ("data/jane/scan.nii", "…/scan.nii"),
        (f"{Path.home()}/scans of jane/a.nii", "…/a.nii"),
        ("/usr/bin/python -m MISFMLib serve", "…/python -m MISFMLib serve"),
        (
            "see https://pytorch.org/get-started/locally",
            "see https://pytorch.org/get-started/locally",
        ),
        ("CT/MR, 10 / 3 mm", "CT/MR, 10 / 3 mm"),
    ],
)
def test_of_paths_only_the_last_name_is_told(host, text, expected):
    from MISFMSlicer.Jobs.Report import shortenPaths

    assert shortenPaths(text) == expected
