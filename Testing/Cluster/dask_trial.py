"""Dask workers as processes of their own, and batches whose parts are killed."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from material import (
    MISFM,
    MODEL,
    Log,
    fresh,
    make_scans,
    results,
    run,
    table,
    wait_for,
)


class Cluster:
    """A scheduler and two workers, each in a process of its own with a nanny."""

    def __init__(self, folder: Path, memory: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self._memory = memory
        self.scheduler = self._start_scheduler()
        self.workers = [self._start_worker() for _ in range(2)]

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        port = self.address.rpartition(":")[2]
        words = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        return run([sys.executable, "-m", "dask", *words], self._folder)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        words = ["worker", self.address, "--nthreads", "1", "--memory-limit", self._memory]
        words += [
            "--no-dashboard",
            "--local-directory",
            str(self._folder),
            "--death-timeout",
            "600",
        ]
        return run([sys.executable, "-m", "dask", *words], self._folder)

    def restart_scheduler(self) -> None:
        """Kill the scheduler and start another one at its address."""
        self.kill_scheduler()
        self.scheduler = self._start_scheduler()
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers = [self._start_worker() for _ in range(2)]

    def kill_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler.wait()

    def kill_worker(self, number: int) -> None:
        """Kill the process that computes; its nanny starts another one."""
        children = psutil.Process(self.workers[number].pid).children()
        for child in children:
            if "resource_tracker" not in " ".join(child.cmdline()):
                child.kill()

    def end(self) -> None:
        """End all processes."""
        for process in (*self.workers, self.scheduler):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(folder: Path, memory: str = "3GB") -> Iterator[Cluster]:
    it = Cluster(folder, memory)
    try:
        yield it
    finally:
        it.end()


def command(scans: Path, out: Path, *options: str) -> Sequence[str]:
    return [
        *MISFM,
        "segment",
        str(scans),
        "-m",
        MODEL,
        "-o",
        str(out),
        "--events",
        "json",
        *options,
    ]


def try_dask(folder: Path, log: Log, cases: int = 12) -> None:
    """Kill a worker, the client, the scheduler; let a case be too large for every worker."""
    fresh(folder).mkdir(parents=True)
    scans = make_scans(folder / "scans", cases)
    with cluster(folder) as it:
        at_cluster = ("--scheduler", it.address)
        _worker(folder, scans, it, log, cases)
        _client(folder, scans, at_cluster, "dask", log, cases)
        _scheduler(folder, scans, it, log, cases)
    _client(folder, scans, ("--workers", "2"), "--workers 2", log, cases)
    _twins(folder, scans, log, cases)
    _too_large(folder, scans, log, cases)


def _worker(folder: Path, scans: Path, it: Cluster, log: Log, cases: int) -> None:
    out = folder / "worker"
    client = run(command(scans, out, "--scheduler", it.address), folder)
    wait_for(lambda: len(results(out)) >= 3)
    before = results(out)
    it.kill_worker(0)
    assert client.wait(600) == 0
    log.check("dask: a worker (SIGKILL), in the middle of a case", before, out, cases)


def _client(
    folder: Path, scans: Path, options: Sequence[str], name: str, log: Log, cases: int
) -> None:
    out = folder / f"client-{len(log.rows)}"
    client = run(command(scans, out, *options), folder)
    wait_for(lambda: len(results(out)) >= 3)
    before = results(out)
    client.kill()
    client.wait()
    time.sleep(1)
    assert run(command(scans, out, *options), folder).wait(600) == 0
    log.check(f"{name}: the client (SIGKILL), then the same command", before, out, cases)


def _scheduler(folder: Path, scans: Path, it: Cluster, log: Log, cases: int) -> None:
    out = folder / "scheduler"
    client = run(command(scans, out, "--scheduler", it.address), folder)
    wait_for(lambda: len(results(out)) >= 3)
    before = results(out)
    it.kill_scheduler()
    started = time.monotonic()
    code = client.wait(300)
    seconds = time.monotonic() - started
    it.restart_scheduler()
    assert run(command(scans, out, "--scheduler", it.address), folder).wait(600) == 0
    name = f"dask: the scheduler (SIGKILL); the client ended with {code} after {seconds:.0f} s"
    log.check(f"{name}, then the same command", before, out, cases)


def _twins(folder: Path, scans: Path, log: Log, cases: int) -> None:
    out = folder / "twins"
    twins = [run(command(scans, out), folder) for _ in range(2)]
    assert [twin.wait(600) for twin in twins] == [0, 0]
    log.check("two batches in one folder at once, nothing killed", {}, out, cases)


def _too_large(folder: Path, scans: Path, log: Log, cases: int) -> None:
    """A case that is killed for memory three times; the others are done."""
    import numpy as np
    import SimpleITK as sitk

    out = folder / "large"
    noise = np.random.default_rng(0).integers(0, 500, (560, 560, 560), np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(scans / "large.nii"))
    with cluster(folder, "1GB") as it:
        code = run(command(scans, out, "--scheduler", it.address), folder).wait(900)
    (scans / "large.nii").unlink()
    rows = table(out)
    row = rows.pop("large")
    done = sum(row["status"] == "done" for row in rows.values())
    assert (code, row["status"], row["code"]) == (8, "failed", "worker-died"), (code, row)
    assert done == cases
    log.add(
        "dask: workers of 1 GB, killed for memory by their nanny over one case too large",
        "that case",
        f"tried {row['tries']} times, failed as {row['code']}; {done} done",
    )


if __name__ == "__main__":
    try_dask(Path(sys.argv[1]), Log())
