"""Segmentation networks and their weights."""

from __future__ import annotations

from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.build import build_network
from MISFMLib.networks.published import load_published_checkpoint
from MISFMLib.networks.resolution import choose_resolution_mode, stride_dhw
from MISFMLib.networks.trained import initialise, network_from_bundle
from MISFMLib.networks.weights import LoadReport, load_weights, weights_to_numpy

__all__ = [
    "LoadReport",
    "SegmentationNetwork",
    "build_network",
    "choose_resolution_mode",
    "initialise",
    "load_published_checkpoint",
    "load_weights",
    "network_from_bundle",
    "stride_dhw",
    "weights_to_numpy",
]
