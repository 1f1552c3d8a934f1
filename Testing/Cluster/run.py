"""Start clusters on this machine, disturb the work on them, and print what was killed and lost.

    python Testing/Cluster/run.py [dask] [slurm] [--folder FOLDER] [--only NAME ...]

dask needs the package distributed; slurm needs root and Debian's slurm-wlm and munge. Every process
that is started is ended again, also those of a start before this one that was killed. Not for CI:
it takes some minutes, and the system's own SLURM. Ends with 1 if a trial went otherwise than it
should; the others are carried out all the same.
"""

from __future__ import annotations

import argparse
import getpass
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from dask_trial import try_dask
from material import REPOSITORY, Log, end_processes
from slurm_trial import try_slurm

TRIALS = {"dask": try_dask, "slurm": try_slurm}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", choices=[*TRIALS, []], default=[])
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of trials")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    with lock_trials():
        left = end_processes()
        if left:
            print(f"ended {left} processes of a trial that was killed", file=sys.stderr)
        folder = arguments.folder or Path(tempfile.mkdtemp(prefix="misfm-cluster-"))
        log, started = Log(only=arguments.only), time.monotonic()
        print("| Killed | Lost | Afterwards |\n| --- | --- | --- |", flush=True)
        try:
            for name in arguments.trials or TRIALS:
                TRIALS[name](folder / name, log)
        finally:
            end_processes()
        print(f"{time.monotonic() - started:.0f} s, {log.failures} failures", file=sys.stderr)
        if log.failures:
            print(f"see {folder}", file=sys.stderr)
        elif arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return min(log.failures, 1)


def lock_trials() -> IO[str]:
    """Refuse to begin while another trial is at work, whose processes would be ended."""
    sys.path.insert(0, str(REPOSITORY))
    from MISFMLib.events import ignore_events
    from MISFMLib.locks import open_locked

    name = f"misfm-cluster-{getpass.getuser()}.lock"
    return open_locked(Path(tempfile.gettempdir(), name), ignore_events) or sys.exit(
        "Another trial is at work on this machine."
    )


if __name__ == "__main__":
    sys.exit(main())
