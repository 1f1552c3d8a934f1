"""Several networks of the same kind that answer as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks.base import SegmentationNetwork


class Ensemble(SegmentationNetwork):
    """Averages the logits or the probabilities of its members, such as the folds of a data set."""

    input_layers = ()
    has_pyramid = False

    def __init__(self, config: NetworkConfig, members: Sequence[SegmentationNetwork]) -> None:
        super().__init__(config)
        self.members = nn.ModuleList(members)

    def forward(self, image_BCDHW: Tensor) -> Tensor:
        """Return the mean logits (B, K, D, H, W), or the logarithms of the mean probabilities."""
        if self.config.averaged == "probabilities":
            return self._of_probabilities(image_BCDHW)
        logits_BKDHW: Tensor = self.members[0](image_BCDHW)
        for member in list(self.members)[1:]:
            logits_BKDHW = logits_BKDHW + member(image_BCDHW)
        return logits_BKDHW / len(self.members)

    def _of_probabilities(self, image_BCDHW: Tensor) -> Tensor:
        log_sum_BKDHW: Tensor = self.members[0](image_BCDHW).log_softmax(1)
        for member in list(self.members)[1:]:
            log_sum_BKDHW = log_sum_BKDHW.logaddexp(member(image_BCDHW).log_softmax(1))
        return log_sum_BKDHW - math.log(len(self.members))
