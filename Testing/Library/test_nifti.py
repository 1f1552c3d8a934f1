"""NIfTI headers that ITK reads without complaint but wrongly are refused or warned of."""

from __future__ import annotations

import gzip
import math
import struct

import nibabel
import numpy as np
import pytest

from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import count_frames, read_label_map, read_volume

SPACING = (2.0, 3.0, 4.0)
ORIGIN = (10.0, 20.0, 30.0)
CODES = {"int16": 4, "float32": 16, "float64": 64, "int64": 1024}


def an_sform(shear_degrees=0.0, scale=1.0, origin=ORIGIN):
    matrix = np.diag(SPACING) * scale
    matrix[1, 2] = math.tan(math.radians(shear_degrees)) * SPACING[2]
    return np.column_stack([matrix, origin])


def a_nifti(
    path,
    *,
    array=None,
    dim=None,
    pixdim=SPACING,
    sform=None,
    sform_code=0,
    qform_code=1,
    intent=0,
    order="<",
    slope=(0.0, 0.0),
    unit=2,
    bcd=(0.0, 0.0, 0.0),
    qfac=1.0,
):
    """Write a NIfTI-1 file byte by byte, its qform at ORIGIN."""
    array = np.arange(210, dtype=np.int16).reshape(5, 6, 7) if array is None else array
    dim = dim or (array.ndim, *array.shape)
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, *dim, *[1] * (8 - len(dim)))
    bits = array.dtype.itemsize * 8
    struct.pack_into(order + "3h", header, 68, intent, CODES[array.dtype.name], bits)
    struct.pack_into(order + "8f", header, 76, qfac, *pixdim, *[1.0] * (7 - len(pixdim)))
    struct.pack_into(order + "3f", header, 108, 352.0, *slope)
    struct.pack_into(order + "2h", header, 252, qform_code, sform_code)
    struct.pack_into(order + "6f", header, 256, *bcd, *ORIGIN)
    if sform is not None:
        struct.pack_into(order + "12f", header, 280, *np.ravel(sform))
    header[123] = unit
    header[344:348] = b"n+1\0"
    data = bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def code_of(path):
    with pytest.raises(DataError) as caught:
        read_volume(path)
    assert path.name in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_plain_file_is_read_in_lps(tmp_path, order, dtype, name):
    array = np.arange(210).reshape(5, 6, 7).astype(dtype)
    volume = read_volume(a_nifti(tmp_path / name, array=array, order=order))
    assert volume.geometry.spacing_dhw == (4, 3, 2)
    assert volume.geometry.origin_xyz == (-10, -20, 30)
    assert volume.geometry.direction == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    np.testing.assert_array_equal(volume.array_CDHW[0], array.transpose())


def test_intensities_are_scaled_as_the_header_says(tmp_path):
    volume = read_volume(a_nifti(tmp_path / "a.nii", slope=(0.5, -3.0)))
    assert volume.array_CDHW.dtype == np.float32
    assert volume.array_CDHW[0, 0, 0, 0] == -3
    assert volume.array_CDHW[0, -1, -1, -1] == 209 * 0.5 - 3


@pytest.mark.parametrize(
    ("number_type", "highest"), [("u1", 2), ("u1", 7), ("u1", 117), ("<i2", 2), ("<i2", 117)]
)
def test_labels_that_nibabel_keeps_with_a_slope_are_whole_numbers(tmp_path, number_type, highest):
    labels = np.arange(240).reshape(5, 6, 8) % (highest + 1)
    image = nibabel.Nifti1Image(labels.astype(float), np.eye(4))
    image.set_data_dtype(number_type)
    nibabel.save(image, tmp_path / "a.nii.gz")
    read = nibabel.load(tmp_path / "a.nii.gz")
    assert not np.array_equal(read.get_fdata(), labels), "nibabel scales them no more"
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nii.gz").array_DHW, labels.T)


