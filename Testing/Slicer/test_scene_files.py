"""Volumes as files for the worker: every type of number, and disks that are full."""

import contextlib
import signal
import sys

import numpy as np
import pytest
from fake_worker import read_nrrd

from MISFMLib.errors import OutputError


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (np.int8, np.int16),
        (np.uint8, np.uint8),
        (np.int16, np.int16),
        (np.int64, np.int32),
        (np.uint64, np.int32),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
@pytest.mark.parametrize("scale", [1, 10**9])
@pytest.mark.standin_only("Slicer crashes when it shows 64-bit integers with this VTK")
def test_every_type_of_number_reaches_the_worker(
    host, make_volume, tmp_path, given, written, scale
):
    import vtk
    from MISFMSlicer.Scene.GridBox import GridBox, boxOf
    from MISFMSlicer.Scene.SceneIO import writeVolume

    if scale > 1 and np.dtype(given).itemsize < 8:
        pytest.skip("as large as the type")
    volume = make_volume()
    array = (np.arange(12 * 16 * 20).reshape(12, 16, 20) % 128).astype(given) * given(scale)
    scalars = vtk.util.numpy_support.numpy_to_vtk(array.ravel(), deep=True)
    volume.GetImageData().GetPointData().SetScalars(scalars)
    for box in (boxOf(volume, None), GridBox((2, 3, 4), (12, 13, 10))):
        writeVolume(volume, box, tmp_path / "x.nrrd")
        read, _ = read_nrrd(tmp_path / "x.nrrd")
        expected = written if scale == 1 or given == np.float64 else np.float32
        assert read.dtype == expected
        np.testing.assert_allclose(read, array[box.slices], rtol=1e-7)


@pytest.fixture
def full_disk():
    """Let no file grow beyond a few bytes, as on a full disk, and end it before pytest prints."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextlib.contextmanager
    def limit():
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limit


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
def test_a_full_disk_is_told(host, make_volume, tmp_path, full_disk):
    import slicer
    from MISFMSlicer.Scene.Export import exportNifti, exportStl
    from MISFMSlicer.Scene.GridBox import boxOf
    from MISFMSlicer.Scene.SceneIO import writeVolume

    volume = make_volume()
    with full_disk(), pytest.raises(OSError, match="space on the disk"):
        writeVolume(volume, boxOf(volume, None), tmp_path / "x.nrrd")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    noise = np.random.default_rng(0).integers(0, 2, (12, 16, 20), np.uint8)
    segment = node.GetSegmentation().AddEmptySegment("", "noise")
    slicer.util.updateSegmentBinaryLabelmapFromArray(noise, node, segment, volume)
    for export, name in (
        (lambda: exportNifti(node, volume, tmp_path / "y.nii.gz"), "y.nii.gz"),
        (lambda: exportStl(node, tmp_path), "noise.stl"),
    ):
        with full_disk(), pytest.raises(OutputError, match=f"/{name} cannot be .*may be full"):
            export()
    assert [path.name for path in tmp_path.iterdir()] == ["x.nrrd"]
