"""Volume files without labels, into a training set to be segmented and corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.annotation.training_set import TrainingSet
from MISFMLib.errors import DataError, MISFMError
from MISFMLib.volumes.channel_files import FileCase, cases_of_files

from ..Scene.Channels import writeChannel
from ..Scene.SameImage import caseWithImage

_MOST_SHOWN = 12


class VolumeFilesView:
    """Adds files: at once where each is a case, else after it was shown which belong together."""

    def __init__(self, ui: Any, added: Callable[[], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            added: Called when there are more cases.
        """
        self._ui = ui
        self._added = added

    def choose(self, trainingSet: TrainingSet) -> None:
        """Let the user choose files, and add them."""
        paths = qt.QFileDialog.getOpenFileNames(
            self._ui.addVolumesButton,
            _("Add volumes without labels"),
            "",
            _("Volumes (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd)"),
        )
        self.add(trainingSet, [Path(path) for path in paths or ()])

    def add(self, trainingSet: TrainingSet, paths: Sequence[Path]) -> None:
        """Add files; those that cannot be used, or are in the set already, are named at the end.

        Raises:
            DataError: Some files were not added.
        """
        channels = trainingSet.channels
        cases, alone = cases_of_files(paths, channels)
        if cases and len(channels) > 1 and not self._agrees(cases, alone, channels):
            return
        refused = [
            _("{file}: the other volumes of its case were not found ({channels}).").format(
                file=path.name, channels=", ".join(channels)
            )
            for path in alone
        ]
        refused += _addAll(trainingSet, cases)
        self._added()
        if refused:
            raise DataError(
                _("Not added:") + "\n" + "\n".join(refused),
                code="volumes-refused",
                remedy=_("Name the files of a case alike but for {channels}.").format(
                    channels=", ".join(channels)
                )
                if alone
                else _("The other volumes are in the training set."),
            )

    def _agrees(
        self, cases: Sequence[FileCase], alone: Sequence[Path], channels: Sequence[str]
    ) -> bool:
        """Show which files belong together, and ask whether that is right."""
        lines = [
            f"{case.name}: "
            + ", ".join(
                f"{channel} = {path.name}"
                for channel, path in zip(channels, case.files, strict=True)
            )
            for case in cases[:_MOST_SHOWN]
        ]
        lines += _more(cases)
        if alone:
            lines.append(_("Not used: {files}").format(files=", ".join(p.name for p in alone)))
        lines.append(_("A volume on another grid than the first of its case is resampled to it."))
        return bool(
            slicer.util.confirmOkCancelDisplay(
                "\n".join(lines), windowTitle=_("Are these the volumes of each case?")
            )
        )


def _addAll(trainingSet: TrainingSet, cases: Sequence[FileCase]) -> list[str]:
    """Add cases; return a line for each that was refused, and one for those that were there."""
    refused, known = [], []
    for case in cases:
        try:
            if not _addCase(trainingSet, case):
                known.append(case.name)
        except (MISFMError, RuntimeError) as error:
            refused.append(f"{case.name}: {error}")
    if known:
        refused.append(_("In the training set already: {names}").format(names=_listed(known)))
    return refused


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_SHOWN], *_more(names)])


def _more(things: Sequence[Any]) -> list[str]:
    """Say how many are beyond those that are shown."""
    rest = len(things) - _MOST_SHOWN
    return [_("and {count} more").format(count=rest)] if rest > 0 else []


def _addCase(trainingSet: TrainingSet, case: FileCase) -> bool:
    """Add a case; tell whether its image was not in the set."""
    nodes: list[Any] = []
    try:
        for path in case.files:
            nodes.append(slicer.util.loadVolume(str(path), {"show": False}))
        if caseWithImage(trainingSet, nodes[0]):
            return False
        name = trainingSet.free_name(case.name)
        trainingSet.add_case(name, *(partial(writeChannel, node, nodes[0]) for node in nodes))
        return True
    finally:
        for node in nodes:
            slicer.mrmlScene.RemoveNode(node)
