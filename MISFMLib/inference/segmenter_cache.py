"""Keeps the network of the last model, so that a process that segments again need not load it."""

from __future__ import annotations

import gc

import torch

from MISFMLib.inference.engines import Engines
from MISFMLib.inference.segmenter import Segmenter, SegmenterOptions
from MISFMLib.models.bundle import Bundle


class SegmenterCache:
    """Makes segmenters like `Segmenter.from_bundle`, from the network it has when it is the same.

    A bundle is the same when its path and all of its manifest are, which includes the SHA-256 of
    the weights.
    """

    def __init__(self) -> None:
        self._bundle: Bundle | None = None
        self._engines: Engines | None = None

    def get(self, bundle: Bundle, options: SegmenterOptions) -> Segmenter:
        """Return a segmenter; the network and what it was converted to stay here for the next one.

        Raises:
            BundleError: The bundle is damaged.
            ConfigError: An option is not possible.
            DeviceError: The device is absent, broken, or lacks the number format.
        """
        if self._engines is None or self._bundle != bundle:
            self.clear()
            self._engines, self._bundle = Engines.from_bundle(bundle), bundle
        manifest = bundle.manifest
        return Segmenter(self._engines, manifest.preprocessing, manifest.own_labels, options)

    def clear(self) -> None:
        """Free the network and what PyTorch keeps of the GPU's memory."""
        self._engines = self._bundle = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