def test_intensities_that_are_kept_with_a_slope_are_no_labels(tmp_path):
    probabilities = nibabel.Nifti1Image(np.linspace(0, 1, 240).reshape(5, 6, 8), np.eye(4))
    probabilities.set_data_dtype("u1")
    nibabel.save(probabilities, tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="no integers"):
        read_label_map(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("shear_degrees", [3, -20])
def test_the_position_of_a_tilted_gantry_is_refused(tmp_path, capfd, shear_degrees, qform_code):
    path = tmp_path / "a.nii"
    a_nifti(path, sform=an_sform(shear_degrees), sform_code=1, qform_code=qform_code)
    with pytest.raises(DataError) as caught:
        read_volume(path)
    assert caught.value.code == "sheared-grid"
    assert f"{abs(shear_degrees):.3g} degrees" in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("qform_code", [0, 1])
def test_a_shear_that_moves_no_voxel_by_a_tenth_is_rounding(tmp_path, caplog, qform_code):
    sform = an_sform(0.3)
    path = a_nifti(tmp_path / "a.nii", sform=sform, sform_code=1, qform_code=qform_code)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array_CDHW[0], np.arange(210).reshape(5, 6, 7).transpose())
    for index in np.ndindex(7, 6, 5):
        place = np.diag([-1, -1, 1]) @ (sform @ [*index[::-1], 1])
        assert np.linalg.norm(volume.geometry.position_xyz(index) - place) <= 0.2
    assert "rounding has sheared its sform" in caplog.text
    assert "% of a voxel" in caplog.text


def test_a_rounded_voxel_size_beside_the_sform_is_no_contradiction(tmp_path):
    path = a_nifti(tmp_path / "a.nii", pixdim=(2.02, 3.0, 4.0), sform=an_sform(), sform_code=1)
    assert read_volume(path).geometry.spacing_dhw == (4, 3, 2)


def test_a_sheared_template_position_is_ignored_for_the_scanner_position(tmp_path, caplog):
    path = a_nifti(tmp_path / "a.nii", sform=an_sform(20), sform_code=4)
    assert read_volume(path).geometry.origin_xyz == (-10, -20, 30)
    assert "two positions" in caplog.text
    assert "qform" in caplog.text


def test_the_scanner_sform_wins_over_the_qform_with_a_warning(tmp_path, caplog):
    moved = an_sform(origin=(99.0, 20.0, 30.0))
    path = a_nifti(tmp_path / "a.nii", sform=moved, sform_code=1)
    assert read_volume(path).geometry.origin_xyz == (-99, -20, 30)
    assert "up to 89 mm apart" in caplog.text


def test_positions_that_agree_need_no_warning(tmp_path, caplog):
    read_volume(a_nifti(tmp_path / "a.nii", sform=an_sform(), sform_code=1))
    assert caplog.text == ""


def test_a_file_without_position_gives_a_warning(tmp_path, caplog):
    volume = read_volume(a_nifti(tmp_path / "a.nii", qform_code=0))
    assert volume.geometry.origin_xyz == (0, 0, 0)
    assert "does not say how the patient lies" in caplog.text


def test_a_grid_that_itk_reads_differently_is_refused(tmp_path, monkeypatch):
    path = a_nifti(tmp_path / "a.nii")
    monkeypatch.setattr(
        "MISFMLib.volumes.formats.nifti_header._LPS_FROM_RAS", np.diag([1.0, -1.0, 1.0])
    )
    assert code_of(path) == "contradictory-grid"


