#!/usr/bin/env bash
# SimpleITK's Hausdorff distance is one between sets of voxels, not between surfaces: a hole is
# measured from its middle.
#
# Seen with SimpleITK 2.5.7 (HausdorffDistanceImageFilter), scipy 1.17.1, 28 November 2026: a ball
# of radius 10 voxels against the same ball with a cavity of radius 7. Their surfaces are never more
# than about 3 voxels apart (the wall of the cavity from the outer surface: 2.449…), which is what
# Hausdorff means in the segmentation literature and in MONAI and MedPy. SimpleITK says 7.0: how
# far the middle of the cavity is from the nearest voxel of the hollow ball. Its average Hausdorff
# distance is a mean over all voxels too: 0.35 here, whereas the mean between the surfaces is larger.
#
# Why it matters here: numbers of the two kinds must not stand in one table.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  SimpleITK==2.5.7 scipy==1.17.1 numpy==2.4.6 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import KDTree

radius = np.sqrt(sum((axis - 24.0) ** 2 for axis in np.indices((48, 48, 48))))
full, hollow = radius <= 10, (radius <= 10) & (radius >= 7)


def surface(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def directed(source, target):
    return KDTree(target).query(source)[0]


both = np.concatenate(
    [directed(surface(hollow), surface(full)), directed(surface(full), surface(hollow))]
)
images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (hollow, full)]
measured = sitk.HausdorffDistanceImageFilter()
measured.Execute(*images)
print(f"SimpleITK {sitk.Version().VersionString()}")
print(f"Hausdorff: {measured.GetHausdorffDistance():.3f}, of the surfaces {both.max():.3f}")
print(f"average: {measured.GetAverageHausdorffDistance():.3f}, of the surfaces {both.mean():.3f}")
assert np.isclose(measured.GetHausdorffDistance(), 7.0), "SimpleITK's value has changed"
assert 2.3 < both.max() < 3.2
assert measured.GetAverageHausdorffDistance() < both.mean()
print("as described: measured from the middle of the hole")
PYTHON
