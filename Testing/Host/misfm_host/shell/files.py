"""The IO manager: which reader loads a file, how nodes are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore
from slicer import vtkDataFileFormatHelper

from .scene import Scene

_TYPES_BY_ENDING = {
    (".seg.nrrd", ".seg.nhdr"): "SegmentationFile",
    (".mrml", ".mrb"): "SceneFile",
    (".vtk", ".vtp", ".stl", ".obj", ".ply"): "ModelFile",
    (".csv", ".tsv"): "TableFile",
    (".txt", ".json.txt", ".xml"): "TextFile",
    (".mrk.json", ".fcsv"): "MarkupsFile",
    (".h5", ".tfm", ".mat"): "TransformFile",
    (".ctbl",): "ColorTableFile",
    (".seq.nrrd", ".seq.mrb"): "SequenceFile",
}
_WRITER_TYPES = {
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLTextNode": "TextFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLTransformNode": "TransformFile",
}


class qSlicerCoreIOManager(QtCore.QObject):
    """Loads and saves nodes."""

    newFileLoaded = QtCore.Signal(dict)
    fileSaved = QtCore.Signal(dict)

    def __init__(self, scene: Scene):
        super().__init__()
        self._scene = scene
        self._readers: dict[str, Callable[[str, dict[str, Any]], Any]] = {
            "VolumeFile": self._read_volume,
            "SegmentationFile": self._read_segmentation,
            "ModelFile": lambda path, _: scene.logics["Models"].AddModel(path),
            "TableFile": lambda path, options: scene.logics["Tables"].AddTable(
                path, options.get("name") or None
            ),
            "TextFile": self._read_text,
            "MarkupsFile": lambda path, _: scene.node.GetNodeByID(
                scene.logics["Markups"].LoadMarkups(path) or ""
            ),
            "TransformFile": lambda path, _: scene.logics["Transforms"].AddTransform(
                path, scene.node
            ),
            "ColorTableFile": lambda path, _: scene.logics["Colors"].LoadColorFile(path),
            "SequenceFile": lambda path, _: scene.logics["Sequences"].AddSequence(path),
        }

    def fileType(self, file: str) -> str:
        name = Path(str(file)).name.lower()
        for endings, file_type in _TYPES_BY_ENDING.items():
            if name.endswith(endings) and (".seg.nrrd" in endings or ".seq." not in name):
                return file_type
        return "VolumeFile"

    def registeredFileReaderCount(self, file_type: str) -> int:
        return int(file_type in self._readers or file_type == "SceneFile")

    def loadNodes(
        self, file_type: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        """Load a file; `loaded` collects the nodes."""
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return self.loadScene(path, bool(properties.get("clear", False)))
        node = self._readers[file_type](path, properties) if Path(path).exists() else None
        if node is None:
            if messages is not None:
                messages.AddMessage(0x10000, f"Error: Loading {path} -  load failed.")
            return False
        if properties.get("name") not in (None, node.GetName()):
            node.SetName(self._scene.node.GetUniqueNameByString(properties["name"]))
        if loaded is not None:
            loaded.AddItem(node)
        self.newFileLoaded.emit({"fileName": path, "nodeIDs": [node.GetID()]})
        return True

    def loadScene(self, path: str, clear: bool = True, _messages: Any = None) -> bool:
        """Load a .mrml or .mrb file."""
        if not Path(path).exists():
            return False
        scene = self._scene.node
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear))
        scene.SetURL(path)
        return bool(scene.Connect() if clear else scene.Import())

    def _read_volume(self, path: str, options: dict[str, Any]) -> Any:
        logic = self._scene.logics["Volumes"]
        flags = logic.LabelMap * bool(options.get("labelmap"))
        flags |= logic.CenterImage * bool(options.get("center"))
        flags |= logic.SingleFile * bool(options.get("singleFile"))
        flags |= logic.DiscardOrientation * bool(options.get("discardOrientation"))
        name = options.get("name") or _node_name(path)
        node = logic.AddArchetypeVolume(path, name, flags)
        if node is not None and options.get("show", True):
            self._show(node)
        return node

    def _show(self, node: Any) -> None:
        logic = self._scene.application_logic
        selection = logic.GetSelectionNode()
        if node.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(node.GetID())
        else:
            selection.SetActiveVolumeID(node.GetID())
        logic.PropagateVolumeSelection()

    def _read_segmentation(self, path: str, options: dict[str, Any]) -> Any:
        logic = self._scene.logics["Segmentations"]
        opacities = bool(options.get("autoOpacities", True))
        node = logic.LoadSegmentationFromFile(path, opacities, options.get("name"))
        if node is not None:
            node.CreateDefaultDisplayNodes()
        return node

    def _read_text(self, path: str, options: dict[str, Any]) -> Any:
        node = self._scene.node.AddNewNodeByClass(
            "vtkMRMLTextNode", options.get("name") or _node_name(path)
        )
        node.SetText(Path(path).read_text(encoding="utf-8"))
        return node

    def fileWriterFileType(self, node: Any, _extension: str = "") -> str:
        return next((t for kind, t in _WRITER_TYPES.items() if node.IsA(kind)), "NoFile")

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """Return the formats a node can be written in, such as "NIfTI (.nii.gz)"."""
        storage = node.CreateDefaultStorageNode()
        if storage is None:
            return []
        storage.SetScene(self._scene.node)
        types = storage.GetSupportedWriteFileTypes()
        return [types.GetValue(index) for index in range(types.GetNumberOfValues())]

    def extractKnownExtension(self, file_name: str, node: Any) -> str:
        extension_of = vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        extensions = map(extension_of, self.fileWriterExtensions(node))
        matching = [e for e in extensions if e and file_name.endswith(e)]
        return max(matching, key=len, default="")

    def saveNodes(self, file_type: str, properties: dict[str, Any], _messages: Any = None) -> bool:
        """Save one node, or the scene."""
        path = str(properties["fileName"])
        if file_type == "SceneFile":
            return self._save_scene(Path(path))
        node = self._scene.node.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        if storage is None:
            return False
        storage.SetFileName(path)
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        saved = bool(storage.WriteData(node))
        if saved:
            self.fileSaved.emit({"fileName": path, "nodeID": node.GetID()})
        return saved

    def _save_scene(self, path: Path) -> bool:
        scene = self._scene.node
        if path.suffix == ".mrml":
            scene.SetURL(str(path))
            return bool(scene.Commit())
        if path.suffix == ".mrb":
            return bool(scene.WriteToMRB(str(path), None))
        path.mkdir(parents=True, exist_ok=True)
        logic = self._scene.application_logic
        return bool(logic.SaveSceneToSlicerDataBundleDirectory(str(path), None))

    def exportNodes(
        self,
        node_ids: list[str],
        file_names: list[str],
        properties: dict[str, Any],
        harden: bool,
        _messages: Any = None,
    ) -> bool:
        """Write nodes without changing how the scene would save them."""
        pairs = zip(node_ids, file_names, strict=True)
        return all(self._export(id_, name, properties, harden) for id_, name in pairs)

    def _export(self, node_id: str, path: str, properties: dict[str, Any], harden: bool) -> bool:
        node = self._scene.node.GetNodeByID(node_id)
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(self._scene.node)
        storage.SetFileName(str(path))
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        transform_id = node.GetTransformNodeID() if node.IsA("vtkMRMLTransformableNode") else None
        if not harden or transform_id is None:
            return bool(storage.WriteData(node))
        copy = self._scene.node.AddNewNodeByClass(node.GetClassName())
        copy.CopyContent(node)
        copy.SetAndObserveTransformNodeID(transform_id)
        copy.HardenTransform()
        written = bool(storage.WriteData(copy))
        self._scene.node.RemoveNode(copy)
        return written


def _node_name(path: str) -> str:
    name = Path(path).name
    for ending in (".seg.nrrd", ".nii.gz", ".mrk.json"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(path).stem
