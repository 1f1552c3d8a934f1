"""What became of the cases of a job, written line by line by every process that works on them.

Each process has a file of its own, which it keeps locked while it lives. Whoever makes the table of
the job reads all of them, and removes those whose process has ended once the table holds their
rows. So a kill loses nothing, and nobody waits for anybody.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from MISFMLib.errors import ConfigError, OutputError
from MISFMLib.events import Event, EventSink, ignore_events
from MISFMLib.files import output_error, parse_json
from MISFMLib.jobs.claims import WORK, open_work_file, tidy
from MISFMLib.locks import take
from MISFMLib.replacing import owned, remove_left, set_owner

Row = dict[str, Any]

ENGINE = "engine"
"""File in the work folder where a batch says what computes it."""
_ROWS = "rows-"
_WAIT_S = 60.0
_LONG_S = 86400.0
_BUSY = OutputError(
    "Another run is writing the table.", code="table-busy", remedy="Start this again."
)


class Journal:
    """Takes the rows of this process."""

    def __init__(self, folder: Path, events: EventSink = ignore_events) -> None:
        """Begin a file below an output folder.

        Raises:
            OutputError: The folder is read-only or full.
        """
        name = uuid.uuid4().hex[:12]
        self.path = folder / WORK / f"{_ROWS}{name}.jsonl"
        file = open_work_file(self.path, events)
        assert file is not None  # nobody else knows the name
        self._file = file
        set_owner(name)

    def add(self, row: Row, *, flush: bool = True) -> None:
        """Write a row down; `flush` has the disk keep it too, also when the machine goes down.

        Raises:
            OutputError: The disk is full.
        """
        try:
            self._file.write(json.dumps({**row, "at": time.time()}) + "\n")
            self._file.flush()
            if flush:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(error, self.path) from error

    def close(self) -> None:
        """Give the file free for whoever makes the table."""
        set_owner("")
        self._file.close()


class Journals:
    """The rows of all processes of a folder."""

    def __init__(self, folder: Path, results: Collection[Path] = ()) -> None:
        """Look at the processes that work on an output folder.

        Args:
            folder: The output folder.
            results: Folders where a process that was killed may have left half a result.
        """
        self._folder = folder / WORK
        self._results = results

    def rows(self) -> Iterator[Row]:
        """Yield all rows, the oldest first; a line that a kill has cut is none."""
        return heapq.merge(*map(_rows_of, self._paths()), key=lambda row: float(row["at"]))

    def exist(self) -> bool:
        """Tell whether there may be rows that no table holds yet, or something to tidy up."""
        return self._folder.is_dir()

    def are_written(self) -> bool:
        """Tell whether a process writes rows at this moment."""
        return any(path.exists() and not _has_ended(path) for path in self._paths())

    @contextlib.contextmanager
    def merging(self) -> Iterator[None]:
        """Let one process at a time make the table; then remove what no living one has written.

        Raises:
            OutputError: Another process takes more than a minute.
        """
        try:
            with _writing_tables(self._folder):
                ended = [path for path in self._paths() if _has_ended(path)]
                yield
                owners = {path.stem.removeprefix(_ROWS) for path in ended}
                for place in self._results if owners else ():
                    remove_left(place, owners)
                for path in ended:
                    path.unlink()
                is_idle = not self._paths()
        except OSError as error:
            raise output_error(error, self._folder) from error
        if is_idle:
            self._tidy()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_ROWS}*.jsonl"))

    def _tidy(self) -> None:
        """Remove the folder, unless claims of killed processes are left."""
        if tidy(self._folder.parent):
            for name in ("table", ENGINE):
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
            tidy(self._folder.parent)


def nothing_to_merge(folder: Path) -> ConfigError:
    """Return the error of ``--merge`` where no shard has worked."""
    return ConfigError(
        f"There is nothing to merge: no shard has written to {folder} about these cases.",
        code="nothing-to-merge",
        remedy="Give the inputs and the output folder of the shards, without --merge to compute.",
    )


def _rows_of(path: Path) -> Iterator[Row]:
    with contextlib.suppress(FileNotFoundError), path.open(encoding="ascii") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                row = parse_json(line)
                if isinstance(row, dict) and isinstance(row.get("at"), float):
                    yield row


def _has_ended(path: Path) -> bool:
    """Tell whether the process of a journal has ended; without locks, whether it rests for long."""
    try:
        with path.open("r+", encoding="ascii") as file:
            take(file)
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return time.time() - path.stat().st_mtime > _LONG_S
    return True


@contextlib.contextmanager
def _writing_tables(work: Path) -> Iterator[None]:
    """Write tables beside a work folder: one process at a time, which may be killed over it.

    Its name stands in the file that it locks, so that the next one finds what it was writing.
    """
    name = uuid.uuid4().hex[:12]
    file, is_locked = _lock_patiently(work / "table")
    with file:
        file.seek(0)
        if is_locked:
            remove_left(work.parent, file.read().split())
        file.truncate(0)
        file.write(name)
        file.flush()
        with owned(name):
            yield
        file.truncate(0)


def _lock_patiently(path: Path) -> tuple[IO[str], bool]:
    """Return the open file, and whether the file system has locks."""
    until = time.monotonic() + _WAIT_S
    while True:
        notices: list[Event] = []
        file = open_work_file(path, notices.append)
        if file is not None:
            return file, not notices
        if time.monotonic() > until:
            raise _BUSY
        time.sleep(0.05)
