"""MISFM from Python: every kind of image, the same labels, the examples of the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import MISFMLib as misfm
from MISFMLib.data.phantom import draw_phantom
from MISFMLib.errors import BundleError, ConfigError, DataError, OutputError
from MISFMLib.volumes.in_memory import volume_of
from MISFMLib.volumes.volume import read_label_map, write_label_map, write_volume

DOCUMENT = Path(__file__).resolve().parents[2] / "Docs" / "python.md"


@pytest.fixture(scope="module")
def model():
    return misfm.load_model("hippocampus-mr", engine="torch", overlap=0.0)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_volume(draw_phantom(1)[0], path)
    return path


@pytest.fixture(scope="module")
def labels(model, scan):
    return model.segment(str(scan))


def test_what_the_user_should_know_is_logged_where_nobody_listens(model, scan, caplog):
    ct = sitk.ReadImage(str(scan), sitk.sitkFloat32) - 1000
    model.segment(ct)
    assert "this looks like CT; the model was trained on MR" in caplog.text
    caplog.clear()
    heard = []
    model.segment(ct, events=heard.append)
    assert heard
    assert not caplog.text


def affine_of(image):
    """The RAS affine that nibabel would give for an image."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine = np.eye(4)
    affine[:3, :3] = direction @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def test_a_model_says_what_it_segments(model):
    assert [label.value for label in model.labels] == [1, 2]
    assert len(model.channels) == 1


def test_a_path_gives_an_image_on_the_grid_of_the_file(labels, scan):
    image = sitk.ReadImage(str(scan))
    assert labels.GetSize() == image.GetSize()
    assert np.allclose(labels.GetOrigin(), image.GetOrigin())
    assert np.allclose(labels.GetDirection(), image.GetDirection())
    assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, 1, 2}


def test_an_image_gives_the_labels_of_its_file(model, labels, scan):
    again = model.segment(sitk.ReadImage(str(scan)))
    assert isinstance(again, sitk.Image)
    assert (sitk.GetArrayFromImage(again) == sitk.GetArrayFromImage(labels)).all()


def test_an_array_with_its_affine_gives_the_labels_of_its_file(model, labels, scan):
    image = sitk.ReadImage(str(scan))
    array_XYZ = sitk.GetArrayFromImage(image).T
    found = model.segment(array_XYZ, affine=affine_of(image))
    assert found.shape == array_XYZ.shape
    assert found.flags.c_contiguous
    assert (sitk.GetArrayFromImage(labels) == found.T).all()


def test_an_array_with_spacing_lies_along_the_axes_of_the_patient(model, scan):
    image = sitk.ReadImage(str(scan))
    array = sitk.GetArrayFromImage(image)
    plain = sitk.GetImageFromArray(array)
    plain.SetSpacing((1.5, 1.25, 2.0))
    expected = sitk.GetArrayFromImage(model.segment(plain))
    assert (model.segment(array, spacing=(2.0, 1.25, 1.5)) == expected).all()


