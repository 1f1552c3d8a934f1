#!/usr/bin/env bash
# Asked for scan.nii.gz, SimpleITK returns the voxels of scan.nii when that lies beside it.
#
# Seen with SimpleITK 2.5.7 (ITK 5.4, its NIfTI library), 29 November 2026: two volumes of the same
# grid, 7 throughout in scan.nii.gz, 1007 in scan.nii. ReadImage("scan.nii.gz") gives 1007, without
# a warning. nibabel 5.4.2 gives 7, what the file holds. The library looks for the name without its
# ending, and for .nii before .nii.gz; an unpacked copy, or another program's .nii output of the
# same name, then stands for the image. So does a label map: scores are those of another file.
#
# MISFM reads such a file itself (MISFMLib/volumes/formats/nifti.py).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk

image = sitk.GetImageFromArray(np.full((4, 5, 6), 7, np.int16))
sitk.WriteImage(image, "scan.nii.gz")
alone = int(sitk.GetArrayFromImage(sitk.ReadImage("scan.nii.gz")).max())
sitk.WriteImage(image + 1000, "scan.nii")
beside = int(sitk.GetArrayFromImage(sitk.ReadImage("scan.nii.gz")).max())
by_nibabel = int(np.asarray(nibabel.load("scan.nii.gz").dataobj).max())
print(f"SimpleITK {sitk.Version_VersionString()}: {alone} alone, {beside} beside scan.nii")
print(f"nibabel {nibabel.__version__}: {by_nibabel}")
assert (alone, beside, by_nibabel) == (7, 1007, 7)
PYTHON
