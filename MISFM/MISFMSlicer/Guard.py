"""Slots whose errors reach the user: Slicer prints what a slot raises and goes on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any


def guarded(slot: Callable[..., None]) -> Callable[..., None]:
    """Decorate a method that Qt, VTK or a signal calls; its object has ``report(error)``."""

    @functools.wraps(slot)
    def call(self: Any, *arguments: Any) -> None:
        try:
            slot(self, *arguments)
        except Exception as error:
            logging.getLogger(__name__).exception("MISFM: %s failed", slot.__qualname__)
            self.report(error)

    return call
