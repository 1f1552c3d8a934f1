"""The U-shaped skeleton that all networks share; it accepts volumes of any size.

Axis letters: B batch, C channels, K classes, D depth, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks.recomputation import run
from MISFMLib.networks.resolution import level_scales, stride_dhw


class Encoder(nn.Module):
    """Five levels of features, each made from the one above it.

    Args:
        blocks: One block per level; the first one receives the network's (projected) input.
        downs: Entry i leads from level i to level i + 1.
    """

    recomputed_levels = 0

    def __init__(self, blocks: list[nn.Module], downs: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downs = nn.ModuleList(downs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of all levels, finest first."""
        levels: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            again = level < self.recomputed_levels
            below = run(self.downs[level - 1], levels[-1], again=again) if levels else x
            levels.append(run(block, below, again=again))
        return levels


class Decoder(nn.Module):
    """Carries the coarsest features back up, joining the encoder's features at every level.

    Args:
        ups: Entry i maps (features of level i, decoded features of level i + 1) to level i.
        blocks: One block per level 0 to 3, applied after its entry of `ups`.
    """

    recomputed_levels = 0

    def __init__(self, ups: list[nn.Module], blocks: list[nn.Module]) -> None:
        super().__init__()
        self.ups = nn.ModuleList(ups)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Return the decoded features of all levels, finest first; the coarsest stays as it is."""
        *skips, x = levels
        decoded = [x]
        for level in reversed(range(len(skips))):
            again = level < self.recomputed_levels
            joined = run(self.ups[level], skips[level], x, again=again)
            x = run(self.blocks[level], joined, again=again)
            decoded.insert(0, x)
        return decoded


def recompute_levels(network: nn.Module, count: int) -> None:
    """Let the finest levels of a network keep no inner features for the gradient (see `run`)."""
    for part in network.modules():
        if isinstance(part, Encoder | Decoder):
            part.recomputed_levels = count


class SegmentationNetwork(nn.Module):
    """Maps volumes to logits; the base of the networks, which fill in the parts.

    Sizes that the strides do not divide are padded by repeating the last voxels at the far end of
    each axis, and the logits are cropped back, so volumes of any size can be given.

    Attributes:
        config: The settings that rebuild this network.
        input_layers: Name prefixes of the parameters whose shape depends on `config.in_channels`.
        encoder_parts: Name prefixes of the parameters that come before the decoder.
        decoder_parts: Name prefixes of those between encoder and `heads`.
        placed: Endings of the names of the parameters whose shape depends on `config.patch_size`.
        has_pyramid: Whether `features` and `encoder_features` can be asked for.
    """

    input_layers: tuple[str, ...] = ("project.",)
    encoder_parts: tuple[str, ...] = ("project.", "encoder.", "bottom.")
    decoder_parts: tuple[str, ...] = ("decoder.",)
    placed: tuple[str, ...] = ()
    has_pyramid = True
    project: nn.Module
    encoder: nn.Module
    bottom: nn.Module
    decoder: nn.Module
    heads: nn.ModuleList

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, image_BCDHW: Tensor) -> Tensor | list[Tensor]:
        """Compute the logits of every class.

        Args:
            image_BCDHW: Preprocessed volumes of any spatial size.

        Returns:
            Logits (B, K, D, H, W), or with deep supervision the logits of levels 0 to 3, finest
            first; level i has ceil(size / scale of the level) voxels along each axis.
        """
        size = image_BCDHW.shape[2:]
        levels = self._decoded_levels(image_BCDHW)
        logits = [head(level) for head, level in zip(self.heads, levels, strict=False)]
        logits = self._cropped(logits, size)
        return logits if self.config.deep_supervision else logits[0]

    def features(self, image_BCDHW: Tensor) -> list[Tensor]:
        """Compute the feature pyramid, for downstream use such as classification or retrieval.

        Returns:
            Five maps, finest first. Level i has `config.level_channels[i]` channels and
            ceil(size / scale of the level) voxels along each axis. Levels 0 to 3 are the decoder's
            features (what the logits are computed from), level 4 is the bottom of the U.
        """
        return self._cropped(self._decoded_levels(image_BCDHW), image_BCDHW.shape[2:])

    def encoder_features(self, image_BCDHW: Tensor) -> list[Tensor]:
        """Compute the features that go into the decoder; sizes as those of `features`."""
        return self._cropped(self._encoded_levels(image_BCDHW), image_BCDHW.shape[2:])

    def lines(self) -> Sequence[Sequence[Any]]:
        """List modules that follow each other, each alone seeing the output of the one before.

        What lies within one `Sequential` need not be listed.
        """
        return []

    def _encoded_levels(self, image_BCDHW: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.encoder(self.project(self._padded(image_BCDHW)))
        levels[-1] = self.bottom(levels[-1])
        return levels

    def _decoded_levels(self, image_BCDHW: Tensor) -> list[Tensor]:
        decoded: list[Tensor] = self.decoder(self._encoded_levels(image_BCDHW))
        return decoded

    def _padded(self, image_BCDHW: Tensor) -> Tensor:
        stride = stride_dhw(self.config)
        target = [-(-n // s) * s for n, s in zip(image_BCDHW.shape[2:], stride, strict=True)]
        if tuple(target) == stride and self._refuses_single_voxels(len(image_BCDHW)):
            target[-1] *= 2
        missing = [goal - n for goal, n in zip(target, image_BCDHW.shape[2:], strict=True)]
        if not any(missing):
            return image_BCDHW
        d, h, w = missing
        return F.pad(image_BCDHW, (0, w, 0, h, 0, d), mode="replicate")

    def _refuses_single_voxels(self, batch_size: int) -> bool:
        """Tell whether the normalisation fails when the coarsest level is a single voxel."""
        return self.training and batch_size == 1  # BatchNorm needs two values for a variance

    def _cropped(self, levels: list[Tensor], size: Sequence[int]) -> list[Tensor]:
        scales = level_scales(self.config)
        cropped = []
        for level, scale in zip(levels, scales, strict=False):
            d, h, w = (-(-n // s) for n, s in zip(size, scale, strict=True))
            cropped.append(level[..., :d, :h, :w])
        return cropped
