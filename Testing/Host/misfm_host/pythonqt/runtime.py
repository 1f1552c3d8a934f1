"""What the proxies need to know of the running host: where errors go, and who answers dialogs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .dialogs import Dialogs


@dataclass
class Failures:
    """Errors that real Slicer prints and swallows; a test that leaves one here has failed."""

    reports: list[str] = field(default_factory=list)

    def record(self, error: BaseException) -> None:
        """Keep and print an exception that left a slot, a timer or an observer."""
        report = "".join(traceback.format_exception(error))
        self.reports.append(report)
        sys.stderr.write(report)

    def take(self) -> list[str]:
        """Return what was recorded and forget it: the test expected these errors."""
        reports, self.reports = self.reports, []
        return reports


failures = Failures()
dialogs = Dialogs(failures.record)


def call_slot(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call Python code from Qt: as in PythonQt, no exception reaches the caller."""
    try:
        return function(*arguments)
    except Exception as error:
        failures.record(error)
        return None


def watch_observers() -> None:
    """Record the exceptions that VTK and PySide hand to `sys.excepthook`."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            failures.record(error.with_traceback(trace))
        else:
            previous(kind, error, trace)

    sys.excepthook = hook
