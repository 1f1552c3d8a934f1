"""What is chosen for this computer and not saved with the scene."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import slicer


@dataclass(frozen=True)
class Device:
    """A device of this computer, as ``misfm doctor`` found it."""

    name: str
    """auto takes it by this name: cpu, cuda:N or mps."""
    description: str
    """Name of the chip."""
    totalBytes: int
    """Its memory."""
    problem: str = ""
    """Why it does not compute; empty when it does."""


class Settings:
    """Values in QSettings below ``MISFM/``."""

    def __init__(self, store: Any = None) -> None:
        """Use Slicer's settings, or a stand-in for a QSettings."""
        self._store = slicer.app.userSettings() if store is None else store

    @property
    def device(self) -> str:
        """auto, cpu, cuda, cuda:N or mps."""
        return str(self._store.value("MISFM/device", "auto"))

    @device.setter
    def device(self, value: str) -> None:
        self._store.setValue("MISFM/device", value)

    @property
    def threads(self) -> int:
        """CPU threads; 0 for all."""
        try:
            return max(0, int(self._store.value("MISFM/threads", 0)))
        except (TypeError, ValueError):  # somebody has edited the file
            return 0

    @threads.setter
    def threads(self, value: int) -> None:
        self._store.setValue("MISFM/threads", int(value))

    @property
    def devices(self) -> list[Device]:
        """What was found when this computer was last looked at; empty before."""
        try:
            return [Device(**each) for each in json.loads(self._store.value("MISFM/devices", "[]"))]
        except (TypeError, ValueError):  # somebody has edited the file, or another version wrote it
            return []

    @devices.setter
    def devices(self, value: list[Device]) -> None:
        self._store.setValue("MISFM/devices", json.dumps([asdict(device) for device in value]))

    def options(self) -> dict[str, Any]:
        """Return the settings as options of a job."""
        options: dict[str, Any] = {"device": self.device}
        if self.threads:
            options["threads"] = self.threads
        return options
