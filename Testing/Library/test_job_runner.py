"""The job runner of the Slicer module, with workers that do everything a worker should not."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from MISFMLib.events import Failed, Finished, Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

from MISFMSlicer.Jobs.JobRunner import JobRunner
from MISFMSlicer.Jobs.WorkerEnvironment import findPython, workerEnvironment

PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

def tell(**event):
    print(json.dumps(event), flush=True)

def finish(**report):
    tell(event="Finished", report=report)

def job():
    return json.loads(sys.stdin.readline())
"""


@pytest.fixture
def make_runner(tmp_path):
    """Make a runner whose worker is a script; `job()` in it waits for a command."""
    runners = []

    def make(*scripts, **options):
        path = tmp_path / "ein Wörker 工.py"
        path.write_text("".join(map(textwrap.dedent, (PRELUDE, *scripts))), "utf-8")
        command = [sys.executable, str(path)]
        runners.append(JobRunner(command, environment=dict(os.environ), **options))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


def events_of(runner, timeout_s=20.0):
    """Poll until the job has ended, and a little longer."""
    events = []
    deadline = time.monotonic() + timeout_s
    while runner.isBusy:
        assert time.monotonic() < deadline, f"no end after {events}"
        events += runner.poll()
        time.sleep(0.01)
    return events + runner.poll()


def run(runner, job_file=Path("job.json")):
    runner.start(job_file)
    return events_of(runner)


