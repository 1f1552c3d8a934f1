#!/usr/bin/env bash
# nnU-Net writes a region that is to be painted with 300 as 44.
#
# Seen with nnunetv2 2.8.1, 29 November 2026. `regions_class_order` of dataset.json says with which
# number each region is painted, and its first step paints in 16 bits. The label map is then stored in
# 8 bits if the data set has fewer than 255 labels, however large the painted numbers are: 300 comes out
# as 44, 256 as background. Nothing is raised or logged; training and validation, which look at regions,
# do not show it. The second stage of a cascade reads that file.
#
# Why it matters here: imported models of regions paint 300 with 300 (Docs/models.md).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu \
  torch==2.13.0 torchvision==0.28.0 nnunetv2==2.8.1 2>/dev/null
cat >"$folder/regions.py" <<'PYTHON'
import numpy as np
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape as to_segmentation,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
plans = PlansManager(
    {
        "dataset_name": "Dataset001_Regions",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {
                "spacing": [1.0, 1.0, 1.0],
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": {},
            }
        },
    }
)
dataset = {
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "spot": [3]},
    "regions_class_order": [1, 300, 256],
}
logits = torch.full((3, 2, 2, 3), -5.0)
logits[0], logits[1, :, :, 1:], logits[2, :, :, 2] = 5.0, 5.0, 5.0  # whole everywhere, core, spot
properties = {
    "spacing": [1.0, 1.0, 1.0],
    "shape_before_cropping": (2, 2, 3),
    "shape_after_cropping_and_before_resampling": (2, 2, 3),
    "bbox_used_for_cropping": [[0, 2], [0, 2], [0, 3]],
}
labels = plans.get_label_manager(dataset)
written = to_segmentation(
    logits, plans, plans.get_configuration("3d_fullres"), labels, properties
)
print(f"to be painted: 1, 300, 256; written as {written.dtype}: {written[0, 0].tolist()}")
assert np.array_equal(written[0, 0], [1, 44, 0]), "nnU-Net behaves otherwise now"
PYTHON
nnUNet_raw="$folder" nnUNet_results="$folder" nnUNet_preprocessed="$folder" \
  "$folder/venv/bin/python" "$folder/regions.py"
