"""Label maps that Slicer's own classes have read and written fit their images voxel by voxel."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

PYTHON = os.environ.get("MISFM_PYTHON")
SHAPE_KJI = (6, 7, 8)
BRIGHT = 1000
READ = """
import json, sys
from pathlib import Path
import numpy as np
from MISFMLib.data.case_reading import read_case
from MISFMLib.data.cases import Case
from MISFMLib.errors import MISFMError
image, label = map(Path, sys.argv[1:])
try:
    volume, labels = read_case(Case("a", (image,), label))
except MISFMError as error:
    print(json.dumps(error.code))
else:
    assert labels.geometry == volume.geometry
    marked = volume.array_CDHW[0][labels.array_DHW > 0].tolist()
    print(json.dumps([np.unique(labels.array_DHW).tolist(), marked, sorted(labels.names.values())]))
"""
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


def compared(image, label, program=COMPARE):
    done = subprocess.run(
        [PYTHON, "-c", program, str(image), str(label)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def read_by_the_library(image, label):
    """Return values, intensities of the labelled voxels and names; or the code of the error."""
    return json.loads(compared(image, label, READ))


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
    label = saved_segment(scene, label_map_of(scene, node), tmp_path)
    compared(image, label)


def saved_segment(scene, drawn, folder, *, is_cropped=False):
    """Save a label map as a segmentation; cropped, it holds the box around the voxels only."""
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
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetCropToMinimumExtent(is_cropped)
    scene.AddNode(storage)
    path = folder / "labels.seg.nrrd"
    storage.SetFileName(str(path))
    assert storage.WriteData(segmentation)
    return path


@pytest.mark.skipif(not PYTHON, reason="needs the Python of the library in MISFM_PYTHON")
@pytest.mark.parametrize("slices", [1, 2])
def test_a_segment_of_which_slicer_saves_a_slice_or_two_lies_where_it_was_drawn(
    loaded, tmp_path, slices
):
    scene, node, image = loaded
    drawn = label_map_of(scene, node)
    voxels = vtk_to_numpy(drawn.GetImageData().GetPointData().GetScalars()).reshape(SHAPE_KJI)
    voxels[np.flatnonzero(voxels.any(axis=(1, 2)))[slices:]] = 0
    label = saved_segment(scene, drawn, tmp_path, is_cropped=True)
    assert f"sizes: 2 3 {slices}\n".encode() in label.read_bytes()
    assert read_by_the_library(image, label) == [[0, 1], [BRIGHT] * 6 * slices, ["bright"]]


@pytest.mark.skipif(not PYTHON, reason="needs the Python of the library in MISFM_PYTHON")
def test_a_segmentation_without_voxels_says_that_nothing_is_there(host, loaded, tmp_path):
    scene, node, image = loaded
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)
    segmentation.GetSegmentation().AddEmptySegment("s", "tumour")
    kind = slicer.vtkMRMLSegmentationStorageNode
    label = saved(scene, segmentation, tmp_path / "labels.seg.nrrd", kind)
    assert b"sizes: 1 1 1\n" in label.read_bytes()
    assert read_by_the_library(image, label) == [[0], [], ["tumour"]]


@pytest.mark.skipif(not PYTHON, reason="needs the Python of the library in MISFM_PYTHON")
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_label_maps_of_any_type_are_read_exactly_or_refused(loaded, tmp_path, suffix):
    """Slicer imports 0.6 as 0 and -1 as a segment without voxels; the library refuses both."""
    scene, node, image = loaded
    drawn = label_map_of(scene, node)
    scalars = vtk_to_numpy(drawn.GetImageData().GetPointData().GetScalars()).reshape(SHAPE_KJI)
    for kind, value, expected in (
        (np.float32, 1, [[0, 1], [BRIGHT] * 12, []]),
        (np.float64, 3, [[0, 3], [BRIGHT] * 12, []]),
        (np.int32, 70, [[0, 70], [BRIGHT] * 12, []]),
        (np.float32, 0.6, "label-not-integer"),
        (np.int16, -1, "label-out-of-range"),
    ):
        drawn.SetAndObserveImageData(vtk_image((scalars * np.float64(value)).astype(kind)))
        label = saved(scene, drawn, tmp_path / f"labels-{value}{suffix}")
        assert read_by_the_library(image, label) == expected, value
