"""Reading volumes in a process of its own, so that a file that brings the reader down costs itself.

ITK and GDCM are programs in C++: on some damaged files they end the process, and no check of ours
can know all of them. The process stays for one volume after the other, and a new one takes its
place when it dies. It imports neither torch nor the caller's main module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from MISFMLib.errors import DataError, MISFMError, is_out_of_memory
from MISFMLib.events import READERS
from MISFMLib.volumes.volume_types import Volume

logger = logging.getLogger(__name__)

DIED = "reader-died"
"""Code of the error of a volume that its reader did not survive."""
_BLOCK_BYTES = 2**24
# The output of the process belongs to the volumes: what C++ prints there goes to stderr.
_START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:] = {path!r}
from MISFMLib.volumes.reader_process import serve
serve(sys.stdin.buffer, answers)
"""


class ReaderProcess:
    """Reads volumes like `read_volume`, in another process. Used as a context."""

    def __init__(self, read: Callable[..., Volume] | None = None) -> None:
        """Set up without starting anything.

        Args:
            read: Function that reads, importable by its name; `read_volume` when None.
        """
        if read is None:
            from MISFMLib.volumes.volume import read_volume as read  # SimpleITK: 90 MB
        self._read = read
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next volume starts a new one."""
        self._end()

    def __call__(self, source: Any, **options: Any) -> Volume:
        """Read a volume.

        Raises:
            MISFMError: What the reader raised, or that it died (code `DIED`).
        """
        process = self._process or self._start()
        try:
            pickle.dump((self._read, source, options), _pipe(process.stdin))
            _pipe(process.stdin).flush()
            answer = _receive(_pipe(process.stdout))
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise self._died(source) from error
        except BaseException:  # such as Ctrl-C: what the process still says belongs to nobody
            self._end()
            raise
        answer, warnings = answer
        for warning in warnings:
            logger.warning("%s", warning)
        if isinstance(answer, BaseException):
            raise answer
        volume: Volume = answer
        return volume

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self._process

    def _died(self, source: Any) -> DataError:
        code = self._end()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        names = source if isinstance(source, tuple | list) else [source]
        return DataError(
            f"The program that read {', '.join(map(str, names))} died ({how}).",
            code=DIED,
            remedy="The file is damaged in a way that its reader does not survive, or the memory "
            "was full. Convert it from its source; it is not tried again without --overwrite.",
        )

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        _pipe(process.stdout).close()
        try:  # one that has died says how; one that reads is ended
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Read volumes until the other side is gone."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            read, source, options = pickle.load(requests)
            with _collected() as warnings:
                answer = _attempt(read, source, options)
            _send(answer, warnings, answers)


def _attempt(read: Callable[..., Volume], source: Any, options: Any) -> Volume | Exception:
    try:
        return read(source, **options)
    except MISFMError as error:
        return error
    except Exception as error:  # judged by the process that asked
        text = f"{type(error).__name__}: {error}"
        return MemoryError(text) if is_out_of_memory(error) else RuntimeError(text)


@contextlib.contextmanager
def _collected() -> Iterator[list[str]]:
    """Collect the warnings of a reader, which are for the process that asked."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    own = logging.getLogger(READERS)
    own.addHandler(handler)
    try:
        yield warnings
    finally:
        own.removeHandler(handler)


def _send(answer: Volume | Exception, warnings: list[str], answers: IO[bytes]) -> None:
    """Send an answer; of a volume the voxels go behind it, block by block, without a copy."""
    if not isinstance(answer, Volume):
        pickle.dump((answer, warnings, None, None), answers)
        answers.flush()
        return
    array = np.ascontiguousarray(answer.array_CDHW)
    rest = dataclasses.replace(answer, array_CDHW=np.empty((0, 0, 0, 0), array.dtype))
    pickle.dump((rest, warnings, array.shape, array.dtype), answers)
    for block in _blocks(array):
        answers.write(block)
    answers.flush()


def _receive(answers: IO[bytes]) -> Any:
    answer, warnings, shape, dtype = pickle.load(answers)
    if shape is None:
        return answer, warnings
    array = np.empty(shape, dtype)
    for block in _blocks(array):
        while block:
            count = answers.readinto(block)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            block = block[count:]
    return dataclasses.replace(answer, array_CDHW=array), warnings


def _blocks(array: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    for start in range(0, len(view), _BLOCK_BYTES):
        yield view[start : start + _BLOCK_BYTES]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise OSError("the process has no pipe")
    return stream
