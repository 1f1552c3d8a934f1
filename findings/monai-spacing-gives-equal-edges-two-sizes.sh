#!/usr/bin/env bash
# MONAI's Spacing gives two equal edges of a turned volume different numbers of voxels.
#
# Seen with monai 1.6.1, 30 November 2026. A volume of 36 x 36 x 20 voxels of 1.4 x 1.4 x 5 mm, turned by 0.3
# rad about z, comes out at 2 mm as 25 x 26 x 48: (36 - 1) * 1.4 / 2 + 1 is 25.5, and rounding in the affine
# decides for each edge. Turned not at all, or with the affine in the single precision of a NIfTI header,
# the same volume becomes 26 x 26 x 48. So one scan has a voxel more or less depending on which file format
# it came from, and what compares grids exactly stops there. Of 95 such oblique volumes 42 were so.
#
# Why it matters here: an import of a bundle cannot promise MONAI's grid where an edge ends on a half voxel;
# the first voxel is at the same place either way (Docs/models.md).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu \
  torch==2.13.0 numpy==2.4.6 monai==1.6.1 2>/dev/null
cat >"$folder/edges.py" <<'PYTHON'
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

cosine, sine = np.cos(0.3), np.sin(0.3)
straight = np.diag([1.4, 1.4, 5.0, 1.0])
turned = straight.copy()
turned[:3, :3] = [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]] @ straight[:3, :3]
sizes = []
for name, affine in (
    ("straight", straight),
    ("turned", turned),
    ("turned, single precision", turned.astype(np.float32).astype(np.float64)),
):
    volume = MetaTensor(torch.zeros(1, 36, 36, 20), affine=torch.tensor(affine))
    sizes.append(tuple(Spacing(pixdim=(2, 2, 2))(volume).shape[1:]))
    print(f"{name}: {sizes[-1]}")
assert sizes == [(26, 26, 48), (25, 26, 48), (26, 26, 48)], "MONAI behaves otherwise now"
PYTHON
"$folder/venv/bin/python" "$folder/edges.py"
