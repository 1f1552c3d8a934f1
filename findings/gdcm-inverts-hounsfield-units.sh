#!/usr/bin/env bash
# A CT that is to be displayed white on black (MONOCHROME1) comes out of SimpleITK with its
# Hounsfield units inverted and shifted by the range of the number type.
#
# Seen with SimpleITK 2.5.7 (GDCM), pydicom 3.0.2, 29 November 2026: a slice of 16 bits, unsigned,
# intercept -1024, that holds -1000 to 1499 HU. As MONOCHROME2 it is read so; with MONOCHROME1, the
# voxels unchanged, as 61988 to 64487, which is 65535 - stored - 1024. PS3.3 C.7.6.3.1.2
# speaks of display only, and C.11.1 puts the rescale before it; pydicom and dcm2niix keep the units.
# A threshold for air, or a network that clips at 1000 HU, then sees one white block.
#
# MISFM reads such pixels through pydicom (MISFMLib/volumes/formats/dicom_pixels.py).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_rescale

units = np.linspace(-1000, 1499, 30).round().astype(int).reshape(5, 6)


def written(photometric):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = pydicom.uid.CTImageStorage
    ds.SOPInstanceUID = pydicom.uid.generate_uid()
    ds.StudyInstanceUID = ds.SeriesInstanceUID = pydicom.uid.generate_uid()
    ds.Modality, ds.PatientID, ds.PatientName = "CT", "a", "a"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.RescaleSlope, ds.RescaleIntercept = [1, 1], 1, -1024
    ds.Rows, ds.Columns, ds.SamplesPerPixel = *units.shape, 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = (units + 1024).astype("<u2").tobytes()
    ds.save_as("slice.dcm", enforce_file_format=True)
    by_gdcm = sitk.GetArrayFromImage(sitk.ReadImage("slice.dcm"))[0]
    read = pydicom.dcmread("slice.dcm")
    return by_gdcm, apply_rescale(read.pixel_array, read)


print(f"SimpleITK {sitk.Version_VersionString()}, pydicom {pydicom.__version__}")
for photometric in ("MONOCHROME2", "MONOCHROME1"):
    by_gdcm, by_pydicom = written(photometric)
    print(f"{photometric}: SimpleITK {by_gdcm.min()} to {by_gdcm.max()}, "
          f"pydicom {by_pydicom.min():g} to {by_pydicom.max():g}")
    assert (by_pydicom == units).all()
    if photometric == "MONOCHROME2":
        assert (by_gdcm == units).all()
    else:
        assert (by_gdcm == 65535 - (units + 1024) - 1024).all()
PYTHON
