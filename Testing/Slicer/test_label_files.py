"""Label maps that Slicer's own classes have read and written fit their images voxel by voxel."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

PYTHON = os.environ.get("MISFM_PYTHON")
SHAPE_KJI = (6, 7, 8)
BRIGHT = 1000
COMPARE = """
import sys
from pathlib import Path
import SimpleITK as sitk
from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case
image, label = map(Path, sys.argv[1:])
volume, labels = read_case(Case("a", (image,), label))
assert labels.geometry == volume.geometry
assert ((volume.array_CDHW[0] == 1000) == (labels.array_DHW > 0)).all()
assert int((labels.array_DHW > 0).sum()) == 12
stored = [sitk.ReadImage(str(path)).GetDirection() for path in (image, label)]
print("same axes" if stored[0] == stored[1] else "other axes")
"""


def compared(image, label):
    done = subprocess.run(
        [PYTHON, "-c", COMPARE, str(image), str(label)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def vtk_image(array_KJI):
    image = vtk.vtkImageData()
    image.SetDimensions(*reversed(array_KJI.shape))
    scalars = numpy_to_vtk(np.ascontiguousarray(array_KJI).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image


def saved(scene, node, path, kind=None):
    storage = (kind or slicer.vtkMRMLVolumeArchetypeStorageNode)()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


@pytest.fixture
def loaded(tmp_path):
    """A volume whose axes run to L, A and S, as Slicer has it after loading it from its file."""
    scene = slicer.vtkMRMLScene()
    array = np.arange(np.prod(SHAPE_KJI), dtype=np.int16).reshape(SHAPE_KJI)
    array[1:3, 2:5, 3:5] = BRIGHT
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetAndObserveImageData(vtk_image(array))
    matrix = vtk.vtkMatrix4x4()
    for axis, edge in enumerate((-0.8, 0.9, 2.5)):
        matrix.SetElement(axis, axis, edge)
        matrix.SetElement(axis, 3, 10 * axis)
    node.SetIJKToRASMatrix(matrix)
    path = saved(scene, node, tmp_path / "image.nii.gz")
    again = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(again)
    return scene, again, path


def label_map_of(scene, node):
    """What an annotator draws: all that is bright in the loaded volume."""
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    labels = (scalars == BRIGHT).astype(np.uint8).reshape(SHAPE_KJI)
    drawn = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    drawn.SetAndObserveImageData(vtk_image(labels))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    drawn.SetIJKToRASMatrix(matrix)
    return drawn


@pytest.mark.skipif(not PYTHON, reason="needs the Python of the library in MISFM_PYTHON")
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_labels_drawn_on_a_left_handed_volume_fit_it_voxel_by_voxel(loaded, tmp_path, suffix):
    scene, node, image = loaded
    label = saved(scene, label_map_of(scene, node), tmp_path / f"labels{suffix}")
    assert compared(image, label) == "other axes"  # Slicer has reversed the slices


@pytest.mark.skipif(not PYTHON, reason="needs the Python of the library in MISFM_PYTHON")
def test_segments_drawn_on_a_left_handed_volume_fit_it_voxel_by_voxel(loaded, tmp_path):
    scene, node, image = loaded
    drawn = label_map_of(scene, node)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    oriented = slicer.vtkOrientedImageData()
    oriented.DeepCopy(drawn.GetImageData())
    matrix = vtk.vtkMatrix4x4()
    drawn.GetIJKToRASMatrix(matrix)
    oriented.SetGeometryFromImageToWorldMatrix(matrix)
    segment = slicer.vtkSegment()
    segment.SetName("bright")
    segment.AddRepresentation("Binary labelmap", oriented)
    assert segmentation.GetSegmentation().AddSegment(segment)
    kind = slicer.vtkMRMLSegmentationStorageNode
    label = saved(scene, segmentation, tmp_path / "labels.seg.nrrd", kind)
    compared(image, label)
