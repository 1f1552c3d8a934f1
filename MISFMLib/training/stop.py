"""Asking a training to stop, or to end early, between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from MISFMLib.events import Event, EventSink
from MISFMLib.foreground import claims_folder, is_claimed
from MISFMLib.models import store

Request = Literal["", "pause", "finish"]
"""Nothing; stop and keep the checkpoint to go on from; end now and make a model of the best."""

_LOOK_AGAIN_S = 0.2


@dataclass
class StopRequest:
    """What the user wants of a training that runs: by a signal, or by a word in a file."""

    control: Path | None = None
    """File that may hold ``pause`` or ``finish``; for those who cannot send signals."""
    requested: bool = False
    """Whether a signal came, which asks for a pause."""

    def request(self) -> Request:
        """Return what is asked for now."""
        if self.requested:
            return "pause"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            word = self.control.read_text("utf-8").strip() if self.control else ""
            if word in ("pause", "finish"):
                return word  # type: ignore[return-value]
        return ""


def yielded_s(is_stopped: Callable[[], Request]) -> float:
    """Wait while somebody waits for a segmentation on this machine.

    Args:
        is_stopped: Ends the waiting too.

    Returns:
        Seconds waited; 0 when nobody waits.
    """
    folder = claims_folder(store.home())
    if not is_claimed(folder):
        return 0.0
    started = time.monotonic()
    while is_claimed(folder) and not is_stopped():
        time.sleep(_LOOK_AGAIN_S)
    return time.monotonic() - started


@contextlib.contextmanager
def yielding(network: nn.Module, is_stopped: Callable[[], Request]) -> Iterator[list[float]]:
    """Let a network wait as `yielded_s` does before it computes, in the block.

    Yields:
        The seconds waited each time.
    """
    waited_s: list[float] = []
    hook = network.register_forward_pre_hook(lambda *_: waited_s.append(yielded_s(is_stopped)))
    try:
        yield waited_s
    finally:
        hook.remove()


def yielding_events(events: EventSink) -> EventSink:
    """Hand events on, and wait after each as `yielded_s` does: for work outside of the steps."""

    def hand_on(event: Event) -> None:
        events(event)
        yielded_s(lambda: "")

    return hand_on


@contextlib.contextmanager
def stop_requests(control: Path | None = None) -> Iterator[StopRequest]:
    """Turn the first Ctrl-C (SIGINT) or SIGTERM in the block into a request.

    A second one raises KeyboardInterrupt at once. Outside the main thread signals cannot be
    received, and nothing is changed.

    Args:
        control: File that may ask for the same, see `StopRequest`.
    """
    stop = StopRequest(control)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    previous = {
        number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
