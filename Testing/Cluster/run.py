"""Start clusters on this machine, disturb the work on them, and print what was killed and lost.

    python Testing/Cluster/run.py [dask] [slurm] [--folder FOLDER] [--cases N]

dask needs the package distributed; slurm needs root and Debian's slurm-wlm and munge. Every process
that is started is ended again. Not for CI: it takes some minutes, and the system's own SLURM.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from dask_trial import try_dask
from material import Log
from slurm_trial import try_slurm

TRIALS = {"dask": try_dask, "slurm": try_slurm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", nargs="*", choices=[*TRIALS, []], default=list(TRIALS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="misfm-cluster-"))
    log = Log()
    print("| Killed | Lost | Afterwards |\n| --- | --- | --- |")
    for name in arguments.trials:
        TRIALS[name](folder / name, log, arguments.cases)


if __name__ == "__main__":
    main()
