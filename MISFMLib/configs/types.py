"""Names for the values that settings have."""

from __future__ import annotations

from typing import Literal

Size = tuple[int, int, int]
"""Voxels along depth, height, width."""
Spacing = tuple[float, float, float]
"""Millimetres along depth, height, width."""
ResolutionMode = Literal[0, 1, 2]
"""How anisotropic the voxels are: 0 isotropic, 1 mildly (about 2:1), 2 strongly (3:1 and more)."""
Padding = Literal["edge", "zero"]
"""What lies beyond the border of a volume: its outermost voxels again, or zeros."""
Precision = Literal["auto", "fp32", "bf16", "fp16"]
SegmentPrecision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
EngineName = Literal["auto", "torch", "openvino"]
NetworkPreset = Literal[
    "small",
    "full",
    "fmunet",
    "unet3d",
    "unet3d-small",
    "nnunet",
    "nnunet-small",
    "resenc",
    "resenc-small",
    "transunet",
    "transunet-small",
    "segresnet",
    "segresnet-small",
    "swinunetr",
    "swinunetr-small",
    "unetr",
    "unetr-small",
    "nnformer",
    "nnformer-small",
    "unetrpp",
    "unetrpp-small",
]
"""Networks to train from scratch, by the names of the files in ``presets``."""
