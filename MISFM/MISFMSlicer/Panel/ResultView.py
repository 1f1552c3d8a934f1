"""The box of a result: what was found, how large it is, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from MISFMLib.errors import DependencyError

from .. import Messages
from ..Guard import guarded
from ..Job import Job
from ..LibraryMessages import forPanel
from ..Scene import DicomSeg, Export
from ..Scene.Edits import differsFromModels, measureAgain
from ..Scene.Segmentations import putTable
from ..Scene.SliceViews import hideUnderOthers, jumpTo, showWithResult
from ..Scene.Surfaces import shrunkIn3D
from ..Setup import Installer
from .PlacesView import PlacesView
from .ResultTable import ResultTable

_KEPT_IN_3D = 0.9
"""Of a structure's volume; with less the user is told."""


class ResultView:
    """Shows one finished job; empty when its segmentation is deleted."""

    def __init__(self, ui: Any, report: Callable[[Exception], None]) -> None:
        """Connect the widgets.

        Args:
            ui: Widgets of the .ui file by their names.
            report: Shows an error to the user.
        """
        self.report = report
        self.canRestore: Callable[[Any], bool] = lambda _segmentation: False
        self._ui = ui
        self._job: Job | None = None
        self._isStale = False
        self._measured: Any = None
        """The vtkSegmentation that was measured; every frame of a sequence has its own."""
        self._places = PlacesView(ui, report)
        self._table = ResultTable(ui)
        ui.exportButton.setMenu(self._exportMenu())
        ui.resultTable.itemSelectionChanged.connect(self._onRowChosen)
        ui.show3DButton.toggled.connect(self._on3DToggled)
        ui.editButton.clicked.connect(self._onEdit)

    @property
    def job(self) -> Job | None:
        """The job that is shown."""
        return self._job

    def showNew(self, job: Job, *, isChosen: bool) -> None:
        """Show a job that has just finished, in the slices over its own volume only.

        Args:
            job: The job.
            isChosen: Whether its volume is the chosen one; of a queue others may be.
        """
        isInFront = self._ui.segmentTab.visible  # other modules keep their views
        if isInFront and isChosen:
            showWithResult(job.request.volumes[0])
        elif isInFront:
            hideUnderOthers()
        self.show(job, in3D=self._ui.show3DBox.checked)

    def show(self, job: Job, *, in3D: bool) -> None:
        """Show a finished job.

        Args:
            job: The job.
            in3D: Make and show surfaces too.
        """
        self._job, self._isStale = job, False
        result = job.result
        self._measured = result.segmentation.GetSegmentation()
        self._ui.resultLabel.text = _headline(job)
        self._showNotices()
        self._fillTable()
        found = not result.isEmpty
        for name in ("tableBox", "show3DButton", "editButton", "exportButton", "addToSetButton"):
            getattr(self._ui, name).visible = found
        self._ui.show3DButton.setSegmentationNode(result.segmentation)
        self._places.show(result)
        self._ui.nextLabel.text = _nextStep(job, canRestore=self.canRestore(result.segmentation))
        self._dicomAction.enabled = bool(job.request.volumes[0].GetAttribute(DicomSeg.INSTANCES))
        self._ui.resultFrame.visible = True
        if found and in3D:
            self._ui.show3DButton.checked = True

    def shown(self) -> tuple[Any, Any]:
        """Return the volume and the segmentation of the result; None twice when it shows none."""
        node = self._segmentation()
        return (self._job.request.volumes[0], node) if node is not None else (None, None)

    def showKept(self, job: Job | None) -> None:
        """Show a result as the scene has kept it, which may have been edited since, or nothing."""
        if job is None:
            self.hide()
        else:
            self.show(job, in3D=False)
            self._isStale = True

    def hide(self) -> None:
        """Show nothing."""
        self._job, self._isStale, self._measured = None, False, None
        self._places.hide()
        self._ui.show3DButton.setSegmentationNode(None)
        self._ui.resultFrame.visible = False

    def update(self) -> None:
        """Show nothing when what is shown was deleted from the scene."""
        node = self._segmentation()
        if node is None:
            if self._job is not None:
                self.hide()
        elif self._isStale or self._measured is not node.GetSegmentation():
            self._measureAgain()

    def onEdited(self, segmentation: Any) -> None:
        """Measure a result again at the next `update`: while somebody paints it would disturb."""
        if segmentation is self._segmentation():
            self._isStale = True

    def _measureAgain(self) -> None:
        self._isStale = False
        node, result = self._segmentation(), self._job.result
        self._measured = node.GetSegmentation()
        sizes = measureAgain(node, result.volumes)
        if [each.shown for each in sizes] == [each.shown for each in result.volumes]:
            return
        result.volumes = sizes
        putTable(node, self._job.request.volumes[0], sizes)
        self._fillTable()
        self._showNotices()
        isEdited = result.frames == 1 or differsFromModels(node)
        self._ui.resultLabel.text = " ".join(
            [_headline(self._job), *([_("Edited since.")] if isEdited else [])]
        )

    def chooseNextPlace(self) -> None:
        """Go to the next place where the model is unsure."""
        self._places.chooseNext()

    def _segmentation(self) -> Any:
        node = self._job.result.segmentation if self._job is not None else None
        return node if node is not None and slicer.mrmlScene.IsNodePresent(node) else None

    def _showNotices(self) -> None:
        """Show what the job warned of, and which segments the 3D view shows too small."""
        warnings = [each.message for each in self._job.notices if each.level == "warning"]
        notices = [*map(forPanel, warnings), _shrunkNotice(self._segmentation())]
        self._ui.resultNoticeLabel.text = "\n".join(filter(None, notices))
        self._ui.resultNoticeLabel.visible = any(notices)

    # ------------------------------------------------------------------------------------- table

    def _fillTable(self) -> None:
        result = self._job.result
        self._table.fill(result.volumes, result.segmentation.GetSegmentation())

    @guarded
    def _onRowChosen(self, *_arguments: Any) -> None:
        """Let the slices show the middle of the segment."""
        node = self._segmentation()
        segmentId = self._table.chosen(node.GetSegmentation()) if node is not None else ""
        if segmentId:
            centre = [0.0, 0.0, 0.0]
            node.GetSegmentCenterRAS(segmentId, centre)
            showWithResult(self._job.request.volumes[0])
            jumpTo(centre)

    # ----------------------------------------------------------------------------------- buttons

    @guarded
    def _on3DToggled(self, isShown: bool, *_arguments: Any) -> None:
        if self._job is None:  # the button lets go of a segmentation that was deleted
            return
        self._showNotices()
        layout = slicer.app.layoutManager()
        if isShown and layout is not None:
            layout.resetThreeDViews()

    @guarded
    def _onEdit(self, *_arguments: Any) -> None:
        """Open the Segment Editor on the result and its volume."""
        node, volume = self._segmentation(), self._job.request.volumes[0]
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(node)
        editor.setSourceVolumeNode(volume)

    def _exportMenu(self) -> Any:
        menu = qt.QMenu(self._ui.exportButton)
        menu.addAction(_("NIfTI label map…")).triggered.connect(self._onExportNifti)
        menu.addAction(_("Surfaces (STL)…")).triggered.connect(self._onExportStl)
        self._dicomAction = menu.addAction(_("DICOM segmentation…"))
        self._dicomAction.triggered.connect(self._onExportDicom)
        return menu

    @guarded
    def _onExportNifti(self, *_arguments: Any) -> None:
        name = f"{self._segmentation().GetName()}.nii.gz"
        path = qt.QFileDialog.getSaveFileName(
            self._ui.exportButton, _("Export"), name, _("NIfTI label map (*.nii.gz)")
        )
        if path:
            volume = self._job.request.volumes[0]
            self._tell(Export.exportNifti(self._segmentation(), volume, Path(path)))

    @guarded
    def _onExportStl(self, *_arguments: Any) -> None:
        folder = self._askForFolder()
        if folder:
            self._tell(Export.exportStl(self._segmentation(), Path(folder)))

    @guarded
    def _onExportDicom(self, *_arguments: Any) -> None:
        folder = self._askForFolder()
        if folder:
            volume = self._job.request.volumes[0]
            files = self._withConverter(
                lambda: DicomSeg.exportDicomSeg(self._segmentation(), volume, Path(folder))
            )
            self._tell(files, _("It is in Slicer's DICOM database too."))

    def _withConverter(self, export: Callable[[], list[Path]]) -> list[Path]:
        """Export; offer to install the converter where it is missing."""
        try:
            return export()
        except DependencyError as error:
            question = f"{error.message} {_('Install it now?')}"
            if error.code != "missing-package" or not slicer.util.confirmOkCancelDisplay(question):
                raise
        with slicer.util.WaitCursor():
            Installer.installPackages([DicomSeg.CONVERTER], DicomSeg.INSTALL)
        return export()

    def _askForFolder(self) -> str:
        return qt.QFileDialog.getExistingDirectory(self._ui.exportButton, _("Export"), "")

    def _tell(self, files: list[Path], more: str = "") -> None:
        names = ", ".join(path.name for path in files)
        folder = str(files[0].parent) if files else ""
        text = _("Written to {folder}: {names}").format(folder=folder, names=names)
        self._ui.nextLabel.text = f"{text}. {more}" if more else text
        self._ui.failureFrame.visible = False  # of an earlier try


