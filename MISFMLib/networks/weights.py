"""Weights into networks and out again; every tensor on either side is accounted for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import BundleError
from MISFMLib.networks.base import SegmentationNetwork

Array: TypeAlias = np.ndarray[Any, Any]
_NONE: Mapping[str, str] = MappingProxyType({})
_MAX_LISTED = 4
_CLASS_CONVOLUTION = re.compile(r"heads\.\d\.conv\.")


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a source and of the network."""

    loaded: tuple[str, ...]
    """The network's tensors that were taken from the source."""
    newly_initialised: Mapping[str, str]
    """The network's tensors that keep their fresh values, each with the reason."""
    unused: Mapping[str, str]
    """The source's tensors that went nowhere, each with the reason."""

    def summary(self) -> str:
        """Describe the load in a few lines for a person; tensors with the same reason share one."""
        lines = [f"{len(self.loaded)} tensors loaded"]
        for title, reasons in (
            ("newly initialised", self.newly_initialised),
            ("not used", self.unused),
        ):
            for reason in dict.fromkeys(reasons.values()):
                names = [name for name, why in reasons.items() if why == reason]
                lines.append(f"{len(names)} {title}, {reason}: {_listed(names)}")
        return "\n".join(lines)


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor | Array],
    *,
    allow_new: Mapping[str, str] = _NONE,
    allow_unused: Mapping[str, str] = _NONE,
    keep_fresh: Collection[str] = (),
) -> LoadReport:
    """Copy weights into a network, all or nothing.

    Args:
        network: Keeps its device and number format. On the meta device, which has shapes and no
            numbers, it is only compared with the weights.
        weights: Tensors by the names of the network's state.
        allow_new: The network's tensors that may be missing, or have another shape, in `weights`,
            each with the reason, which goes into the report.
        allow_unused: Tensors of `weights` that the network need not have, each with the reason.
        keep_fresh: Tensors of `allow_new` that are not loaded even if `weights` has fitting ones.

    Raises:
        BundleError: A tensor is missing, left over, or has another shape, and nothing allows it.
            The network is unchanged then.
    """
    state = network.state_dict()
    fitting = [
        name
        for name, target in state.items()
        if name in weights
        and name not in keep_fresh
        and tuple(weights[name].shape) == tuple(target.shape)
    ]
    new = {name: allow_new.get(name, "") for name in state if name not in fitting}
    unused = {
        name: (allow_new if name in state else allow_unused).get(name, "")
        for name in weights
        if name not in fitting
    }
    _refuse_unexplained(state, weights, {**unused, **new})
    if not any(tensor.is_meta for tensor in state.values()):
        tensors = {name: _as_tensor(weights[name]) for name in fitting}
        network.load_state_dict(tensors, strict=False)
    return LoadReport(tuple(fitting), new, unused)


def load_trained(
    network: SegmentationNetwork,
    source: NetworkConfig,
    weights: Mapping[str, Tensor | Array],
    *,
    is_pretext: bool = False,
) -> LoadReport:
    """Load weights that may have been trained for another task than the network is built for.

    Allowed to stay fresh are the class convolutions when the classes differ, the input convolution
    when the channels differ, bias tables of other windows, and auxiliary heads that `weights` lack.
    Auxiliary heads may be left over when the network has no deep supervision.

    After a pretext task the class convolutions stay fresh in any case, since its classes are none,
    and the decoder too when the task trained the encoder only.

    Args:
        network: The network to load into.
        source: Settings of the network that the weights come from.
        weights: Tensors by the names of the network's state.
        is_pretext: Whether the weights were trained for a pretext task, or other classes.

    Raises:
        BundleError: Anything else differs.
    """
    state = network.state_dict()
    classes = [name for name in state if _CLASS_CONVOLUTION.match(name)] if is_pretext else []
    reasons = {
        name: _difference(name, network, source)
        or ("the source has no such output" if _is_auxiliary(name) and name not in weights else "")
        for name in state
    }
    if is_pretext and not any(name.startswith(network.decoder_parts) for name in weights):
        decoder = [name for name in state if name.startswith((*network.decoder_parts, "heads."))]
        reasons |= dict.fromkeys(decoder, "the source brings no decoder")
    reasons |= dict.fromkeys(classes, "the source was trained for another task")
    return load_weights(
        network,
        weights,
        allow_new={name: reason for name, reason in reasons.items() if reason},
        allow_unused={name: "deep supervision is off" for name in weights if _is_auxiliary(name)},
        keep_fresh=classes,
    )


def weights_to_numpy(network: nn.Module, *, half: bool = True) -> dict[str, Array]:
    """Copy a network's weights into arrays, by the names of its state.

    Args:
        network: On any device.
        half: Store weights as float16. The running statistics of BatchNorm stay float32, as do
            tensors with values that float16 cannot hold.
    """
    return {
        name: _to_numpy(tensor, half=half and "running_" not in name)
        for name, tensor in network.state_dict().items()
    }


def _difference(name: str, network: SegmentationNetwork, source: NetworkConfig) -> str:
    """Explain why a tensor of the network may differ from the source's, or return nothing."""
    config = network.config
    if _CLASS_CONVOLUTION.match(name) and config.num_classes != source.num_classes:
        return f"the source has {source.num_classes} classes, {config.num_classes} are wanted"
    inputs = [f"{layer}weight" for layer in network.input_layers]
    if name in inputs and config.in_channels != source.in_channels:
        return f"the source has {source.in_channels} channels, {config.in_channels} are wanted"
    table = re.search(r"(?:blocks|joins)\.(\d)\..*\.bias_table$", name)
    if table:
        level = int(table[1]) - (2 if config.architecture == "pctnet" else 0)
        wanted, given = (c.window_sizes[level] for c in (config, source))
        if wanted != given:
            return f"the source's windows have edge {given}, {wanted} is wanted"
    if name.endswith(network.placed or ("\0",)) and config.patch_size != source.patch_size:
        return f"the source's patch is {source.patch_size}, {config.patch_size} is wanted"
    return ""


def _is_auxiliary(name: str) -> bool:
    """Tell whether a tensor belongs to a head that only deep supervision uses."""
    return name.startswith("heads.") and not name.startswith("heads.0.")


def _refuse_unexplained(
    state: Mapping[str, Tensor], weights: Mapping[str, Any], reasons: Mapping[str, str]
) -> None:
    details = [
        f"{name} ({_shape(weights, name)} given, {_shape(state, name)} expected)"
        for name, reason in reasons.items()
        if not reason
    ]
    if details:
        raise BundleError(
            f"{len(details)} tensors do not fit the network: {_listed(details)}.",
            code="weights-mismatch",
            remedy="Use weights of the same architecture and settings.",
        )


def _shape(tensors: Mapping[str, Any], name: str) -> str:
    if name not in tensors:
        return "none"
    return "x".join(map(str, tensors[name].shape)) or "scalar"


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _as_tensor(array: Tensor | Array) -> Tensor:
    # torch.tensor copies, since arrays from a file may be read-only, which torch resents.
    return array if isinstance(array, Tensor) else torch.tensor(array)


def _to_numpy(tensor: Tensor, *, half: bool) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        fits = half and bool((tensor.abs() <= torch.finfo(torch.float16).max).all())
        tensor = tensor.to(torch.float16 if fits else torch.float32)
    array: Array = tensor.numpy().copy()
    return array
