"""The ``misfm`` command, also ``python -m MISFMLib``, from its first to its last moment."""

from __future__ import annotations

import os
import signal
import sys

from MISFMLib.commands.failures import asks_for_json, failure
from MISFMLib.errors import JobCancelled
from MISFMLib.events import event_to_json

_READER_GONE = 141
"""Exit code of programs whose output nobody reads any more: 128 and the number of SIGPIPE."""


def main() -> int:
    """Run the command line of this process and return its exit code."""
    # Importing all commands takes a moment, in which Ctrl-C would end in a traceback.
    signal.signal(signal.SIGINT, _end_at_once)
    from MISFMLib import cli

    try:
        try:
            return cli.main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # such as `misfm --help | head`
        # Python flushes once more on its way out, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE


def _end_at_once(_number: int, _frame: object) -> None:
    if asks_for_json(sys.argv):
        os.write(1, f"{event_to_json(failure(JobCancelled()))}\n".encode())
    else:
        os.write(2, b"Error: Cancelled.\n")
    os._exit(JobCancelled.exit_code)


if __name__ == "__main__":
    sys.exit(main())
