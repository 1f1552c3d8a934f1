"""The ``misfm`` command, also ``python -m MISFMLib``, from its first to its last moment."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys

from MISFMLib.commands.failures import asks_for_json, failure
from MISFMLib.errors import JobCancelled, OutputError
from MISFMLib.events import event_to_json

_READER_GONE = 141
"""Exit code of programs whose output nobody reads any more: 128 and the number of SIGPIPE."""


def main() -> int:
    """Run the command line of this process and return its exit code."""
    _open_standard_streams()
    # Importing all commands takes a moment, in which Ctrl-C would end in a traceback.
    signal.signal(signal.SIGINT, _end_at_once)
    signal.signal(signal.SIGTERM, _end_at_once)
    from MISFMLib import cli

    try:
        try:
            exit_code = cli.main()
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Python flushes once more on its way out, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # such as `misfm --help | head`
            return _READER_GONE
        with contextlib.suppress(OSError):
            sys.stderr.write(f"Error: The output cannot be written: {error.strerror}.\n")
        exit_code = OutputError.exit_code
    with contextlib.suppress(OSError):  # nobody sees the notices: the result stands
        sys.stderr.flush()
        return exit_code
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return exit_code


def _open_standard_streams() -> None:
    """Open streams that whoever started us has closed, so that no result takes their number.

    Names of files need not be text; where they are shown, what is no text is written as an escape.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Python has made None of a stream that was closed.
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end_at_once(_number: int, _frame: object) -> None:
    if asks_for_json(sys.argv):
        os.write(1, f"{event_to_json(failure(JobCancelled()))}\n".encode())
    else:
        os.write(2, b"Error: Cancelled.\n")
    os._exit(JobCancelled.exit_code)


if __name__ == "__main__":
    sys.exit(main())
