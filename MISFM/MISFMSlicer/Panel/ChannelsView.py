"""Which volumes of the scene belong to a case that comes in: asked where there can be several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet

from ..Guard import guarded
from ..Scene.Channels import (
    alongside,
    gridTexts,
    kindsOf,
    sceneVolumes,
    sharedStart,
    volumeNamed,
)
from ..Scene.SceneIO import isInScene
from .Scrolling import bringIntoView

_NONE = ""
Then = Callable[[list[Any]], None]
"""Called with a volume for each channel."""


class ChannelsView:
    """Asks for the volumes of a case.

    With the first case of a set it is settled what all of its cases consist of: the volume with the
    labels alone, or others of the same patient with it. Where the scene shows no others, and in a
    set of single volumes, nothing is asked.
    """

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self._ui = ui
        self._set: TrainingSet | None = None
        self._then: Then = lambda _volumes: None
        self._choices: list[tuple[Any, Any]] = []
        """Of a new set a box to tick and the name, else None and the list of volumes."""
        self._volumes: list[Any] = []
        table = ui.channelsTable
        table.setColumnCount(2)
        table.verticalHeader().setVisible(False)
        for column in (0, 1):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.Stretch)
        ui.channelsAddButton.clicked.connect(self._onAdd)
        ui.channelsCancelButton.clicked.connect(self._onCancel)

    def begin(self, trainingSet: TrainingSet, volume: Any, then: Then) -> None:
        """Find out what belongs to a case, and go on with it.

        Args:
            trainingSet: The set that the case goes into.
            volume: The volume that was labelled.
            then: Called with the volumes in the order of the set's channels, at once or after
                the user has answered.
        """
        self.end()
        channels = trainingSet.channels
        others = [] if len(channels) == 1 and trainingSet.cases() else alongside(volume)
        if len(channels) == 1 and not others:
            then([volume])
            return
        self._set, self._then = trainingSet, then
        self._volumes = [volume, *others]
        if len(channels) > 1:
            self._askWhich(channels)
        else:
            self._askWhat()
        table = self._ui.channelsTable
        height = sum(table.rowHeight(row) for row in range(table.rowCount))
        table.setFixedHeight(
            int(height + 2 * table.frameWidth + table.horizontalHeader().sizeHint.height())
        )
        self._ui.channelsFrame.visible = True
        bringIntoView(self._ui.channelsFrame)
        self._onChoice()

    def end(self) -> None:
        """Ask nothing any more."""
        self._choices, self._volumes, self._set = [], [], None
        self._ui.channelsTable.setRowCount(0)
        self._ui.channelsFrame.visible = False

    # ------------------------------------------------------------------------------------- asking

    def _askWhat(self) -> None:
        """Ask what every case of a new set consists of."""
        table = self._ui.channelsTable
        table.setHorizontalHeaderLabels([_("Volume"), _("What it is")])
        table.setRowCount(len(self._volumes))
        kinds = kindsOf([volume.GetName() for volume in self._volumes])
        for row, (volume, kind) in enumerate(zip(self._volumes, kinds, strict=True)):
            box, line = qt.QCheckBox(volume.GetName()), qt.QLineEdit(kind)
            box.toolTip = volume.GetName()
            box.checked, box.enabled = row == 0, row > 0
            box.toggled.connect(self._onChoice)
            line.textChanged.connect(self._onChoice)
            table.setCellWidget(row, 0, box)
            table.setCellWidget(row, 1, line)
            self._choices.append((box, line))

    def _askWhich(self, channels: Sequence[str]) -> None:
        """Ask which volume is which channel of a set."""
        table = self._ui.channelsTable
        table.setHorizontalHeaderLabels([_("In each case"), _("Volume of this case")])
        table.setRowCount(len(channels))
        named = _named(channels, self._volumes)
        everything = [*self._volumes, *(v for v in sceneVolumes() if v not in self._volumes)]
        self._volumes = everything
        for row, (channel, found) in enumerate(zip(channels, named, strict=True)):
            table.setItem(row, 0, qt.QTableWidgetItem(channel))
            combo = qt.QComboBox()
            combo.addItem(_("Choose…"), _NONE)
            for volume in everything:
                combo.addItem(volume.GetName(), volume.GetID())
            combo.setCurrentIndex(combo.findData(found.GetID()) if found is not None else 0)
            combo.currentIndexChanged.connect(self._onChoice)
            table.setCellWidget(row, 1, combo)
            self._choices.append((None, combo))

    def _chosen(self) -> list[Any]:
        """Return the volumes in their order, None for one that is not there."""
        if self._choices[0][0] is not None:
            pairs = zip(self._volumes, self._choices, strict=True)
            return [volume for volume, (box, _line) in pairs if box.checked]
        return [
            slicer.mrmlScene.GetNodeByID(combo.currentData) if combo.currentData else None
            for _box, combo in self._choices
        ]

    def _names(self) -> list[str]:
        """Return what the volumes of a new set are; empty of one that has cases."""
        return [
            " ".join(line.text.split())
            for box, line in self._choices
            if box is not None and box.checked
        ]

    def _problem(self) -> str:
        """Return why the case cannot be added so; empty when it can."""
        if any(box is None and not combo.currentData for box, combo in self._choices):
            return _("Choose a volume for each line.")
        chosen, names = self._chosen(), self._names()
        if not all(isInScene(volume) for volume in chosen):
            return _("A volume was removed from the scene: press Cancel, then Add labels again.")
        if len({volume.GetID() for volume in chosen}) < len(chosen):
            return _("The same volume is chosen twice.")
        if len(names) > 1 and (not all(names) or len(set(names)) < len(names)):
            return _("Say what each volume is, each by another name.")
        return ""

    @guarded
    def _onChoice(self, *_arguments: Any) -> None:
        problem = self._problem()
        isNew = self._choices[0][0] is not None
        text = (
            _(
                "These volumes show the same place. Tick those that every case of this training"
                " set shall have, and say what each is, T1 or CT for example."
            )
            if isNew
            else _("Every case of this training set has several volumes. Which are they?")
        )
        self._ui.channelsLabel.text = " ".join(
            [text, problem or " ".join(gridTexts(self._chosen()))]
        )
        self._ui.channelsAddButton.enabled = not problem
        self._ui.channelsAddButton.toolTip = problem
        for box, line in self._choices:
            if box is not None:
                line.enabled = box.checked

    @guarded
    def _onAdd(self, *_arguments: Any) -> None:
        if self._problem():  # a volume has gone meanwhile
            self._onChoice()
            return
        volumes, names, then = self._chosen(), self._names(), self._then
        if len(names) > 1:
            self._set.set_channels(names)
        self.end()
        then(volumes)

    @guarded
    def _onCancel(self, *_arguments: Any) -> None:
        self.end()


def _named(channels: Sequence[str], volumes: Sequence[Any]) -> list[Any]:
    """Return the volume that is named after each channel, None where there is none.

    A scene may hold several patients at the same place: of two volumes of a channel it is the one
    that is named more like the first.
    """
    found: list[Any] = []
    alike = sorted(volumes, key=partial(sharedStart, volumes[0]), reverse=True)
    for channel in channels:
        found.append(volumeNamed(channel, alike, found))
    return found