def wait_until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def are_gone(processes, timeout_s=1.0):
    """Whether processes end in time; one that nobody has collected yet has ended too."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_s / 2)
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def failure_of(events):
    (last,) = events
    assert isinstance(last, Failed)
    assert last.message
    assert last.remedy
    return last


# --------------------------------------------------------------------------------------- success


def test_events_arrive_in_order_and_end_with_the_report(make_runner):
    runner = make_runner(
        """
        file = job()["file"]
        tell(event="Progress", stage="segment", fraction=0.5, message="half", eta_s=1.0)
        finish(file=file)
        job()
        """
    )
    job_file = Path("Ordner mit Leerzeichen") / "任务.json"
    assert run(runner, job_file) == [
        Progress("segment", 0.5, "half", 1.0),
        Finished({"file": str(job_file)}),
    ]


def test_the_worker_stays_for_the_next_job(make_runner):
    runner = make_runner(
        """
        while True:
            job()
            finish(process=os.getpid())
        """
    )
    assert not runner.isWarm
    first, second = run(runner), run(runner)
    assert first == second
    assert runner.isWarm
    assert runner.hasRun
    runner.close()
    runner.prepare()
    assert runner.isWarm
    assert not runner.hasRun


def test_a_worker_that_left_while_idle_is_replaced(make_runner):
    runner = make_runner("job(); finish(process=os.getpid())")
    (first,) = run(runner)
    wait_until(lambda: not runner.isWarm)
    (second,) = run(runner)
    assert isinstance(second, Finished)
    assert first != second


def test_prepare_starts_the_worker_that_the_job_then_uses(make_runner):
    runner = make_runner(
        """
        started = time.time()
        tell(event="Progress", stage="start", fraction=0.0)
        job()
        finish(process=os.getpid())
        """
    )
    runner.prepare()
    assert runner.isWarm
    assert not runner.hasRun
    assert runner.poll() == []
    process = runner._worker._process.pid
    assert run(runner)[-1] == Finished({"process": process})


def test_an_idle_worker_loads_the_model_of_the_job_to_come(make_runner):
    runner = make_runner(
        """
        heard = []
        while True:
            heard.append(job())
            if heard[-1]["command"] == "run":
                finish(heard=heard)
        """
    )
    runner.prepare({"model": "a"})
    assert not runner.isBusy
    runner.start(Path("job.json"))
    runner.prepare({"model": "b"})
    (event,) = events_of(runner)
    load = {"command": "load", "config": {"model": "a"}, "measure": False}
    assert event == Finished({"heard": [load, {"command": "run", "file": "job.json"}]})


def test_two_jobs_at_once_are_a_mistake_of_the_caller(make_runner):
    runner = make_runner("job(); time.sleep(60)")
    runner.start(Path("job.json"))
    with pytest.raises(RuntimeError, match="running already"):
        runner.start(Path("job.json"))


def test_release_is_sent_to_an_idle_worker_only(make_runner):
    runner = make_runner(
        """
        heard = []
        while True:
            heard.append(job()["command"])
            if heard[-1] == "run":
                finish(heard=heard)
        """
    )
    run(runner)
    runner.releaseMemory()
    runner.start(Path("job.json"))
    runner.releaseMemory()
    events_of(runner)
    assert run(runner) == [Finished({"heard": ["run", "release", "run", "run"]})]


# ---------------------------------------------------------------------------------------- failure


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("job(); sys.exit(3)", "worker-ended", "exit code 3"),
        ("job()", "worker-ended", "exit code 0"),
        ("sys.exit('no torch')", "worker-ended", "exit code 1"),
        ("job(); raise ValueError('oops')", "worker-ended", "exit code 1"),
    ],
    ids=["exit 3", "exit 0 without a result", "dies before the job", "exception"],
)
def test_a_worker_that_ends_without_a_result_is_one_failure(make_runner, script, code, said):
    failure = failure_of(run(make_runner(script)))
    assert failure.code == code
    assert said in failure.message


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("SIGSEGV", "worker-crashed", "SIGSEGV"), ("SIGKILL", "worker-killed", "lack of memory")],
)
def test_a_worker_that_a_signal_ends_is_told_by_its_cause(make_runner, name, code, said):
    failure = failure_of(run(make_runner(f"job(); os.kill(os.getpid(), signal.{name})")))
    assert failure.code == code
    assert said in failure.message


def test_a_missing_program_is_one_failure(tmp_path):
    runner = JobRunner([str(tmp_path / "no such program")], environment={})
    failure = failure_of(run(runner))
    assert failure.code == "worker-not-started"
    assert "no such program" in failure.message
    assert not runner.isWarm


def test_a_file_that_is_no_program_is_one_failure(tmp_path):
    (tmp_path / "text").write_text("no program")
    assert failure_of(run(JobRunner([str(tmp_path / "text")]))).code == "worker-not-started"


def test_lines_that_are_no_events_go_to_the_log(make_runner):
    runner = make_runner(
        """
        job()
        print("Warning: no event", flush=True)
        print('{"event": "Nonsense"}', flush=True)
        print('{"event": "Finished", "reprot": {}}', flush=True)
        print("[1, 2]\\n\\n{", flush=True)
        sys.stderr.write("from C code\\n")
        sys.stderr.flush()
        finish(answer=42)
        job()
        """
    )
    assert run(runner) == [Finished({"answer": 42})]
    for line in ("Warning: no event", "Nonsense", "reprot", "from C code"):
        assert line in runner.log()


def test_bytes_that_are_no_text_do_no_harm(make_runner):
    runner = make_runner(
        r"""
        job()
        sys.stdout.buffer.write(b"\xff\xfe\x00 latin: \xe9\n")
        sys.stdout.buffer.flush()
        sys.stderr.buffer.write(b"\xe9\xff\n")
        sys.stderr.buffer.flush()
        finish(answer=42)
        job()
        """
    )
    assert run(runner) == [Finished({"answer": 42})]
    assert "latin: \N{REPLACEMENT CHARACTER}" in runner.log()


def test_a_result_without_its_line_break_counts_when_the_worker_has_ended(make_runner):
    runner = make_runner('job(); sys.stdout.write(\'{"event": "Finished", "report": {}}\')')
    assert run(runner) == [Finished({})]


def test_what_comes_after_the_last_event_is_dropped(make_runner):
    runner = make_runner("job(); finish(a=1); finish(a=2); sys.exit(3)")
    assert run(runner) == [Finished({"a": 1})]
    wait_until(lambda: not runner.isWarm)
    assert runner.poll() == []


def test_a_flood_of_output_neither_blocks_nor_hides_the_result(make_runner):
    runner = make_runner(
        """
        job()
        for _ in range(60):
            sys.stdout.write(("x" * 99 + "\\n") * 1000)
            sys.stderr.write(("y" * 99 + "\\n") * 1000)
        finish(answer=42)
        """
    )
    assert run(runner) == [Finished({"answer": 42})]
    assert len(runner.log()) < 50_000


def test_a_worker_that_tells_nothing_is_taken_for_hung(make_runner):
    runner = make_runner("job(); print('noise', flush=True); time.sleep(60)", silenceTimeoutS=0.3)
    assert failure_of(run(runner)).code == "worker-hung"
    assert not runner.isWarm


def test_the_log_tells_how_the_worker_was_started_and_ended(make_runner):
    runner = make_runner("job(); sys.stderr.write('Traceback: é\\n'); sys.exit(3)")
    run(runner)
    for part in (sys.executable, "exit code 3", "Traceback: é"):
        assert part in runner.log()


# ----------------------------------------------------------------------------- cancel and clean-up

WITH_CHILD = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
job()
tell(event="Progress", stage="segment", fraction=0.1, message=f"{os.getpid()} {child.pid}")
"""


