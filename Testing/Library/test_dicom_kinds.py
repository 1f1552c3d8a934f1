"""DICOM as people have it: scouts, captures, echoes, bad anonymisation, rounded places."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from MISFMLib.errors import ConfigError, DataError
from MISFMLib.events import warnings_as_notices
from MISFMLib.volumes.formats.dicom_image import inspect_image
from MISFMLib.volumes.formats.dicom_pixels import read_voxels, stored_values
from MISFMLib.volumes.reader_process import ReaderProcess
from MISFMLib.volumes.volume import read_volume

CT, MR, CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "7"))
AXIAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)


def values(number, shape=(6, 5)):
    return (np.arange(np.prod(shape)).reshape(shape) * 7 + 100 * number).astype(np.uint16)


def a_slice(number, depth, *, sop_class=CT, series="1.2.3", orientation=AXIAL, shape=(6, 5)):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2", series, "1.9"
    ds.Modality = "MR" if sop_class == MR else "CT"
    ds.SeriesDescription, ds.PatientName, ds.PatientID = f"series {series}", "a", "b"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [1, 2, depth], list(orientation)
    ds.PixelSpacing = [0.7, 0.6]
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = values(number, shape).tobytes()
    return ds


def a_series(count=8, step=2.5, **options):
    return [a_slice(number, number * step, **options) for number in range(count)]


def save(folder, datasets, prefix=""):
    folder.mkdir(exist_ok=True)
    for number, ds in enumerate(datasets):
        ds.save_as(folder / f"{prefix}{number:02d}", enforce_file_format=True)
    return folder


def refused(code, *arguments, **options):
    with pytest.raises(DataError) as caught:
        read_volume(*arguments, **options)
    assert caught.value.code == code
    assert caught.value.remedy
    return str(caught.value)


def hounsfield(numbers):
    return np.stack([values(number) for number in numbers]).astype(int) - 1024


# -------------------------------------------------------------------- what lies beside the volume


def test_a_capture_in_the_series_is_left_out_by_name(tmp_path, caplog):
    capture = a_slice(0, 0, sop_class=CAPTURE, shape=(9, 9))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(capture, name)
    volume = read_volume(save(tmp_path / "s", [*a_series(), capture]))
    np.testing.assert_array_equal(volume.array_CDHW[0], hounsfield(range(8)))
    assert "1 captures" in caplog.text


def test_a_slice_of_the_volume_without_a_place_is_not_left_out(tmp_path):
    slices = a_series()
    del slices[3].ImagePositionPatient
    assert "03 does not say where" in refused("dicom-no-positions", save(tmp_path / "s", slices))


@pytest.mark.parametrize("series", ["1.2.3", "1.2.4"])
@pytest.mark.parametrize("count", [1, 3])
def test_scouts_in_the_series_or_beside_it_are_left_out(tmp_path, caplog, series, count):
    folder = save(tmp_path / "s", a_series(20))
    scouts = a_series(count, orientation=SAGITTAL, series=series, shape=(9, 9))
    for number, scout in enumerate(scouts):
        scout.ImagePositionPatient = [number * 30, 0, 0]
        scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(folder, scouts, "scout")
    assert read_volume(folder).geometry.shape_dhw == (20, 6, 5)
    assert f"{count} slices, scout" in caplog.text
    if series == "1.2.4" and count == 3:
        assert read_volume(folder, series=series).geometry.shape_dhw == (3, 9, 9)


def test_two_series_that_are_volumes_are_not_chosen_between(tmp_path):
    folder = save(tmp_path / "s", a_series(8))
    save(folder, a_series(7, series="1.2.4"), "other")
    assert "description=WORD" in refused("dicom-several-series", folder)
    assert read_volume(folder, series="description=1.2.4").geometry.shape_dhw[0] == 7


# ------------------------------------------------------------------------- several at one place


@pytest.fixture
def echoes(tmp_path):
    folder = tmp_path / "echoes"
    for number, time in enumerate((20.4, 10.2)):
        slices = a_series(sop_class=MR)
        for ds in slices:
            ds.EchoTime = time
            ds.RescaleIntercept = number
        save(folder, slices, str(number))
    return folder


def test_echoes_are_named_with_their_times(echoes):
    message = refused("dicom-several-volumes", echoes)
    assert "8 slices, echo time 10.2 ms" in message
    assert "8 slices, echo time 20.4 ms" in message
    assert "--series echo-time=10.2" in message


@pytest.mark.parametrize(
    ("choice", "intercept"),
    [("echo=1", 1), ("echo=2", 0), ("echo-time=10.2", 1), ("uid=1.2.3,echo-time=20.4", 0)],
)
def test_an_echo_is_chosen_by_number_or_time(echoes, choice, intercept):
    assert read_volume(echoes, series=choice).array_CDHW[0, 0, 0, 0] == intercept


def test_a_choice_that_nothing_fits_lists_what_there_is(echoes):
    assert "echo time 10.2 ms" in refused("dicom-unknown-series", echoes, series="echo=3")
    with pytest.raises(ConfigError) as caught:
        read_volume(echoes, series="eco=1")
    assert "echo-time=..." in caught.value.remedy


@pytest.mark.parametrize(
    ("attribute", "ones", "others", "choice"),
    [
        ("AcquisitionNumber", 1, 2, "acquisition=2"),
        ("DiffusionBValue", 0.0, 800.0, "b-value=800"),
        ("TemporalPositionIdentifier", 1, 2, "time=2"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"], "type=p"),
    ],
)
def test_other_differences_choose_too(tmp_path, attribute, ones, others, choice):
    first, second = a_series(sop_class=MR), a_series(sop_class=MR)
    for one, other in zip(first, second, strict=True):
        setattr(one, attribute, ones)
        setattr(other, attribute, others)
        other.RescaleIntercept = 5
    folder = save(save(tmp_path / "s", first), second, "x").parent / "s"
    refused("dicom-several-volumes", folder)
    assert read_volume(folder, series=choice).array_CDHW[0, 0, 0, 0] == 5


def test_times_that_change_from_slice_to_slice_tell_no_volumes(tmp_path):
    slices = [*a_series(), *a_series()]
    for number, ds in enumerate(slices):
        ds.AcquisitionTime = f"1200{number:02d}"
    assert "16 slices at 8 places" in refused(
        "dicom-duplicate-slices", save(tmp_path / "s", slices)
    )


def test_mosaics_are_refused(tmp_path):
    slices = a_series(sop_class=MR)
    for ds in slices:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
    assert "dcm2niix" in refused("dicom-mosaic", save(tmp_path / "s", slices))


# ------------------------------------------------------------------------------- anonymisation


def test_slices_that_share_an_identifier_are_no_copies(tmp_path, caplog):
    slices = a_series()
    for one, other in zip(slices[::2], slices[1::2], strict=True):
        other.SOPInstanceUID = one.SOPInstanceUID
    volume = read_volume(save(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array_CDHW[0], hounsfield(range(8)))
    assert "4 SOP instance UIDs are shared" in caplog.text


def test_a_copy_at_the_same_place_is_left_out(tmp_path):
    slices = a_series()
    assert (
        read_volume(save(tmp_path / "s", [*slices, copy.deepcopy(slices[2])])).geometry.shape_dhw[0]
        == 8
    )


@pytest.mark.parametrize("value", ["nan", "1e400", "x", ""])
def test_a_place_that_is_no_number_is_refused(tmp_path, value):
    slices = a_series()
    with pydicom.config.disable_value_validation():
        slices[2].ImagePositionPatient = [1, 2, 5]
        slices[2]["ImagePositionPatient"]._value = ["1", "2", value]
        folder = tmp_path / "s"
        folder.mkdir()
        for number, ds in enumerate(slices):
            try:
                ds.save_as(folder / f"{number}", enforce_file_format=True)
            except (TypeError, ValueError):
                pytest.skip("pydicom does not write it")
    refused("dicom-no-positions", folder)


# --------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(("step", "decimals"), [(0.625, 1), (0.9375, 1), (0.333, 2), (5 / 3, 1)])
@pytest.mark.parametrize("count", [12, 120])
def test_rounded_places_are_even_within_a_tenth_of_a_voxel(tmp_path, caplog, step, decimals, count):
    slices = a_series(count, step)
    for number, ds in enumerate(slices):
        ds.ImagePositionPatient = [1, 2, round(-30 + number * step, decimals)]
    with caplog.at_level(logging.WARNING):
        geometry = read_volume(save(tmp_path / "s", slices)).geometry
    worst = max(
        abs(geometry.position_xyz((number, 0, 0))[2] - (-30 + number * step))
        for number in range(count)
    )
    assert worst <= 1.01 * 0.5 * 10**-decimals
    assert geometry.spacing_dhw[0] == pytest.approx(step, abs=1e-2)
    assert "off even places" in caplog.text


def test_exact_places_stay_exact_and_unmentioned(tmp_path, caplog):
    geometry = read_volume(save(tmp_path / "s", a_series(8, 0.7))).geometry
    assert geometry.origin_xyz == (1, 2, 0)
    assert geometry.spacing_dhw[0] == pytest.approx(0.7, abs=1e-12)
    assert caplog.text == ""


# --------------------------------------------------------------------------------------- voxels


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_how_an_image_is_displayed_changes_no_intensity(tmp_path, syntax):
    slices = a_series()
    for ds in slices:
        ds.PhotometricInterpretation = "MONOCHROME1"
        if syntax == RLELossless:
            ds.compress(RLELossless)
    volume = read_volume(save(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array_CDHW[0], hounsfield(range(8)))
    assert volume.array_CDHW.dtype == np.int16


def test_a_packed_negative_is_unpacked_by_gdcm_without_inversion(tmp_path, shared_data):
    source = shared_data / "samples" / "dicom" / "ct_jpeg2000_20slices"
    for path in source.iterdir():
        ds = pydicom.dcmread(path)
        ds.PhotometricInterpretation = "MONOCHROME1"
        ds.save_as(tmp_path / path.name)
    expected = read_volume(source).array_CDHW
    np.testing.assert_array_equal(read_volume(tmp_path).array_CDHW, expected)


def stored(ds, bits, *, signed=False, high_bits=0):
    dtype = {8: np.uint8, 12: np.uint16, 16: np.uint16, 32: np.uint32}[bits]
    array = values(3).astype(np.int64) - (300 if signed else 0)
    ds.BitsAllocated = np.dtype(dtype).itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
    ds.PixelData = ((array & ((1 << bits) - 1)) | high_bits).astype(dtype).tobytes()
    return ds


@pytest.mark.parametrize("sop_class", ["2", "4", "128", "7", "20", "1", "1.1", "12.1"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2.5, -10), (0.125, 0.5)])
def test_gdcm_and_pydicom_give_equal_values_for_every_class(tmp_path, sop_class, slope, intercept):
    ds = a_slice(2, 0, sop_class=f"1.2.840.10008.5.1.4.1.1.{sop_class}")
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    _compare(ds, tmp_path / "a.dcm")


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 8},
        {"bits": 12},
        {"bits": 12, "signed": True},
        {"bits": 12, "high_bits": 0xF000},  # an overlay in the bits that are not used
        {"bits": 16, "signed": True},
        {"bits": 32},
    ],
)
def test_gdcm_and_pydicom_give_equal_values_for_every_number_format(tmp_path, options):
    _compare(stored(a_slice(3, 0), **options), tmp_path / "a.dcm")


def test_run_length_encoding_is_unpacked(tmp_path):
    slices = a_series()
    for ds in slices:
        ds.compress(RLELossless)
    volume = read_volume(save(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array_CDHW[0], hounsfield(range(8)))


def test_gdcm_and_pydicom_read_big_endian_alike(tmp_path):
    ds = a_slice(2, 0)
    ds.PixelData = values(2).astype(">u2").tobytes()
    written = Dataset(ds)
    written.file_meta = ds.file_meta
    written.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    _compare(written, tmp_path / "a.dcm")


def _compare(ds, path):
    ds.save_as(path, enforce_file_format=True)
    (own,) = inspect_image(path)
    by_pydicom = stored_values(path, own.image.syntax) * own.scale[0] + own.scale[1]
    by_gdcm = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
    np.testing.assert_array_equal(by_gdcm, by_pydicom)
    np.testing.assert_allclose(read_voxels([own])[0], by_pydicom, rtol=1e-7)


# -------------------------------------------------------------------------------------- notices


def test_what_a_reader_leaves_out_is_told_once_also_from_another_process(tmp_path):
    capture = a_slice(0, 0, sop_class=CAPTURE, shape=(9, 9))
    del capture.ImagePositionPatient
    folder = save(tmp_path / "s", [*a_series(), capture])
    heard = []
    with warnings_as_notices(heard.append), ReaderProcess() as read:
        for reader in (read, read, read_volume):
            assert reader(folder).geometry.shape_dhw == (8, 6, 5)
    (notice,) = heard
    assert "1 captures" in notice.message
