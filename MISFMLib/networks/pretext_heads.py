"""Networks for pretext tasks that only need the encoder.

Axes: B batch, C channel, D depth, H height, W width, E embedding, K class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.networks.base import SegmentationNetwork

BACKBONE = "network."
"""Name prefix of the segmentation network in the state of an `EncoderTask`."""
_QUARTER_TURNS = 4
_EMBEDDING_LEVEL = 2


class EncoderTask(nn.Module):
    """The encoder of a segmentation network with a head of its own; the decoder is left alone."""

    def __init__(self, network: SegmentationNetwork, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(network.encoder_parts))

    def forward(self, image_BCDHW: Tensor) -> Tensor:
        """Return what the head makes of the encoder's features."""
        answer: Tensor = self.head(self.network.encoder_features(image_BCDHW))
        return answer


class RotationHead(nn.Module):
    """Tells by how many quarter turns the image was turned, from the coarsest features."""

    def __init__(self, level_channels: Sequence[int]) -> None:
        super().__init__()
        self.classify = nn.Linear(level_channels[-1], _QUARTER_TURNS)

    def forward(self, levels_BCDHW: list[Tensor]) -> Tensor:
        """Return logits (B, K) of 0 to 3 turns."""
        logits_BK: Tensor = self.classify(levels_BCDHW[-1].mean(dim=(2, 3, 4)))
        return logits_BK


class EmbeddingHead(nn.Module):
    """Describes every place by a vector made of the features of all levels there.

    As in vox2vec the levels are joined and go through a small network, but on the grid of level 2
    instead of single voxels: finer levels are averaged, coarser ones repeated.
    """

    def __init__(self, level_channels: Sequence[int], hidden: int = 256, size: int = 128) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv3d(sum(level_channels), hidden, 1), nn.ReLU(), nn.Conv3d(hidden, size, 1)
        )

    def forward(self, levels_BCDHW: list[Tensor]) -> Tensor:
        """Return embeddings (B, E, d, h, w) on the grid of level 2."""
        depth, height, width = levels_BCDHW[_EMBEDDING_LEVEL].shape[2:]
        resized = [
            F.adaptive_avg_pool3d(level, (depth, height, width))
            if index < _EMBEDDING_LEVEL
            else F.interpolate(level, (depth, height, width), mode="nearest")
            for index, level in enumerate(levels_BCDHW)
        ]
        embeddings_BEDHW: Tensor = self.project(torch.cat(resized, dim=1))
        return embeddings_BEDHW
