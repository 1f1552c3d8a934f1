"""A minimal signal, so that what is below the panel needs no Qt to tell what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls every connected function, in the order in which they were connected."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Call a function from now on; connecting it twice has no effect."""
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Call it no longer; disconnecting what is not connected has no effect."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, *arguments: Any) -> None:
        """Call the functions; a slot may connect and disconnect while it is called."""
        for slot in list(self._slots):
            slot(*arguments)
