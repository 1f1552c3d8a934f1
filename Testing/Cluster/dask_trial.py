"""Dask workers as processes of their own, and batches whose parts are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from material import Log, at_work, command, fresh, half_done, make_scans, run, table

CASES = 8
WORKER = ["--nthreads", "1", "--no-dashboard", "--death-timeout", "600"]


class Cluster:
    """A scheduler and two workers, each in a process of its own with a nanny."""

    def __init__(self, folder: Path, memory: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self._memory = memory
        self._start()

    def _start(self) -> None:
        port = self.address.rpartition(":")[2]
        dask = [sys.executable, "-m", "dask"]
        words = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler = run([*dask, *words], self._folder)
        words = ["worker", self.address, *WORKER, "--memory-limit", self._memory]
        words += ["--local-directory", str(self._folder)]
        self.workers = [run([*dask, *words], self._folder) for _ in range(2)]

    def restart(self) -> None:
        """Start all anew at the same address."""
        self.end()
        self._start()

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


def end_well(words: Sequence[str], folder: Path) -> None:
    """Run a command to its end."""
    code = run(words, folder).wait(300)
    assert code == 0, f"ended with {code}, see {folder / 'commands.log'}"


def try_dask(folder: Path, log: Log) -> None:
    """Kill a worker, the client, the scheduler; let a case be too large for every worker."""
    fresh(folder).mkdir(parents=True)
    scans = make_scans(folder / "scans", CASES)
    with cluster(folder) as it:
        at_cluster = ("--scheduler", it.address)
        log.trial("dask: worker", _worker, folder, scans, at_cluster)
        log.trial("dask: client", _client, folder, scans, at_cluster, "dask")
        log.trial("dask: scheduler", _scheduler, folder, scans, it)
    log.trial("workers: client", _client, folder, scans, ("--workers", "2"), "`--workers 2`")
    log.trial("twins", _twins, folder, scans)
    log.trial("dask: memory", _too_large, folder, scans)


def _worker(folder: Path, scans: Path, options: Sequence[str], log: Log) -> None:
    out = folder / "worker"
    client = run(command(scans, out, *options), folder)
    before = half_done(out)
    os.kill(at_work(out)[0], signal.SIGKILL)  # its nanny starts another one
    assert client.wait(300) == 0
    log.check("dask: a worker (SIGKILL), in the middle of a case", before, out, CASES)


def _client(folder: Path, scans: Path, options: Sequence[str], name: str, log: Log) -> None:
    out = folder / f"client-{len(log.rows)}"
    client = run(command(scans, out, *options), folder)
    before = half_done(out)
    client.kill()
    client.wait()
    end_well(command(scans, out, *options), folder)
    log.check(f"{name}: the client (SIGKILL), then the same command", before, out, CASES)


def _scheduler(folder: Path, scans: Path, it: Cluster, log: Log) -> None:
    out = folder / "scheduler"
    client = run(command(scans, out, "--scheduler", it.address), folder)
    before = half_done(out)
    it.scheduler.kill()
    started = time.monotonic()
    code = client.wait(120)
    seconds = time.monotonic() - started
    it.restart()
    end_well(command(scans, out, "--scheduler", it.address), folder)
    name = f"dask: the scheduler (SIGKILL); the client ended with {code} after {seconds:.0f} s"
    log.check(f"{name}, then the same command", before, out, CASES)


def _twins(folder: Path, scans: Path, log: Log) -> None:
    out = folder / "twins"
    twins = [run(command(scans, out), folder) for _ in range(2)]
    assert [twin.wait(300) for twin in twins] == [0, 0]
    log.check("two batches in one folder at once, nothing killed", {}, out, CASES)


def _too_large(folder: Path, scans: Path, log: Log) -> None:
    """A case that is killed for memory three times; the others are done."""
    import numpy as np
    import SimpleITK as sitk

    out = folder / "large"
    noise = np.random.default_rng(0).integers(0, 500, (560, 560, 560), np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(scans / "large.nii"))
    try:
        with cluster(folder, "1GB") as it:
            code = run(command(scans, out, "--scheduler", it.address), folder).wait(300)
    finally:
        (scans / "large.nii").unlink()
    rows = table(out)
    row = rows.pop("large")
    done = sum(row["status"] == "done" for row in rows.values())
    assert (code, row["status"], row["code"]) == (8, "failed", "worker-died"), (code, row)
    assert done == CASES, rows
    log.add(
        "dask: workers of 1 GB, killed for memory by their nanny over one case too large",
        "that case",
        f"tried {row['tries']} times, failed as `{row['code']}`; {done} done",
    )
