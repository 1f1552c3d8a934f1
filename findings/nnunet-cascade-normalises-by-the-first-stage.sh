#!/usr/bin/env bash
# In a cascade of nnU-Net the first stage's labels change the intensities that the second stage sees.
#
# Seen with nnunetv2 2.8.1, 30 November 2026. Where volumes have a zero background, plans normalise with
# a mask: mean and standard deviation of the z-score are those inside of it. The preprocessor takes the
# mask from the segmentation that it is given; for the second stage of a cascade that is the label map of
# the first, and its zeros become "outside" only where the volume is zero too. So every label that the
# first stage puts into the zero background counts as inside there: a single voxel moves the intensities
# of all voxels, here by up to 0.027 standard deviations in a small volume.
#
# Why it matters here: a cascade that was imported without this gave 90 to 98 % of nnU-Net's labels; now it
# gives them all (MISFMLib/data/preprocessing.py). Results of a cascade are not those of its second network
# on the volume and the labels alone.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  --extra-index-url https://download.pytorch.org/whl/cpu \
  torch==2.13.0 torchvision==0.28.0 nnunetv2==2.8.1 2>/dev/null
cat >"$folder/cascade.py" <<'PYTHON'
import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
second_stage = {
    "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [True],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": resampling,
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
    "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
}
plans = PlansManager(
    {
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_cascade_fullres": second_stage},
    }
)
data_set = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "tumour": 1}}
index = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1)
head = np.linalg.norm(index - 11.5, axis=-1) < 11.8
noise = np.random.default_rng(0).normal(500, 50, head.shape)
image = np.where(head, noise, 0).astype(np.float32)[None]
seen = []
for voxels in (0, 1):
    first_stage = np.zeros((1, 24, 24, 24), np.int8)
    first_stage[0, 1, 1, 1 : 1 + voxels] = 1  # in the zero background
    data, _, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        image.copy(),
        first_stage,
        {"spacing": [1.0, 1.0, 1.0]},
        plans,
        plans.get_configuration("3d_cascade_fullres"),
        data_set,
    )
    seen.append(data[0][head])
    print(f"{voxels} voxels of a first label outside of the head: mean in it {seen[-1].mean():.4f}")
difference = np.abs(seen[1] - seen[0])
print(f"{np.mean(difference > 0):.0%} of the voxels in the head differ, by up to {difference.max():.3f}")
assert (difference > 0).all() and 0.02 < difference.max() < 0.04, "nnU-Net behaves otherwise now"
PYTHON
"$folder/venv/bin/python" "$folder/cascade.py" 2>/dev/null
