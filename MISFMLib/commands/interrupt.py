"""Ctrl-C that works within a second, also while a long computation in C or C++ is under way."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def prompt_interrupt(
    grace_s: float, last_words: Callable[[], None], exit_code: int
) -> Iterator[None]:
    """Let Ctrl-C (SIGINT) and SIGTERM end the block as KeyboardInterrupt, or else the process.

    Python raises KeyboardInterrupt in the main thread only when the C code it is in returns, which
    for reading a large volume takes seconds. The signal is therefore also seen by a thread that
    waits `grace_s` for the block to end by itself, and otherwise ends the process.

    Args:
        grace_s: Seconds that the block has to tidy up after the signal.
        last_words: Called in the waiting thread before it ends the process; must not raise.
        exit_code: Exit status of a process that had to be ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals belong to the main thread; elsewhere the caller has its own way to stop.
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    is_over = threading.Event()

    def watch() -> None:
        if receiver.recv(1) and not is_over.wait(grace_s):
            last_words()
            os._exit(exit_code)

    watcher = threading.Thread(target=watch, name="misfm-interrupt", daemon=True)
    watcher.start()
    previous_handlers = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    previous_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        is_over.set()
        signal.set_wakeup_fd(previous_descriptor)
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        sender.close()
        watcher.join()
        receiver.close()
