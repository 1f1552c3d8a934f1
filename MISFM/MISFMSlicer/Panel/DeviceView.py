"""The device and the CPU threads in the section Options: settings of this computer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.events import Failed, Finished

from .. import Messages
from ..Guard import guarded
from ..Jobs.Command import Command
from ..Setup import Requirements
from ..Setup.Settings import Device, Settings


class DeviceView:
    """Lists the devices by name; they are looked for when Options opens first, in a process."""

    def __init__(self, ui: Any, settings: Settings, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            settings: Device and threads, and the devices found before.
            report: Shows an error to the user.
        """
        self.report = report
        self.changed: Callable[[], None] = lambda: None
        self._ui = ui
        self._settings = settings
        self._search: Command | None = None
        self._hasLooked = False
        self._isFilling = False
        self._fill()
        ui.threadsBox.value = settings.threads
        ui.deviceSelector.currentIndexChanged.connect(self._onChosen)
        ui.threadsBox.valueChanged.connect(self._onChosen)
        ui.optionsSection.contentsCollapsed.connect(self._onCollapsed)

    def close(self) -> None:
        """End a search that is running."""
        if self._search is not None:
            self._search.close()
            self._search = None

    def _fill(self) -> None:
        selector, found = self._ui.deviceSelector, self._settings.devices
        self._isFilling = True
        selector.clear()
        for name, title in _choices(found, self._settings.device).items():
            selector.addItem(title, name)
        selector.setCurrentIndex(selector.findData(self._settings.device))
        broken = [f"{device.description}: {device.problem}" for device in found if device.problem]
        lines = [_("Automatic takes a GPU if one works."), *broken]
        selector.toolTip = "\n".join(lines)
        self._isFilling = False

    @guarded
    def _onChosen(self, *_arguments: Any) -> None:
        if not self._isFilling:
            self._settings.device = self._ui.deviceSelector.currentData
            self._settings.threads = int(self._ui.threadsBox.value)
            self.changed()

    @guarded
    def _onCollapsed(self, isCollapsed: bool, *_arguments: Any) -> None:
        if isCollapsed or self._hasLooked or Requirements.missingRequirements():
            return
        self._hasLooked = True
        self._search = Command(("doctor",))
        self._search.ended.connect(self._onFound)
        self._search.start()

    @guarded
    def _onFound(self, end: Finished | Failed) -> None:
        self._search = None
        if isinstance(end, Finished):  # else the list stays, and Set-up tells what is wrong
            self._settings.devices = [
                Device(each["name"], each["description"], each["total_bytes"], each["problem"])
                for each in end.report["devices"]
            ]
            self._fill()


def _choices(found: list[Device], chosen: str) -> dict[str, str]:
    """Return the titles of what can be chosen by its name; what is chosen stays among them."""
    gpu = "mps" if sys.platform == "darwin" else "cuda:0"
    names = [device.name for device in found if not device.problem] or [gpu, "cpu"]
    choices = {name: Messages.deviceName(name) for name in ("auto", *names, chosen)}
    chips = [device.description for device in found]
    for device in found:
        if device.name in choices and device.name != "cpu":
            title = _("{device} ({memory})").format(
                device=device.description, memory=Messages.chipMemory(device.totalBytes)
            )
            isAlone = chips.count(device.description) == 1
            choices[device.name] = title if isAlone else f"{title}, {device.name}"
    return choices
