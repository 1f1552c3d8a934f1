#!/usr/bin/env bash
# MedPy's HD95 pools the distances of both directions before it takes the percentile, so that a
# false island far away can leave it at zero.
#
# Seen with MedPy 0.5.2 (medpy.metric.binary.hd95), scipy 1.17.1, 28 November 2026: a ball of radius
# 10 voxels, found exactly, and besides a false cube of 4 x 4 x 4 voxels far away. The 95th percentile
# of the distances from the prediction's surface to the reference's is some 29 voxels; of both
# directions together the island is less than 5 %, and MedPy says 0.0. MONAI 1.6.1 takes the larger of
# the two percentiles, and says 29.
#
# Why it matters here: tables made with one and with the other differ most where a network invents
# structures, which is what the number is looked at for. Say which rule it is.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  MedPy==0.5.2 scipy==1.17.1 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from medpy.metric.binary import hd95
from scipy import ndimage
from scipy.spatial import KDTree

radius = np.sqrt(sum((axis - 20.0) ** 2 for axis in np.indices((48, 48, 48))))
reference = radius <= 10
prediction = reference.copy()
prediction[42:46, 42:46, 42:46] = True


def surface(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def directed(source, target):
    return KDTree(target).query(source)[0]


there = directed(surface(prediction), surface(reference))
back = directed(surface(reference), surface(prediction))
larger = max(np.percentile(there, 95), np.percentile(back, 95))
pooled = np.percentile(np.concatenate([there, back]), 95)
found = hd95(prediction, reference)
print(f"MedPy {version('medpy')}: {found}; pooled {pooled}; the larger of two {larger:.2f}")
assert found == pooled == 0.0, "MedPy no longer pools both directions"
assert larger > 20
print("as described: the island does not count")
PYTHON
