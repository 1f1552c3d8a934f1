"""Slicer's Segment Editor inside the panel, so that Done is beside it."""

from __future__ import annotations

from typing import Any

import slicer

_NODE = "MISFM.SegmentEditor"


class CorrectionEditor:
    """Made when it is needed for the first time; one for the life of the panel."""

    def __init__(self, ui: Any) -> None:
        """Keep the widgets of the .ui file by their names."""
        self._ui = ui
        self._editor: Any = None
        self._node: Any = None

    def open(self, segmentation: Any, volume: Any) -> None:
        """Edit a segmentation of a volume."""
        if self._editor is None:
            self._editor = slicer.qMRMLSegmentEditorWidget()
            self._editor.setMRMLScene(slicer.mrmlScene)
            self._ui.editorBox.layout().addWidget(self._editor)
            # Those of a widget that is not seen rest: in other tabs and modules, without a case.
            self._editor.installKeyboardShortcuts(self._ui.editorBox)
        self._editor.setMRMLSegmentEditorNode(self._parameters())
        self._editor.setSegmentationNode(segmentation)
        self._editor.setSourceVolumeNode(volume)
        self._ui.editorBox.visible = True

    def putAway(self) -> None:
        """Take no tool; else what is drawn in another module would come in here."""
        if self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.removeViewObservations()

    def close(self) -> None:
        """Put the tools away and edit nothing."""
        self.putAway()
        if self._editor is not None:
            self._editor.setSegmentationNode(None)
        self._ui.editorBox.visible = False

    def _parameters(self) -> Any:
        """Return the editor's node, one that is not saved with the scene."""
        if self._node is None or not slicer.mrmlScene.IsNodePresent(self._node):
            self._node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            self._node.UnRegister(None)
            self._node.SetName(_NODE)
            self._node.SetSaveWithScene(False)
            self._node = slicer.mrmlScene.AddNode(self._node)
        return self._node
