"""One case of the catalogue: how its input is made, what is asked, and what is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Case:
    """A fault and what shall become of it."""

    group: str
    name: str
    make: Callable[[Path], list[str]]
    """Makes the input in an empty folder, which is the current one; returns the words."""
    expect: Literal["clear", "right", "either"] = "clear"
    check: Callable[[Path], bool] = field(default=lambda _folder: True)
    """Whether a result is right."""
    before: str = ""
    """Shell commands that a process of its own runs first, such as ``ulimit -f 20``."""
    after: str = ""
    """Redirections of that process, such as ``>/dev/full``."""
    lines: str | None = None
    """What goes to standard input."""

    @property
    def is_alone(self) -> bool:
        """Tell whether it needs a process of its own."""
        return bool(self.before or self.after or self.lines is not None)