def test_an_affine_puts_every_voxel_where_the_image_has_it():
    image = sitk.Image([4, 5, 6], sitk.sitkInt16)
    image[1, 2, 3] = 7
    image.SetSpacing((0.5, 2.0, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    array_XYZ = sitk.GetArrayFromImage(image).T
    volume, _ = volume_of([array_XYZ], None, affine_of(image))
    expected = image.TransformIndexToPhysicalPoint((1, 2, 3))
    assert np.allclose(volume.geometry.position_xyz((3, 2, 1)), expected)
    assert volume.array_CDHW[0, 3, 2, 1] == 7


def test_the_output_is_written_and_never_over_another(model, labels, scan, tmp_path):
    path = tmp_path / "labels.seg.nrrd"
    model.segment(scan, output=path)
    assert (read_label_map(path).array_DHW == sitk.GetArrayFromImage(labels)).all()
    with pytest.raises(OutputError):
        model.segment(scan, output=path)


@pytest.mark.parametrize(
    ("image", "options", "code"),
    [
        (np.zeros((4, 4)), {"spacing": (1, 1, 1)}, "not-three-axes"),
        (np.ones((4, 4, 4)), {"spacing": (1, 1, 1)}, "constant-volume"),
        (np.full((4, 4, 4), np.nan), {"spacing": (1, 1, 1)}, "not-finite"),
        (np.arange(64.0).reshape(4, 4, 4), {}, "unknown-grid"),
        (np.arange(64.0).reshape(4, 4, 4), {"spacing": (0, 1, 1)}, "bad-spacing"),
        (np.arange(64.0).reshape(4, 4, 4), {"spacing": (1, 1)}, "bad-spacing"),
        (np.arange(64.0).reshape(4, 4, 4), {"spacing": 2.0}, "bad-spacing"),
        (np.arange(64.0).reshape(4, 4, 4), {"spacing": ("1", "1", "1")}, "bad-spacing"),
        (np.arange(64.0).reshape(4, 4, 4), {"affine": np.ones((4, 4))}, "bad-affine"),
        (np.arange(64.0).reshape(4, 4, 4), {"affine": np.zeros((4, 4))}, "bad-affine"),
        ("absent.nii.gz", {}, "file-missing"),
        ([], {}, "unknown-grid"),
    ],
)
def test_what_cannot_be_segmented_is_refused(model, image, options, code):
    with pytest.raises(DataError) as caught:
        model.segment(image, **options)
    assert caught.value.code == code
    assert caught.value.remedy


def test_channels_must_lie_on_one_grid(model):
    first, second = sitk.Image([4, 4, 4], sitk.sitkInt16), sitk.Image([4, 4, 4], sitk.sitkInt16)
    first[0, 0, 0] = second[0, 0, 0] = 1
    second.SetOrigin((5.0, 0.0, 0.0))
    with pytest.raises(DataError) as caught:
        model.segment([first, second])
    assert caught.value.code == "grid-mismatch"


def test_channels_may_be_the_fourth_axis_of_a_file(model, scan, tmp_path, monkeypatch):
    class SeenError(Exception):
        pass

    def seen(_model, volume, _events):
        raise SeenError(len(volume.array_CDHW))

    monkeypatch.setattr(type(model), "channels", ("T1", "T2"))
    monkeypatch.setattr(type(model), "segment_volume", seen)
    image = sitk.ReadImage(str(scan))
    sitk.WriteImage(sitk.JoinSeries([image, image + 1]), str(tmp_path / "both.nii.gz"))
    with pytest.raises(SeenError, match="2"):
        model.segment(tmp_path / "both.nii.gz")


def test_a_model_or_option_that_is_not_there_is_refused():
    with pytest.raises(BundleError):
        misfm.load_model("absent")
    with pytest.raises(BundleError):
        misfm.load_model("pretrained-general")
    with pytest.raises(ConfigError, match="overlaps"):
        misfm.load_model("hippocampus-mr", overlaps=0.5)


def test_importing_the_package_waits_for_no_torch():
    code = "import sys, MISFMLib; assert 'torch' not in sys.modules; print(dir(MISFMLib))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "load_model" in done.stdout


def test_every_public_name_is_there():
    assert all(getattr(misfm, name) for name in misfm.__all__)
    with pytest.raises(AttributeError):
        misfm.absent  # noqa: B018


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        volume, label_map = draw_phantom(seed)
        for folder in ("scans", "my_data/images", "my_data/labels"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        write_volume(volume, Path(f"scans/{seed}.nii.gz"))
        write_volume(volume, Path(f"my_data/images/{seed}.nii.gz"))
        write_label_map(label_map, Path(f"my_data/labels/{seed}.nii.gz"))
    write_volume(draw_phantom(1)[0], Path("scan.nii.gz"))
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)
    assert len(examples) == 8
    exec("\n".join(examples), {})
    assert "segment 100%" in capsys.readouterr().out
    assert Path("my_model").is_dir()
