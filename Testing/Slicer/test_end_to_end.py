"""From a volume in the scene to a segmentation, with the real library and the bundled model.

The library needs torch: these tests run where MISFM_PYTHON names a Python that has it.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "MISFM"))

pytestmark = [
    pytest.mark.skipif("MISFM_PYTHON" not in os.environ, reason="MISFM_PYTHON is not set"),
    pytest.mark.slow,
]
_MODEL = "hippocampus-mr"


@pytest.fixture
def logic(host):
    from MISFMSlicer.Jobs.Logic import MISFMLogic

    logic = MISFMLogic()
    yield logic
    logic.close()


@pytest.fixture
def volume(make_volume):
    """A volume with noise, as far from axis-aligned as it gets."""
    import slicer

    volume = make_volume("oblique", shape_kji=(24, 32, 28), spacing_ijk=(1.0, 1.0, 1.0))
    rng = np.random.default_rng(1)
    array = slicer.util.arrayFromVolume(volume)
    array[:] = rng.integers(0, 400, array.shape)
    slicer.util.arrayFromVolumeModified(volume)
    return volume


def request(volume, **options):
    from MISFMSlicer.Job import SegmentRequest

    return SegmentRequest((volume,), _MODEL, options={"device": "cpu", "overlap": 0.0, **options})


def run(logic, job):
    logic.waitFor(job, timeoutS=300)
    assert job.failure is None, f"{job.failure}\n{job.log}"
    return job


def grid_of(told):
    """Return the matrix from voxel indices to RAS of the grid that the library has seen."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(told["direction"], (3, 3)) * told["spacing_dhw"][::-1]
    matrix[:3, 3] = told["origin_xyz"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def ijk_to_ras(volume):
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def test_a_volume_becomes_a_segmentation_and_the_second_time_the_worker_is_warm(logic, volume):
    import slicer
    from MISFMSlicer.Scene.Segmentations import provenance

    from MISFMLib.models.store import find_model

    first = run(logic, logic.start(request(volume)))
    process = logic._runner._worker._process.pid
    second = run(logic, logic.start(request(volume)))
    assert logic._runner._worker._process.pid == process
    assert "start" not in {second.progress.stage}
    manifest = find_model(_MODEL).manifest
    told = provenance(first.result.segmentation)
    assert told["WeightsSHA256"] == manifest.weights_sha256
    assert [item.name for item in first.result.volumes] == [item.name for item in manifest.labels]
    np.testing.assert_allclose(grid_of(first.result.report["input"]), ijk_to_ras(volume), atol=1e-9)
    for job in (first, second):
        segmentation = job.result.segmentation.GetSegmentation()
        for item in job.result.volumes:
            if item.voxels:
                segment_id = segmentation.GetSegmentIdBySegmentName(item.name)
                array = slicer.util.arrayFromSegmentBinaryLabelmap(
                    job.result.segmentation, segment_id, volume
                )
                assert array.shape == (24, 32, 28)
                assert (array > 0).sum() == item.voxels
    print(f"\nfirst {first.seconds:.1f} s, second {second.seconds:.1f} s")


def test_cancel_ends_the_workers_processes_within_a_second(host, logic, make_volume):
    volume = make_volume(shape_kji=(80, 80, 80), spacing_ijk=(1.0, 1.0, 1.0))
    job = logic.start(request(volume, mirroring=True, overlap=0.5))
    host.wait_until(lambda: job.progress.stage == "segment", timeout_s=120)
    process = logic._runner._worker._process
    start = time.monotonic()
    logic.cancel(job)
    assert time.monotonic() - start < 1
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert job.state.value == "cancelled"


def test_a_model_that_does_not_exist_is_told(logic, volume):
    from MISFMSlicer.Job import SegmentRequest

    job = logic.start(SegmentRequest((volume,), "hippocampus-rm"))
    logic.waitFor(job, timeoutS=120)
    assert job.failure.code == "model-unknown"
    assert "hippocampus-mr" in job.failure.remedy
