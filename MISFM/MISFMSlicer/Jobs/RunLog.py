"""A text file for each of the last runs, so that a report can still be made afterwards."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from MISFMLib.errors import OutputError
from MISFMLib.files import written_atomically
from MISFMLib.models import store

from ..Job import Job
from .Report import jobReport

_KEPT = 20
_log = logging.getLogger(__name__)


def folder() -> Path:
    """Return the folder of the logs, which may not exist yet."""
    return store.home() / "logs"


def keep(job: Job) -> None:
    """Write down how a job ended, and remove all but the last logs; never fails the job."""
    model = re.sub(r"[^\w.-]+", "_", Path(job.request.model).name)
    path = folder() / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{model}-{job.state.value}.txt"
    try:
        with written_atomically(path, overwrite=True) as temporary:
            temporary.write_text(jobReport(job), "utf-8")
        for old in sorted(folder().glob("*.txt"))[:-_KEPT]:
            old.unlink()
    except (OSError, OutputError) as error:  # a full disk, say: the result is there all the same
        _log.warning("The log of the run was not kept: %s", error)
