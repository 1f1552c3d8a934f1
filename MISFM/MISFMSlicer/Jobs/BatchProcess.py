"""One command of the library for a whole batch: its output, and every way to end it early.

Slicer's own Python hears no signals, Slicer's stdout is a pipe to Slicer itself, and its launcher
dies without telling it: all three are looked after here.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .WorkerEnvironment import workerEnvironment
from .WorkerProcess import groupOptions, killTree

_LOOK_AROUND_S = 0.2
_TIDY_UP_S = 10.0
"""So long the library may take to write down that a case was cancelled and to remove its files."""
_CLOSED_PIPE = 141
"""What a shell says of a program that nobody listened to any more: 128 and SIGPIPE."""


class StoppedError(BaseException):
    """The batch was told to end; no Exception, so that nothing on the way takes it for a fault."""

    def __init__(self, exitCode: int) -> None:
        super().__init__(exitCode)
        self.exitCode = exitCode


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block with `StoppedError` (130, 143); a second one nothing.

    Also where SIGINT is ignored, as for what a shell starts in the background.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _frame: Any) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise StoppedError(128 + number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def runBatch(words: Sequence[str], python: str, events: Any = None) -> int:
    """Run ``misfm`` with these words, pass on what it says; return its exit code.

    Args:
        words: What stands after ``misfm`` in a terminal.
        python: Program that runs it.
        events: An open file that gets its stdout, while stderr goes to ours; None for both to ours.

    Raises:
        StoppedError: A signal came, whoever started Slicer is gone, or nobody reads its output; the
            command was ended, and has tidied up.
    """
    process = subprocess.Popen(
        [python, "-m", "MISFMLib", *words],
        env=workerEnvironment(python),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # whose end tells it also of a Slicer that was killed
        stderr=subprocess.PIPE if events else subprocess.STDOUT,
        **groupOptions(),
    )
    text = _Text()
    targets = {process.stdout: events or text, process.stderr: text}
    output: queue.SimpleQueue[tuple[Any, bytes]] = queue.SimpleQueue()
    readers = [
        threading.Thread(target=_read, args=(stream, target, output), daemon=True)
        for stream, target in targets.items()
        if stream is not None
    ]
    for reader in readers:
        reader.start()
    try:
        _passOn(output, len(readers))
        return process.wait()
    except StoppedError:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TIDY_UP_S)
        raise
    finally:
        killTree(process)
        for reader in readers:
            reader.join(_LOOK_AROUND_S)


class _Text:
    """Writes to Python's stdout, since a Slicer without console has no other."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(self, chunk: bytes) -> None:
        sys.stdout.write(self._decoder.decode(chunk))
        sys.stdout.flush()


def _read(stream: Any, target: Any, output: queue.SimpleQueue[tuple[Any, bytes]]) -> None:
    while chunk := stream.read1(1 << 16):
        output.put((target, chunk))
    output.put((target, b""))
    stream.close()


def _passOn(output: queue.SimpleQueue[tuple[Any, bytes]], streams: int) -> None:
    parent, pipes = os.getppid(), _outputPipes()
    while streams:
        with contextlib.suppress(queue.Empty):
            target, chunk = output.get(timeout=_LOOK_AROUND_S)
            streams -= not chunk
            try:
                target.write(chunk)
            except BrokenPipeError as error:
                raise StoppedError(_CLOSED_PIPE) from error
        if os.getppid() != parent:
            raise StoppedError(128 + signal.SIGTERM)
        if any(map(_isUnread, pipes)):
            raise StoppedError(_CLOSED_PIPE)


def _outputPipes() -> list[int]:
    """Return the pipes that this process writes to, with the one that Slicer keeps as its stdout.

    Slicer puts pipes of its own at 1 and 2, to show in its log what is written there, and passes
    that on to copies of the real ones.
    """
    if os.name == "nt":
        return []
    import fcntl
    import stat

    pipes = []
    for number in range(1, 256):
        with contextlib.suppress(OSError):
            isPipe = stat.S_ISFIFO(os.fstat(number).st_mode)
            isWritten = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            # Python's own pipes, such as to a worker that has ended, are closed for children.
            isOurs = fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            if isPipe and isWritten and not isOurs:
                pipes.append(number)
    return pipes


def _isUnread(pipe: int) -> bool:
    """Tell whether nobody is left who could read what is written to a pipe."""
    import select

    poll = select.poll()
    poll.register(pipe, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
