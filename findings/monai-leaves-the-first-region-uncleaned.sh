#!/usr/bin/env bash
# MONAI's KeepLargestConnectedComponent leaves the first of several regions as it is.
#
# Seen with monai 1.6.1 and scikit-image 0.26.0, 29 November 2026. A network for tumour core, whole
# tumour and enhancing tumour ends in a sigmoid and a threshold: one channel for each region, none for
# background. Given such an answer without `applied_labels`, which the documentation explains as all
# labels that are there, the transform takes several channels for a one-hot volume and channel 0 for
# its background: stray voxels stay in the first region and go from the others. Nothing is said.
# `applied_labels=[0, 1, 2]` cleans all three.
#
# Why it matters here: an import that reads "the largest component of every label" out of such a config
# would give other labels than MONAI; bundles that clean regions which may overlap are refused by name
# (MISFMLib/jobs/imports/monai.py).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu \
  torch==2.13.0 numpy==2.4.6 monai==1.6.1 scikit-image==0.26.0 2>/dev/null
cat >"$folder/regions.py" <<'PYTHON'
import torch
from monai.transforms import KeepLargestConnectedComponent

regions = torch.zeros(3, 20, 20, 20)
regions[:, 2:10, 2:10, 2:10] = 1  # what is meant
regions[:, 15, 15, 15] = 1  # a stray voxel in each region
for labels in (None, [0, 1, 2]):
    cleaned = KeepLargestConnectedComponent(applied_labels=labels)(regions.clone())
    stray = [int(region[15, 15, 15]) for region in cleaned]
    print(f"applied_labels {labels}: stray voxels left in the three regions {stray}")
    assert stray == ([1, 0, 0] if labels is None else [0, 0, 0]), "MONAI behaves otherwise now"
PYTHON
"$folder/venv/bin/python" "$folder/regions.py"
