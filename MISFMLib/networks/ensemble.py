"""Several networks of the same kind that answer as one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks.base import SegmentationNetwork


class Ensemble(SegmentationNetwork):
    """Averages the logits of its members, such as the folds of a cross-validation."""

    input_layers = ()
    has_pyramid = False

    def __init__(self, config: NetworkConfig, members: Sequence[SegmentationNetwork]) -> None:
        super().__init__(config)
        self.members = nn.ModuleList(members)

    def forward(self, image_BCDHW: Tensor) -> Tensor:
        """Return the mean logits (B, K, D, H, W) of the members."""
        logits_BKDHW: Tensor = self.members[0](image_BCDHW)
        for member in list(self.members)[1:]:
            logits_BKDHW = logits_BKDHW + member(image_BCDHW)
        return logits_BKDHW / len(self.members)
