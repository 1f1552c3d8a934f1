"""Pictures of a model of 117 structures, which `take_screenshots.py --structures` takes.

The model is made here: it tells blobs of a phantom apart by their intensity and names them as
TotalSegmentator names its structures.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import slicer

_MADE = """
import sys
from pathlib import Path
import numpy as np
import SimpleITK as sitk
import torch
from MISFMLib.configs import IntensityConfig, NetworkConfig, PreprocessingConfig, StagesConfig
from MISFMLib.models import store
from MISFMLib.models.bundle import BundleManifest, write_bundle
from MISFMLib.models.terminology import label_config
from MISFMLib.models.totalsegmentator import find_task
from MISFMLib.networks import build_network, weights_to_numpy

names = find_task("totalsegmentator-total").labels
centres = np.array([0.0, *(10.0 * value for value in range(1, len(names) + 1))])
one = ((1, 1, 1),) * 2
network = build_network(NetworkConfig(
    architecture="plainconvunet", num_classes=len(centres), level_channels=(2, 2),
    stages=StagesConfig(kernels=one, strides=((1, 1, 1), (2, 2, 2)), blocks=(1, 1),
                        decoder_blocks=(1,), norm="none", slope=1.0)))
with torch.no_grad():  # the intensity goes through; the class with the nearest centre wins
    for weight in network.parameters():
        weight.zero_()
    network.encoder.blocks[0][0].conv.weight[0, 0] = 1
    network.decoder.blocks[0][0].conv.weight[0, 2] = 1
    network.heads[0].conv.weight[:, 0, 0, 0, 0] = torch.tensor(2 * centres / 100)
    network.heads[0].conv.bias[:] = torch.tensor(-centres**2 / 100)
write_bundle(store.models_folder() / "whole-body", BundleManifest(
    name="whole-body", title="Whole body (phantom)", network=network.config,
    labels=tuple(label_config(value, name) for value, name in enumerate(names, start=1)),
    preprocessing=PreprocessingConfig(modality="CT", patch_size=(32, 64, 64), crop="none",
                                      intensity=(IntensityConfig(scheme="none"),))),
    weights_to_numpy(network))
array = np.full((60, 120, 120), -1000, np.int16)
z, y, x = np.ogrid[:60, :120, :120]
array[np.broadcast_to(((y - 60) / 50) ** 2 + ((x - 60) / 58) ** 2 < 1, array.shape)] = -20
for value, centre in enumerate(centres[1:90]):
    middle = np.array([10 + 20 * (value // 36), 25 + 14 * (value // 6 % 6), 25 + 14 * (value % 6)])
    distance = sum(((g - m) / r) ** 2 for g, m, r in zip((z, y, x), middle, (8, 6, 6)))
    array[distance < 1] = centre
image = sitk.GetImageFromArray(array)
image.SetSpacing((3, 3, 5))
sitk.WriteImage(image, sys.argv[1])
"""


def take_structures(photographer: Any, home: Path, python: str, paths: dict[str, str]) -> None:
    """Walk through the states as a user does."""
    sample = home / "body.nii.gz"
    environment = {**os.environ, **paths}
    subprocess.run([python, "-c", _MADE, str(sample)], check=True, env=environment)
    ui = photographer.ui
    photographer.widget.segmentTab.lookAround()
    volume = slicer.util.loadVolume(str(sample))
    volume.SetName("CT body phantom")
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    photographer.widget.segmentTab._chooseModel("whole-body")
    photographer.wait(lambda: ui.segmentButton.enabled)
    photographer.host.click(ui.segmentButton)
    photographer.wait(lambda: not photographer.widget.logic.jobs)
    photographer.panel("structures")
    ui.resultSearch.setText("left")
    photographer.panel("structures-search")
    photographer.window("structures-window")
    photographer.widget.segmentTab._result.hide()
    ui.optionsSection.collapsed = False
    photographer.host.process_events(0.3)
    ui.structuresSearch.setText("kidney")
    texts = [ui.structuresList.item(row).text() for row in range(ui.structuresList.count)]
    for name in ("kidney_left", "kidney_right"):
        ui.structuresList.item(texts.index(name)).setCheckState(2)
    photographer.panel("structures-only")