@pytest.mark.parametrize(("unit", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_other_units_of_length_are_converted(tmp_path, unit, millimetres, monkeypatch):
    monkeypatch.setattr("MISFMLib.volumes.volume_files.check_extent", lambda *_arguments: None)
    path = a_nifti(tmp_path / "a.nii", unit=unit)
    geometry = read_volume(path).geometry
    np.testing.assert_allclose(geometry.spacing_dhw, np.multiply((4, 3, 2), millimetres), rtol=1e-6)
    np.testing.assert_allclose(geometry.origin_xyz[2], 30 * millimetres, rtol=1e-6)


@pytest.mark.parametrize("bcd", [(0.1, -0.2, 0.3), (1.0000001, 0, 0), (0, 0.6, 0.8), (0, 0, -1)])
@pytest.mark.parametrize("qfac", [1.0, -1.0])
def test_every_quaternion_is_read_as_itk_reads_it(tmp_path, bcd, qfac):
    volume = read_volume(a_nifti(tmp_path / "a.nii", bcd=bcd, qfac=qfac))
    axes = np.reshape(volume.geometry.direction, (3, 3))
    assert np.linalg.det(axes) == pytest.approx(qfac)


@pytest.mark.parametrize("qform_code", [0, 1])
def test_two_voxel_sizes_in_one_header_are_refused(tmp_path, qform_code):
    path = tmp_path / "a.nii"
    a_nifti(path, sform=an_sform(scale=1.5), sform_code=1, qform_code=qform_code)
    assert code_of(path) == "contradictory-grid"


@pytest.mark.parametrize("sform_code", [0, 1])
def test_a_negative_voxel_size_is_refused(tmp_path, sform_code):
    path = tmp_path / "a.nii"
    a_nifti(path, pixdim=(-2.0, 3.0, 4.0), sform=an_sform(), sform_code=sform_code)
    assert code_of(path) == "contradictory-grid"


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_voxel_size_that_is_no_positive_number_is_refused(tmp_path, bad):
    assert code_of(a_nifti(tmp_path / "a.nii", pixdim=(2.0, bad, 4.0))) == "zero-spacing"


def test_an_sform_of_zeros_is_refused(tmp_path):
    path = a_nifti(tmp_path / "a.nii", sform=np.zeros((3, 4)), sform_code=1)
    assert code_of(path) == "zero-spacing"


@pytest.mark.parametrize("bcd", [(math.nan, 0, 0), (math.inf, 0, 0)])
def test_a_position_that_is_no_number_is_refused(tmp_path, bcd):
    assert code_of(a_nifti(tmp_path / "a.nii", bcd=bcd)) == "not-an-image"


def test_only_a_vector_image_may_have_a_fifth_axis(tmp_path):
    array = np.arange(420, dtype=np.int16).reshape(5, 6, 7, 1, 2)
    volume = read_volume(a_nifti(tmp_path / "a.nii", array=array, intent=1007))
    np.testing.assert_array_equal(volume.array_CDHW, array[:, :, :, 0].transpose(3, 2, 1, 0))
    assert code_of(a_nifti(tmp_path / "b.nii", array=array)) == "four-dimensional"
    frames = array.reshape(5, 6, 7, 2)
    assert code_of(a_nifti(tmp_path / "c.nii", array=frames)) == "four-dimensional"


def test_trailing_axes_of_one_are_dropped(tmp_path):
    path = a_nifti(tmp_path / "a.nii", dim=(6, 5, 6, 7, 1, 1, 1))
    assert read_volume(path).array_CDHW.shape == (1, 7, 6, 5)


@pytest.mark.parametrize("dim", [(3, 0, 6, 7), (3, 5, -6, 7)])
def test_an_image_without_voxels_is_refused(tmp_path, capfd, dim):
    assert code_of(a_nifti(tmp_path / "a.nii", dim=dim)) == "empty-volume"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dim", [(2, 5, 42), (3, 5, 42, 1), (1, 210)])
def test_a_single_slice_is_refused(tmp_path, dim):
    assert code_of(a_nifti(tmp_path / "a.nii", dim=dim)) == "two-dimensional"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", "<>")
def test_values_that_itk_would_turn_into_zeros_are_refused(tmp_path, name, dtype, order):
    array = np.arange(105_000).reshape(50, 60, 35).astype(dtype)
    array[-1, -1, -1] = math.nan
    assert code_of(a_nifti(tmp_path / name, array=array, order=order)) == "not-finite"


@pytest.mark.parametrize(
    ("offset", "content", "code"),
    [
        (344, b"ni1\0", "not-an-image"),
        (344, b"\0\0\0\0", "not-an-image"),
        (0, struct.pack("<i", 540), "not-an-image"),
        (40, struct.pack("<h", 9), "not-an-image"),
        (108, struct.pack("<f", math.nan), "not-an-image"),
        (70, struct.pack("<h", 1234), "not-an-image"),
    ],
)
def test_a_header_of_another_format_is_refused(tmp_path, capfd, offset, content, code):
    path = a_nifti(tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(bytes(data))
    assert code_of(path) == code
    assert capfd.readouterr().err == ""


def test_a_file_that_ends_within_its_header_is_incomplete(tmp_path):
    path = a_nifti(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:200])
    assert code_of(path) == "file-truncated"


# ---------------------------------------------------------- what ITK reads wrongly or not at all


def test_a_file_is_not_taken_for_the_one_beside_it(tmp_path):
    first, second = (np.full((5, 6, 7), value, np.int16) for value in (1, 2))
    first[0], second[0] = 5, 6
    a_nifti(tmp_path / "a.nii.gz", array=first)
    a_nifti(tmp_path / "a.nii", array=second)
    assert read_volume(tmp_path / "a.nii.gz").array_CDHW.min() == 1
    assert read_volume(tmp_path / "a.nii").array_CDHW.min() == 2
    assert read_label_map(tmp_path / "a.nii.gz").array_DHW.max() == 5


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "T1.img.nii.gz", "T1.nii.nii", "x.hdr.nii"])
@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "int64"])
def test_files_are_read_whatever_their_name_says_of_packing(tmp_path, name, is_packed, dtype):
    array = np.arange(210).reshape(5, 6, 7).astype(dtype)
    plain = a_nifti(tmp_path / "plain.nii", array=array, slope=(0.5, -3.0), order=">")
    data = plain.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if is_packed else data)
    volume, expected = read_volume(tmp_path / name), read_volume(plain)
    assert volume.geometry == expected.geometry
    np.testing.assert_array_equal(volume.array_CDHW, expected.array_CDHW)
    assert volume.array_CDHW.dtype == expected.array_CDHW.dtype
    assert volume.array_CDHW.flags.writeable


