"""The sample in the module Sample Data: registered as Slicer asks for it, drawn, loaded, shown."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from panel_fixtures import MODULE


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


def test_without_the_module_sample_data_nothing_happens(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "SampleData", None)
    samples.registerSamples()


@pytest.fixture
def drawing_python(tmp_path, monkeypatch):
    """A Python that has what a fresh Slicer has: no PyTorch, and none of our dependencies."""
    if "MISFM_PYTHON" not in os.environ:
        pytest.skip("MISFM_PYTHON is not set")
    launcher = tmp_path / "python"
    lacking = ("torch", "psutil", "safetensors", "tqdm", "tyro")
    hide = f"import sys; sys.modules.update(dict.fromkeys({lacking}))\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    launcher.write_text(
        f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec "{os.environ["MISFM_PYTHON"]}" "$@"\n'
    )
    launcher.chmod(0o755)
    monkeypatch.setenv("MISFM_PYTHON", str(launcher))


def test_a_click_draws_the_sample_and_shows_it(samples, drawing_python, host):
    import slicer

    (source,) = sources()
    (volume,) = source.customDownloader(source)
    assert volume.GetName() == samples.NAME
    assert volume.GetImageData().GetDimensions() == (34, 52, 34)
    assert volume.GetStorageNode() is None
    shown = slicer.app.applicationLogic().GetSelectionNode().GetActiveVolumeID()
    assert shown == volume.GetID()


def test_a_sample_that_cannot_be_drawn_is_told(samples, host, monkeypatch):
    monkeypatch.setenv("MISFM_PYTHON", "no such program")
    (source,) = sources()
    host.dialogs.answer("Ok")
    with pytest.raises(OSError, match="no such program"):
        source.customDownloader(source)
    (dialog,) = host.dialogs.shown
    assert "could not be drawn" in dialog.text


def test_no_file_is_left_in_the_temporary_folder(samples, host, monkeypatch, tmp_path):
    import slicer

    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setenv("MISFM_PYTHON", str(failing))
    with pytest.raises(subprocess.CalledProcessError):
        samples.loadSample()
    assert list(Path(slicer.app.temporaryPath).glob("misfm-sample-*")) == []
