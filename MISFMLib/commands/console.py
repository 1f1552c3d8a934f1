"""How the command line shows events: as a progress bar for people, as JSON lines for programs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from MISFMLib.errors import JobCancelled
from MISFMLib.events import (
    CaseDone,
    Event,
    Failed,
    Finished,
    Metric,
    Notice,
    Progress,
    event_to_json,
)
from MISFMLib.files import output_error


class JsonEvents:
    """Event sink that prints one line of JSON per event, at once.

    When nobody reads the lines any more, the caller is gone and the job is cancelled.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __call__(self, event: Event) -> None:
        """Print the event."""
        try:
            self._stream.write(event_to_json(event) + "\n")
            self._stream.flush()
        except BrokenPipeError as error:
            raise JobCancelled("The program that reads the events is gone.") from error
        except OSError as error:  # such as a log file on a disk that is full
            raise output_error(error, Path("The list of events")) from error

    def close(self) -> None:
        """Nothing to tidy up."""


class ConsoleEvents:
    """Event sink for people: one progress bar per stage and plain lines, all on stderr."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None
        self._stage = ""

    def __call__(self, event: Event) -> None:
        """Show the event; where nobody can see it, the job goes on."""
        with contextlib.suppress(OSError):
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Metric):
            values = "  ".join(f"{name} {value:.4g}" for name, value in event.values.items())
            self._line(f"step {event.step}: {values}")
        elif isinstance(event, Notice):
            self._line(event.message if event.level == "info" else f"Note: {event.message}")
        elif isinstance(event, CaseDone):
            self._line(f"{event.case}: {event.status}. {event.message}".rstrip(" ."))
        elif isinstance(event, Failed):
            self.close()
            self._line(event.traceback.rstrip()) if event.traceback else None
            self._line(f"Error: {event.message}" + (f"\n{event.remedy}" if event.remedy else ""))
        elif isinstance(event, Finished):
            self.close()

    def close(self) -> None:
        """End the bar that is open."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, event: Progress) -> None:
        if self._bar is None or event.stage != self._stage:
            self.close()
            self._stage = event.stage
            self._bar = tqdm(
                total=100,
                desc=event.stage,
                file=self._stream,
                bar_format="{desc:12} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}",
            )
        self._bar.set_postfix_str(event.message, refresh=False)
        self._bar.update(round(100 * event.fraction) - self._bar.n)

    def _line(self, text: str) -> None:
        tqdm.write(text, file=self._stream)