def a_nifti_2(path, array, *, order="<", sform=None, qform_code=1, intent=0, pixdim=SPACING):
    header = bytearray(544)
    struct.pack_into(order + "i", header, 0, 540)
    header[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into(order + "2h", header, 12, CODES[array.dtype.name], array.dtype.itemsize * 8)
    struct.pack_into(order + "8q", header, 16, array.ndim, *array.shape, *[1] * (7 - array.ndim))
    struct.pack_into(order + "8d", header, 104, 1, *pixdim, *[1] * 4)
    struct.pack_into(order + "q2d", header, 168, 544, 2.0, 1.0)
    struct.pack_into(order + "2i", header, 344, qform_code, int(sform is not None))
    struct.pack_into(order + "6d", header, 352, 0, 0, 0, *ORIGIN)
    if sform is not None:
        struct.pack_into(order + "12d", header, 400, *np.ravel(sform))
    struct.pack_into(order + "2i", header, 500, 2, intent)
    data = bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("sform", [None, an_sform()])
def test_nifti_2_is_read(tmp_path, order, name, sform):
    array = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    volume = read_volume(a_nifti_2(tmp_path / name, array, order=order, sform=sform))
    assert volume.geometry.spacing_dhw == (4, 3, 2)
    assert volume.geometry.origin_xyz == (-10, -20, 30)
    np.testing.assert_array_equal(volume.array_CDHW[0], array.transpose() * 2 + 1)


def test_the_fourth_axis_of_nifti_2_holds_channels(tmp_path):
    array = np.arange(420, dtype=np.int16).reshape(5, 6, 7, 2)
    path = a_nifti_2(tmp_path / "a.nii", array)
    assert code_of(path) == "four-dimensional"
    assert count_frames(path) == 2
    channels = read_volume(path, num_channels=2).array_CDHW
    np.testing.assert_array_equal(channels, array.transpose(3, 2, 1, 0) * 2 + 1)


def test_a_shortened_nifti_2_is_refused(tmp_path):
    path = a_nifti_2(tmp_path / "a.nii", np.ones((5, 6, 7), np.int16))
    path.write_bytes(path.read_bytes()[:-2])
    assert code_of(path) == "file-truncated"
    path.write_bytes(path.read_bytes()[:300])
    assert code_of(path) == "file-truncated"


def test_what_is_read_here_is_what_itk_reads(tmp_path, monkeypatch):
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    path = a_nifti(tmp_path / "a.nii.gz", array=array, slope=(0.1, 7.0), bcd=(0.1, -0.2, 0.3))
    by_itk = read_volume(path)
    monkeypatch.setattr("MISFMLib.volumes.formats.nifti._is_read_by_itk", lambda *_arguments: False)
    own = read_volume(path)
    assert own.geometry.same_grid(by_itk.geometry, 1e-5)
    np.testing.assert_allclose(own.array_CDHW, by_itk.array_CDHW, rtol=1e-6)
