#!/usr/bin/env bash
# SciPy's Euclidean distance transform of a mask without any background measures to a voxel that
# does not exist, and says nothing.
#
# Seen with scipy 1.17.1 (scipy.ndimage.distance_transform_edt), numpy 2.4.6, 28 November 2026:
# an array of 4 x 5 x 6 ones has nothing to be distant from; an error, infinity or nan would be a
# good guess. What comes is 1.0 at the first voxel and 7.5498… at the last, as if there were one
# zero at index (-1, 0, 0). With sampling (3, 1, 1) the phantom moves along: 3.0 and 13.60….
#
# Why it matters here: surface distances of a segmentation are often computed as the distance
# transform of the inverted surface of the other mask. Where that mask is empty (a missed
# structure), the result is a plausible number of millimetres. Test for emptiness first.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy import ndimage

everything = np.ones((4, 5, 6), bool)
plain = ndimage.distance_transform_edt(everything)
long = ndimage.distance_transform_edt(everything, sampling=(3.0, 1.0, 1.0))
print(f"scipy {scipy.__version__}: first {plain[0, 0, 0]}, last {plain[-1, -1, -1]:.4f};")
print(f"sampling (3, 1, 1): first {long[0, 0, 0]}, last {long[-1, -1, -1]:.4f}")
to_phantom = np.sqrt(sum((i + (axis == 0)) ** 2 for axis, i in enumerate(np.indices((4, 5, 6)))))
assert np.allclose(plain, to_phantom), "the distances are no longer those to (-1, 0, 0)"
assert np.isclose(long[0, 0, 0], 3.0)
print("as described: distances to a zero at (-1, 0, 0), which is not in the array")
PYTHON
