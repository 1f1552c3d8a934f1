"""Inside Slicer: volumes of every kind, under every kind of transform, through the panel's logic.

`patient_table.py` starts it and judges what it writes: for each step the files that a user would
export, and where each voxel of each segment was drawn.
"""

import json
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from DICOMLib import DICOMUtils

TESTING = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTING.parent), str(TESTING.parent / "MISFM"), str(TESTING / "Slicer")]

from fake_worker import FakeRunner
from MISFMSlicer.Job import SegmentRequest
from MISFMSlicer.Jobs.Logic import MISFMLogic
from MISFMSlicer.Scene.DicomSeg import exportDicomSeg
from MISFMSlicer.Scene.Export import exportNifti, exportStl
from MISFMSlicer.Scene.Segmentations import segments
from MISFMSlicer.Scene.Transforms import ijkToRas, toWorld

from MISFMLib.errors import MISFMError

HALF = "spleen"
"""The segment of which an edit keeps the half, see `phantom` in patient_series.py."""
MOVES = {
    "linear": [[0.766, -0.643, 0, 30], [0.643, 0.766, 0, -12], [0, 0, 1, 7], [0, 0, 0, 1]],
    "scaling": [[2, 0, 0, 0], [0, 1.25, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
}


@dataclass
class Walk:
    """One volume under one kind of transform."""

    volume: Any
    folder: Path
    node: Any = None


# ---------------------------------------------------------------------------------------- volumes


def load(source):
    """Load a DICOM series as the module DICOM does, or make a volume from voxels and a matrix."""
    if "dicom" in source:
        DICOMUtils.importDicom(source["dicom"])
        loaded = DICOMUtils.loadSeriesByUID([source["series"]])
        nodes = map(slicer.mrmlScene.GetNodeByID, loaded)
        return next(node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode"))
    array = np.load(source["voxels"])
    return slicer.util.addVolumeFromArray(array, ijkToRAS=np.array(source["matrix"]), name="volume")


def put_under(volume, kind):
    """Put a volume, with the acquisition transform it may have, under a transform of a kind."""
    if kind == "no":
        return
    top = volume.GetParentTransformNode() or volume
    if kind == "non-linear":
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
    else:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
        matrix = np.array(MOVES.get(kind, MOVES["linear"]))
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    top.SetAndObserveTransformNodeID(transform.GetID())
    if kind == "hardened":
        volume.HardenTransform()


# ------------------------------------------------------------------------------------------ steps


def segment(walk, logic):
    job = logic.start(SegmentRequest((walk.volume,), "fake", output=walk.node))
    logic.waitFor(job, 60)
    if job.failure is not None:
        raise RuntimeError(job.failure)
    walk.node = job.result.segmentation
    millilitres = {item.name: item.volumeMl for item in job.result.volumes}
    (walk.folder / "table.json").write_text(json.dumps(millilitres))


def edit(walk, _logic):
    """Use Segment Editor: a new segment by threshold, and half of one that the model made."""
    widget = slicer.util.getModuleWidget("SegmentEditor")
    widget.enter()  # without a main window nobody selects the module
    editor = widget.editor
    editor.setSegmentationNode(walk.node)
    editor.setSourceVolumeNode(walk.volume)
    segmentation = walk.node.GetSegmentation()
    drawn = segmentation.AddEmptySegment("drawn", "drawn")
    for name, low, high in (
        (drawn, 20, 40),
        (segmentation.GetSegmentIdBySegmentName(HALF), 70, 90),
    ):
        editor.setCurrentSegmentID(name)
        editor.setActiveEffectByName("Threshold")
        effect = editor.activeEffect()
        effect.setParameter("MinimumThreshold", str(low))
        effect.setParameter("MaximumThreshold", str(high))
        effect.self().onApply()
    editor.setActiveEffect(None)


def undo(_walk, _logic):
    """Take back in Segment Editor what the model did last."""
    slicer.util.getModuleWidget("SegmentEditor").editor.undo()


def restore(walk, logic):
    logic.restorePrevious(walk.node)


STEPS = {"segment": segment, "edit": edit, "again": segment, "undo": undo, "restore": restore}


def export(walk, folder):
    """Write what a user would; return why a format was refused."""
    folder.mkdir(parents=True)
    refused = {}
    exports = {
        "nifti": lambda: exportNifti(walk.node, walk.volume, folder / "labels.nii.gz"),
        "stl": lambda: exportStl(walk.node, folder),
        "seg": lambda: exportDicomSeg(walk.node, walk.volume, folder),
    }
    for name, write in exports.items():
        try:
            write()
        except MISFMError as error:
            refused[name] = f"{error.code}: {error}"
    slicer.util.saveNode(walk.node, str(folder / "segmentation.seg.nrrd"))
    describe(walk, folder)
    (folder / "refused.json").write_text(json.dumps(refused))


def describe(walk, folder):
    """Write down where the voxels of the volume are."""
    np.savez(
        folder / "volume.npz",
        voxels=slicer.util.arrayFromVolume(walk.volume),
        grid=ijkToRas(walk.volume),
        world=toWorld(walk.volume),
    )


def reopen(walk):
    """Save the scene, open it again, and write down every segment as voxels of the volume."""
    path = str(walk.folder / "scene.mrb")
    name, node_name = walk.volume.GetName(), walk.node.GetName()
    slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    volume, node = slicer.util.getNode(name), slicer.util.getNode(node_name)
    arrays = {
        segment.GetName(): slicer.util.arrayFromSegmentBinaryLabelmap(node, key, volume)
        for key, segment in segments(node.GetSegmentation())
    }
    np.savez(walk.folder / "reopened.npz", **arrays)
    walk.volume, walk.node = volume, node
    describe(walk, walk.folder)


def walk_through(source, kind, folder):
    """Take one volume through all steps; return how far it came and why not further."""
    slicer.mrmlScene.Clear(0)
    volume = load(source)
    put_under(volume, kind)
    walk = Walk(volume, folder)
    folder.mkdir(parents=True)
    logic = MISFMLogic(FakeRunner())
    try:
        for name, step in STEPS.items():
            step(walk, logic)
            export(walk, folder / name)
        reopen(walk)
    except MISFMError as error:
        return f"{error.code}: {error}"
    finally:
        logic.close()
    return ""


def main():
    sources, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    kinds = ("no", *MOVES, "non-linear", "hardened")
    refused = {}
    with DICOMUtils.TemporaryDICOMDatabase(str(out / "database")):
        for name, source in sources.items():
            for kind in kinds:
                key = f"{name}/{kind}"
                refused[key] = walk_through(source, kind, out / key)
                sys.stdout.write(f"walked {key} {refused[key][:70]}\n")
                sys.stdout.flush()
    (out / "refused.json").write_text(json.dumps(refused))


code = 1
try:
    main()
    code = 0
except BaseException:
    traceback.print_exc()
slicer.util.exit(code)
