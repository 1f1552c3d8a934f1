"""SegResNet, Swin UNETR and UNETR, built by MONAI, with class outputs that are ours to set."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import DependencyError
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.fixed_size import FixedSizeNetwork, patch_of

_HEAD_WIDTH = 64
"""Features of an attention head of UNETR, as in every published vision transformer."""


class _MonaiUNet(SegmentationNetwork):
    """A network of MONAI up to its last features, and a convolution that makes logits of them."""

    has_pyramid = False

    def __init__(self, config: NetworkConfig, network: nn.Module) -> None:
        super().__init__(config)
        self.network = network
        head = nn.Conv3d(config.level_channels[0], config.num_classes, 1)
        self.heads = nn.ModuleList([nn.Sequential(OrderedDict(conv=head))])

    def _decoded_levels(self, image_BCDHW: Tensor) -> list[Tensor]:
        return [self.network(self._padded(image_BCDHW))]


class SegResNet(_MonaiUNet):
    """Residual blocks with group norm; Myronenko, arXiv 1810.11654, without its autoencoder."""

    input_layers = ("network.convInit.conv.",)
    encoder_parts = ("network.convInit.", "network.down_layers.")
    decoder_parts = ("network.up_layers.", "network.up_samples.", "network.conv_final.")

    def __init__(self, config: NetworkConfig) -> None:
        network = _nets().SegResNet(
            spatial_dims=3,
            init_filters=config.level_channels[0],
            in_channels=config.in_channels,
            out_channels=1,
            blocks_down=config.depths,
            blocks_up=(1,) * (len(config.depths) - 1),
        )
        network.conv_final[-1] = nn.Identity()
        super().__init__(config, network)


class SwinUNETR(_MonaiUNet):
    """Windows of attention as encoder, convolutions as decoder; Hatamizadeh, arXiv 2201.01266."""

    input_layers = (
        "network.swinViT.patch_embed.proj.",
        "network.encoder1.layer.conv1.conv.",
        "network.encoder1.layer.conv3.conv.",
    )
    encoder_parts = ("network.swinViT.", "network.encoder")
    decoder_parts = ("network.decoder",)

    def __init__(self, config: NetworkConfig) -> None:
        network = _nets().SwinUNETR(
            in_channels=config.in_channels,
            out_channels=1,
            feature_size=config.level_channels[0],
            depths=config.depths,
            num_heads=config.num_heads,
        )
        network.out = nn.Identity()
        super().__init__(config, network)

    def _refuses_single_voxels(self, batch_size: int) -> bool:
        return batch_size > 0  # its instance norms always do, also without training


class UNETR(FixedSizeNetwork, _MonaiUNet):
    """A vision transformer as encoder, convolutions as decoder; Hatamizadeh, arXiv 2103.10504."""

    input_layers = (
        "network.vit.patch_embedding.patch_embeddings.",
        "network.encoder1.layer.conv1.conv.",
        "network.encoder1.layer.conv3.conv.",
    )
    placed = ("network.vit.patch_embedding.position_embeddings",)
    encoder_parts = ("network.vit.", "network.encoder")
    decoder_parts = ("network.decoder",)

    def __init__(self, config: NetworkConfig) -> None:
        width = _HEAD_WIDTH * config.num_heads[0]
        network = _nets().UNETR(
            in_channels=config.in_channels,
            out_channels=1,
            img_size=patch_of(config),
            feature_size=config.level_channels[0],
            hidden_size=width,
            mlp_dim=4 * width,
            num_heads=config.num_heads[0],
        )
        network.out = nn.Identity()
        for block in network.vit.blocks:
            block.norm_cross_attn = nn.Identity()  # never used; one without gradient stops DDP
        super().__init__(config, network)


def _nets() -> Any:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise DependencyError(
            "SegResNet, Swin UNETR and UNETR come from MONAI, which is not installed.",
            code="monai-missing",
            remedy="Install it with: pip install 'misfm[monai]'",
        ) from error
    return nets
