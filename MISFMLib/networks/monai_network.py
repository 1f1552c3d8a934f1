"""Networks of MONAI that bundles in its form use, by a closed list of names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import ConfigError, DependencyError
from MISFMLib.networks.base import SegmentationNetwork

NAMES = ("UNet", "SegResNet", "SwinUNETR", "DynUNet")
"""Networks that can be built."""


class MonaiNetwork(SegmentationNetwork):
    """Runs a network of MONAI; `config.monai` holds its name, arguments and peculiarities as JSON.

    The key ``merging`` of SwinUNETR says in which order patches are merged: MONAI before 1.5 took
    two of eight neighbours twice, and weights trained with that need it. The key ``outputs`` lists
    the outputs in the order that they are wanted in.
    """

    input_layers = ()
    has_pyramid = False

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        described = json.loads(config.monai)
        name, arguments = described["name"], described["arguments"]
        if name not in NAMES:
            raise ConfigError(
                f"The network is {name}, known are {', '.join(NAMES)}.",
                code="bad-option",
                remedy="Use a model with one of these.",
            )
        self.network = _build(name, arguments)
        if described.get("merging") == "before-1.5":
            _merge_as_before(self.network)
        self._outputs: list[int] | None = described.get("outputs")

    def forward(self, image_BCDHW: Tensor) -> Tensor:
        """Return logits (B, K, D, H, W)."""
        logits = self.network(image_BCDHW)
        if isinstance(logits, list | tuple):
            logits = logits[0]
        tensor: Tensor = logits
        if self._outputs is None:
            return tensor
        # An index would be copied to the device, which no recorded graph allows.
        return torch.cat([tensor[:, output : output + 1] for output in self._outputs], 1)


def _build(name: str, arguments: dict[str, Any]) -> nn.Module:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise DependencyError(
            f"The network {name} of this model comes from MONAI, which is not installed.",
            code="monai-missing",
            remedy="Install it with: pip install 'misfm[monai]'",
        ) from error
    classes: dict[str, Callable[..., nn.Module]] = {known: getattr(nets, known) for known in NAMES}
    try:
        return classes[name](**arguments)
    except ImportError as error:  # of what MONAI needs for this network
        raise DependencyError(
            f"The network {name} needs a package that is not installed: {error}.",
            code="monai-missing",
            remedy="Install it with: pip install 'misfm[monai]'",
        ) from error
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"MONAI cannot build the network {name} as the model describes it: {error}.",
            code="bad-option",
            remedy="Update MONAI, or get another version of the model.",
        ) from error


def _merge_as_before(network: nn.Module) -> None:
    """Let the patches of a SwinUNETR be merged as MONAI did before 1.5."""
    from monai.networks.nets.swin_unetr import PatchMerging

    for module in network.modules():
        if isinstance(module, PatchMerging):
            module.__class__ = _old_merging(PatchMerging)


def _old_merging(base: type[nn.Module]) -> type[nn.Module]:
    class OldPatchMerging(base):  # type: ignore[misc, valid-type]
        """Takes the neighbours 010 and 001 twice, 110 and 011 never."""

        def forward(self, x: Tensor) -> Tensor:
            _, d, h, w, _ = x.shape
            x = nn.functional.pad(x, (0, 0, 0, w % 2, 0, h % 2, 0, d % 2))
            corners = ("000", "100", "010", "001", "101", "010", "001", "111")
            parts = [
                x[:, int(corner[0]) :: 2, int(corner[1]) :: 2, int(corner[2]) :: 2]
                for corner in corners
            ]
            merged: Tensor = self.reduction(self.norm(torch.cat(parts, -1)))
            return merged

    return OldPatchMerging
