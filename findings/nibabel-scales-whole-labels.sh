#!/usr/bin/env bash
# Labels that were read with get_fdata(), changed and saved with the header of an integer label map
# are no whole numbers any more: nibabel spreads floats over the range of the integer type, also
# where all of them are whole and would fit as they are.
#
# Seen with nibabel 5.4.2, 30 November 2026: labels 0 to 7 (float64, as get_fdata returns them) and
# a header of uint8 are kept with a slope of 7 / 255. A 1 comes back as 0.988 and is 0 after
# astype(np.uint8), so that 3 of 8 voxels get another label; of int16 and 0 to 3 it is every voxel
# that is not 0. Saved as np.uint8 from the beginning, or with np.asanyarray(image.dataobj) instead
# of get_fdata(), they stay what they were.
#
# MISFM reads such files as the whole numbers that were meant (MISFMLib/volumes/label_values.py).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  nibabel==5.4.2 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel as nib
import numpy as np

print(f"nibabel {nib.__version__}")
for number_type, highest, share in (("uint8", 7, 0.375), ("int16", 3, 0.75)):
    labels = (np.arange(512) % (highest + 1)).reshape(8, 8, 8).astype(number_type)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), "labels.nii.gz")
    image = nib.load("labels.nii.gz")
    assert (image.get_fdata() == labels).all()
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine, image.header), "again.nii.gz")
    again = nib.load("again.nii.gz")
    cut = again.get_fdata().astype(np.uint8)
    lost = float((cut != labels).mean())
    print(f"{number_type}, labels 0 to {highest}: slope {again.dataobj.slope:.6f}, a 1 comes back as "
          f"{np.unique(again.get_fdata())[1]:.10f}; {100 * lost:.1f} % of the voxels after astype")
    assert lost == share
    kept = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    nib.save(kept, "kept.nii.gz")
    assert (nib.load("kept.nii.gz").get_fdata() == labels).all()
PYTHON
