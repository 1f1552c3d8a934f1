"""Networks whose weights belong to places of the patch, so that they take one size only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from MISFMLib.configs import NetworkConfig, Size
from MISFMLib.errors import ConfigError
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.resolution import check_patch


def patch_of(config: NetworkConfig) -> Size:
    """Return the patch a network is built for.

    Raises:
        ConfigError: There is none, or it does not fit the network.
    """
    check_patch(config)
    assert config.patch_size is not None, "it was checked"
    return config.patch_size


class FixedSizeNetwork(SegmentationNetwork):
    """Pads smaller volumes to its patch and refuses larger ones."""

    def _padded(self, image_BCDHW: Tensor) -> Tensor:
        patch, size = patch_of(self.config), tuple(image_BCDHW.shape[2:])
        if size == patch:
            return image_BCDHW
        if any(n > edge for n, edge in zip(size, patch, strict=True)):
            raise ConfigError(
                f"A {self.config.architecture} for patches of {patch} voxels was given {size}.",
                code="patch-size",
                remedy="Cut the volume into windows of that size, as `misfm segment` does.",
            )
        d, h, w = (edge - n for n, edge in zip(size, patch, strict=True))
        return F.pad(image_BCDHW, (0, w, 0, h, 0, d), mode="replicate")