def processes_of(runner):
    runner.start(Path("job.json"))
    events = []
    wait_until(lambda: events.extend(runner.poll()) or events, 20)
    return [psutil.Process(int(number)) for number in events[0].message.split()]


def test_cancel_ends_the_worker_and_its_children_within_a_second(make_runner):
    runner = make_runner(WITH_CHILD, "time.sleep(60)")
    processes = processes_of(runner)
    start = time.monotonic()
    runner.cancel()
    assert are_gone(processes)
    assert time.monotonic() - start < 1
    assert not runner.isBusy
    assert runner.poll() == []


def test_a_job_can_follow_a_cancelled_one(make_runner):
    runner = make_runner(
        "name = job()['file']; finish(file=name) if name == 'b' else time.sleep(60)"
    )
    runner.start(Path("a"))
    runner.cancel()
    assert run(runner, Path("b")) == [Finished({"file": "b"})]


def test_children_that_a_dead_worker_left_behind_are_ended(make_runner):
    runner = make_runner(WITH_CHILD, "time.sleep(1); sys.exit(3)")
    processes = processes_of(runner)
    events = events_of(runner)
    assert are_gone(processes)
    assert failure_of(events).code == "worker-ended"


def test_a_worker_that_ignores_polite_signals_is_ended(make_runner):
    runner = make_runner(
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        """,
        WITH_CHILD,
        "time.sleep(60)",
    )
    processes = processes_of(runner)
    runner.close()
    assert are_gone(processes)


def test_no_files_are_left(make_runner, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    runner = make_runner("job(); finish(); job()")
    run(runner)
    assert list(folder.iterdir())
    runner.close()
    JobRunner([str(tmp_path / "missing")]).start(Path("job.json"))
    assert not list(folder.iterdir())


# ------------------------------------------------------------------------------------ environment


def test_slicers_own_python_is_found_on_the_path(tmp_path, monkeypatch):
    launcher = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    launcher.write_text("")
    launcher.chmod(0o755)
    monkeypatch.delenv("MISFM_PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert findPython() == str(launcher)
    monkeypatch.setenv("MISFM_PYTHON", "other")
    assert findPython() == "other"
    monkeypatch.delenv("MISFM_PYTHON")
    monkeypatch.setenv("PATH", "")
    assert findPython() == sys.executable


def test_slicers_own_python_keeps_what_the_launcher_set():
    slicer = {"PYTHONHOME": "home", "LD_LIBRARY_PATH": "lib", "PYTHONPATH": "modules"}
    result = workerEnvironment("/slicer/bin/PythonSlicer", slicer)
    assert result["PYTHONHOME"] == "home"
    assert result["LD_LIBRARY_PATH"] == "lib"
    library, modules = result["PYTHONPATH"].split(os.pathsep)
    assert (Path(library) / "MISFMLib").is_dir()
    assert modules == "modules"
    assert slicer["PYTHONPATH"] == "modules"


def test_a_foreign_python_gets_nothing_of_slicers():
    slicer = {"PYTHONHOME": "home", "PYTHONPATH": "modules", "MISFM_PYTHON": "/usr/bin/python3"}
    result = workerEnvironment("/usr/bin/python3", slicer)
    assert "PYTHONHOME" not in result
    assert "modules" not in result["PYTHONPATH"]