def _headline(job: Job) -> str:
    result, time = job.result, Messages.duration(job.seconds)
    name = job.request.volumes[0].GetName()
    if result.isEmpty:
        return _("{volume}: nothing was found.").format(volume=name)
    if result.frames > 1:
        text = _("{volume}: {count} frames segmented in {time}.")
        return text.format(volume=name, count=result.frames, time=time)
    return _("{volume}: segmented in {time}.").format(volume=name, time=time)


def _shrunkNotice(segmentation: Any) -> str:
    shrunk = shrunkIn3D(segmentation, _KEPT_IN_3D) if segmentation is not None else []
    if not shrunk:
        return ""
    shares = ", ".join(f"{name} {100 * kept:.0f} %" for name, kept in sorted(shrunk))
    return _(
        "Smoothing lets the 3D view show less than there is: {shares} of the volume. Smoothing 0,"
        " beside Show 3D in Segment Editor, shows more; exported surfaces keep all."
    ).format(shares=shares)


def _nextStep(job: Job, *, canRestore: bool) -> str:
    if job.result.isEmpty:
        return _("Does the volume show what the model segments? Its card is in Models.")
    text = _("Check the outlines in the slices. Click a row to go there; correct with Edit.")
    if canRestore:
        text += " " + _("Restore previous in Options brings back what was there before.")
    return text
