"""The one place that turns settings into a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from MISFMLib.configs import NetworkConfig, decode
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.ensemble import Ensemble
from MISFMLib.networks.fmunet import FMUNet
from MISFMLib.networks.monai_network import MonaiNetwork
from MISFMLib.networks.monai_unets import UNETR, SegResNet, SwinUNETR
from MISFMLib.networks.nnformer import NNFormer
from MISFMLib.networks.pct_net import PCTNet
from MISFMLib.networks.staged_unet import StagedUNet
from MISFMLib.networks.transunet import TransUNet
from MISFMLib.networks.unet3d import UNet3D
from MISFMLib.networks.unetrpp import UNETRPlusPlus

_NETWORKS: dict[str, type[SegmentationNetwork]] = {
    "pctnet": PCTNet,
    "fmunet": FMUNet,
    "unet3d": UNet3D,
    "plainconvunet": StagedUNet,
    "resencunet": StagedUNet,
    "transunet": TransUNet,
    "segresnet": SegResNet,
    "swinunetr": SwinUNETR,
    "unetr": UNETR,
    "nnformer": NNFormer,
    "unetrpp": UNETRPlusPlus,
    "monai": MonaiNetwork,
}

_LOOKS_AT_VALUES = ("monai", "segresnet", "swinunetr", "unetr")
"""Networks of MONAI, which look at numbers while they are built."""
_DRAW = (
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
)


def build_network(config: NetworkConfig | Mapping[str, Any]) -> SegmentationNetwork:
    """Build a network with fresh weights, in training mode.

    Args:
        config: The settings, or the same as JSON types, as a bundle stores them.

    Raises:
        ConfigError: A setting is unknown or has a value that is not allowed.
    """
    if not isinstance(config, NetworkConfig):
        config = decode(NetworkConfig, config)
    if config.kinds:
        return Ensemble(config, [build_network(kind) for kind in config.kinds])
    if config.members > 1:
        single = replace(config, members=1)
        return Ensemble(config, [build_network(single) for _ in range(config.members)])
    return _NETWORKS[config.architecture](config)


def build_shapes(config: NetworkConfig) -> SegmentationNetwork:
    """Build a network on the meta device: names and shapes of its weights, without numbers."""
    kinds = {kind.architecture for kind in (config, *config.kinds)}
    if kinds & set(_LOOKS_AT_VALUES):
        return build_network(config).to("meta")
    with torch.device("meta"), NothingDrawn():
        return build_network(config)


class NothingDrawn(TorchFunctionMode):
    """Fills fresh weights with zeros, for networks that get theirs from elsewhere.

    To draw normal numbers on the meta device, where nothing is held, PyTorch 2.13 imports its
    compiler: 1.3 s of a core. Those of nnU-Net's networks take half a second more.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, or fill with zeros what it would draw."""
        kwargs = kwargs or {}
        if func not in _DRAW:
            return func(*args, **kwargs)
        # Not left as they are: truncated normal numbers are drawn until they lie within bounds.
        return nn.init.zeros_(args[0] if args else kwargs["tensor"])
