"""Keeps the network of the last model, so that a process that segments again need not load it."""

from __future__ import annotations

import gc

import torch
from torch import nn

from MISFMLib.bundle import Bundle
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.networks import network_from_bundle


class SegmenterCache:
    """Makes segmenters like `Segmenter.from_bundle`, from the network it has when it is the same.

    A bundle is the same when its path and all of its manifest are, which includes the SHA-256 of
    the weights.
    """

    def __init__(self) -> None:
        self._bundle: Bundle | None = None
        self._network: nn.Module | None = None

    def get(self, bundle: Bundle, options: SegmenterOptions) -> Segmenter:
        """Return a segmenter; the network it holds stays here for the next one.

        Raises:
            BundleError: The bundle is damaged.
            ConfigError: An option is not possible.
            DeviceError: The device is absent, broken, or lacks the number format.
        """
        if self._network is None or self._bundle != bundle:
            self.clear()
            self._network, self._bundle = network_from_bundle(bundle), bundle
        manifest = bundle.manifest
        return Segmenter(self._network, manifest.preprocessing, manifest.labels, options)

    def clear(self) -> None:
        """Free the network and what PyTorch keeps of the GPU's memory."""
        self._network = self._bundle = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
