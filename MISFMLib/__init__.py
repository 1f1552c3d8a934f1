"""MISFM: PCT-Net, Volume Fusion and fast sliding-window segmentation of CT and MR volumes."""

__version__ = "0.1.0"
