"""The sample in the module Sample Data: registered, and fetched without a network."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from panel_fixtures import MODULE, REPOSITORY


@pytest.fixture
def samples(load_module):
    """MISFMSlicer.Setup.Samples, after the application has started."""
    load_module(MODULE)
    return importlib.import_module("MISFMSlicer.Setup.Samples")


def sources():
    import slicer

    return slicer.modules.sampleDataSources["MISFM"]


def test_the_sample_is_registered_once_with_a_picture(samples):
    for _ in range(2):  # as when the module is loaded again
        samples.registerSamples()
    (source,) = sources()
    assert source.sampleName == samples.NAME
    assert Path(source.thumbnailFileName).read_bytes()[:4] == b"\x89PNG"
    assert source.customDownloader is None, "Slicer does not call it for scripts"


def test_without_the_module_sample_data_nothing_happens(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    samples.registerSamples()


def test_a_script_gets_the_sample_without_a_network(samples, host):
    import SampleData

    (source,) = sources()
    (volume,) = SampleData.SampleDataLogic().downloadFromSource(source)
    assert volume.GetName() == samples.NAME
    assert volume.GetImageData().GetDimensions() == (34, 52, 34)
    assert volume.GetImageData().GetScalarRange()[1] > 100


def test_a_copy_that_an_older_version_left_is_fetched_anew(samples, host):
    import SampleData
    import slicer

    (source,) = sources()
    cache = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())
    cache.mkdir(parents=True, exist_ok=True)
    (cache / source.fileNames[0]).write_bytes(b"old")
    (volume,) = SampleData.SampleDataLogic().downloadFromSource(source)
    assert volume.GetImageData().GetDimensions() == (34, 52, 34)


def test_the_file_is_what_the_library_draws(samples, tmp_path):
    if "MISFM_PYTHON" not in os.environ:
        pytest.skip("MISFM_PYTHON is not set")
    code = (
        "import sys, numpy; from pathlib import Path;"
        "from MISFMLib.data.phantom import draw_phantom;"
        "from MISFMLib.volumes.volume import read_volume;"
        "drawn, kept = draw_phantom(1)[0], read_volume(Path(sys.argv[1]));"
        "assert numpy.array_equal(drawn.array_CDHW, kept.array_CDHW);"
        "assert drawn.geometry.same_grid(kept.geometry)"
    )
    command = [os.environ["MISFM_PYTHON"], "-c", code, str(samples._FILE)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for name in ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONNOUSERSITE"):  # of Slicer's launcher
        environment.pop(name, None)
    subprocess.run(command, check=True, env=environment)
