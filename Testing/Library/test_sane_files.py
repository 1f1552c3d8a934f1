"""Headers that ask for the impossible are refused before anything is read or allocated."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from MISFMLib import memory
from MISFMLib.errors import DataError, DeviceError, OutputError
from MISFMLib.files import real_path
from MISFMLib.volumes.formats.text_headers import data_files
from MISFMLib.volumes.volume import Geometry, Volume, read_volume, write_volume

GRID = Geometry((5, 5, 5), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def an_image(size=(12, 11, 10)):
    values = np.random.default_rng(0).integers(0, 500, size[::-1]).astype(np.int16)
    return sitk.GetImageFromArray(values)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("spacing", "words"),
    [
        ((0.0005, 0.0005, 0.003), "In metres it would be 30 mm long"),
        ((500.0, 500.0, 3000.0), "In micrometres it would be 30 mm long"),
        ((1e-6, 1.0, 1.0), "which no scan is"),
    ],
)
def test_a_header_in_another_unit_is_refused_with_advice(tmp_path, suffix, spacing, words):
    image = an_image()
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    with pytest.raises(DataError, match=words) as caught:
        read_volume(tmp_path / f"a{suffix}")
    assert caught.value.code == "implausible-spacing"


@pytest.mark.parametrize("spacing", [(0.02, 0.02, 0.02), (1.0, 1.0, 1.0), (5.0, 5.0, 40.0)])
def test_real_voxels_from_micro_ct_to_scouts_are_read(tmp_path, spacing):
    image = an_image((60, 60, 12))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert read_volume(tmp_path / "a.nrrd").geometry.spacing_dhw == pytest.approx(spacing[::-1])


def a_giant(path, kind):
    """A small file whose header names far more voxels than any computer holds."""
    if kind == "nifti":
        sitk.WriteImage(an_image(), str(path.with_suffix(".nii")))
        data = bytearray(path.with_suffix(".nii").read_bytes())
        struct.pack_into("<8h", data, 40, 3, 32000, 32000, 32000, 1, 1, 1, 1)
        path = path.with_name("giant.nii.gz")
        path.write_bytes(gzip.compress(bytes(data)))
    elif kind == "nrrd":
        path = path.with_suffix(".nrrd")
        path.write_text(
            "NRRD0004\ntype: short\ndimension: 3\nsizes: 90000 90000 90000\nencoding: gzip\n\n"
        )
    else:
        path = path.with_suffix(".mha")
        path.write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 90000 90000 90000\n"
            "ElementType = MET_SHORT\nCompressedData = True\nElementDataFile = LOCAL\n"
        )
    return path


@pytest.mark.parametrize("kind", ["nifti", "nrrd", "metaimage"])
def test_a_header_beyond_the_memory_is_refused_with_the_numbers(tmp_path, kind):
    with pytest.raises(DeviceError, match=r"needs .* GB of memory, .* GB are free") as caught:
        read_volume(a_giant(tmp_path / "giant", kind))
    assert (caught.value.code, caught.value.exit_code) == ("out-of-memory", 6)


@pytest.mark.parametrize(
    "header",
    [
        "NRRD0004\ntype: short\ndimension: 9\nsizes: 2 2 2 2 2 2 2 2 2\nencoding: raw\n\n",
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: {'9' * 5000} 2 2\nencoding: raw\n\n",
        "NRRD0004\n" + "# comment\n" * 900_000,
    ],
    ids=["axes", "digits", "endless"],
)
def test_headers_without_bounds_are_refused(tmp_path, header):
    (tmp_path / "a.nrrd").write_text(header)
    with pytest.raises((DataError, DeviceError)):
        read_volume(tmp_path / "a.nrrd")


def a_list(folder, slices, listed, place="LIST"):
    for index in range(slices):
        (folder / f"slice{index:03d}.raw").write_bytes(bytes([index + 1]) * (11 * 12))
    names = "\n".join(f"slice{index:03d}.raw" for index in range(listed))
    path = folder / "a.mhd"
    path.write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\n"
        "DimSize = 12 11 10\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {place}\n{names if place == 'LIST' else ''}\n"
    )
    return path


@pytest.mark.parametrize("place", ["LIST", "slice%03d.raw 0 9 1"])
def test_a_metaimage_of_many_files_is_read(tmp_path, place):
    volume = read_volume(a_list(tmp_path, 10, 10, place))
    assert volume.array_CDHW[0, :, 0, 0].tolist() == list(range(1, 11))


@pytest.mark.parametrize(
    ("place", "files"),
    [("LIST", 10), ("slice%03d.raw 2 9 1", 8), ("slice003.raw", 1), ("LOCAL", 0), ("%d %d", 0)],
)
def test_the_files_beside_a_header_are_known(tmp_path, place, files):
    path = a_list(tmp_path, 10, 10, place)
    names = [f"slice{index:03d}.raw" for index in range(10)]
    assert [file.name for file in data_files(path)] == {
        10: names,
        8: names[2:],
        1: ["slice003.raw"],
        0: [],
    }[files]


def test_the_file_beside_an_nrrd_header_is_known(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(8))
    (tmp_path / "a.nhdr").write_text("NRRD0004\ntype: uchar\ndata file: a.raw\n")
    assert data_files(tmp_path / "a.nhdr") == [tmp_path / "a.raw"]
    assert data_files(tmp_path / "gone.nhdr") == []


@pytest.mark.parametrize("place", ["LIST", "slice%03d.raw 0 6 1"])
def test_a_metaimage_that_lists_too_few_files_is_refused(tmp_path, place):
    with pytest.raises(DataError, match="lists 7 files, 10 slices were expected"):
        read_volume(a_list(tmp_path, 10, 7, place))


def test_a_metaimage_whose_slice_is_gone_is_refused(tmp_path):
    path = a_list(tmp_path, 10, 10)
    (tmp_path / "slice004.raw").unlink()
    with pytest.raises(DataError, match=r"slice004\.raw does not exist"):
        read_volume(path)


def test_the_memory_of_a_container_counts(tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert memory._free_of_container(tmp_path) == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_of_container(tmp_path) > 2**60


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_of_the_shell_counts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "from MISFMLib.memory import free_bytes; print(free_bytes())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert 0 < int(result.stdout) < 2**31


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
def test_a_name_that_is_no_text_is_refused_before_it_reaches_c(tmp_path):
    path = tmp_path / "\udcff.nrrd"
    with pytest.raises(OutputError) as refused:
        write_volume(Volume(np.ones((1, 5, 5, 5), np.int16), GRID, "a"), path)
    sitk.WriteImage(an_image(), str(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").rename(path)
    with pytest.raises(DataError, match=r"\\udcff\.nrrd") as caught:
        read_volume(path)
    assert caught.value.code == refused.value.code == "bad-file-name"


def test_links_in_a_circle_are_a_missing_file_of_a_batch(tmp_path):
    (tmp_path / "loop.nrrd").symlink_to("loop.nrrd")
    assert real_path(tmp_path / "loop.nrrd").parent == tmp_path
    with pytest.raises(DataError):
        read_volume(tmp_path / "loop.nrrd")
