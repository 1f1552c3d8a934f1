"""Checkpoints of the published networks (PyMIC's .pt files), translated to ours.

Source of the format: `pymic/net_run/agent_seg.py` of github.com/HiLab-git/PyMIC.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from MISFMLib.configs import NetworkConfig, ResolutionMode, Size, raise_problems
from MISFMLib.errors import BundleError
from MISFMLib.networks import published_names
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.build import build_network
from MISFMLib.networks.pct_net import effective_windows
from MISFMLib.networks.safe_reading import read_tensors
from MISFMLib.networks.weights import LoadReport, load_trained
from MISFMLib.networks.window_layout import relative_position_index

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedWeights:
    """The content of a published checkpoint in our names."""

    config: NetworkConfig
    """Settings of the network, as far as the tensors tell."""
    weights: Mapping[str, Tensor]
    """Tensors by the names of our network, the heads of all levels among them."""
    names: Mapping[str, str]
    """Name in the file for each of `weights`."""
    unused: Mapping[str, str]
    """Names in the file that our network has no use for, each with the reason."""


def load_published_checkpoint(
    path: Path | str,
    *,
    resolution_mode: ResolutionMode = 1,
    patch_size: Size | None = None,
    num_classes: int | None = None,
    deep_supervision: bool = False,
) -> tuple[SegmentationNetwork, LoadReport]:
    """Build the network of a published PCT-Net or FMUNet checkpoint and load its weights.

    Channels, classes, heads, windows and depths are inferred from the tensors. No code that the
    file may hold is run.

    Args:
        path: PyMIC checkpoint, or a plain state dictionary saved by torch.
        resolution_mode: Which of its three stems and heads a PCT-Net shall use; the released
            weights were trained in mode 1. An FMUNet has one mode only, which its tensors tell.
        patch_size: Patch in voxels that the PCT-Net was built for. It matters when a window spans
            the patch: the published network shifts no windows then. None means that the patch was
            large enough.
        num_classes: Classes wanted, if others than in the file; the class convolutions are fresh
            then.
        deep_supervision: Return the logits of four levels, finest first, instead of one tensor.

    Returns:
        The network in evaluation mode, and what became of every tensor. The report names the
        network's tensors as the network does, and unused ones as the file does.

    Raises:
        BundleError: The file is missing, damaged, no checkpoint, wants to run code, or holds a
            network that is not a published one or not the one asked for.
    """
    if resolution_mode not in (0, 1, 2):
        raise_problems(
            [f"resolution_mode is {resolution_mode}, it must be 0, 1 or 2"], "Choose one of them."
        )
    published = read_published(Path(path), resolution_mode, patch_size)
    config = dataclasses.replace(published.config, deep_supervision=deep_supervision)
    if num_classes is not None:
        config = dataclasses.replace(config, num_classes=num_classes)
    network = build_network(config)
    report = load_trained(network, published.config, published.weights)
    return network.eval(), complete_report(published, report)


def complete_report(published: PublishedWeights, report: LoadReport) -> LoadReport:
    """Extend the report of loading `published.weights` to all tensors of the file, by its names."""
    unused = {published.names[name]: reason for name, reason in report.unused.items()}
    return dataclasses.replace(report, unused={**unused, **published.unused})


def read_published(
    path: Path, resolution_mode: ResolutionMode, patch_size: Size | None = None
) -> PublishedWeights:
    """Read a published checkpoint and translate it; see `load_published_checkpoint`.

    Raises:
        BundleError: The file cannot be read or is not understood completely.
    """
    tensors = read_tensors(path)
    if any(name.startswith("pyramid_ct.") for name in tensors):
        config = published_names.pctnet_config(tensors, resolution_mode)
        config = _with_patch(config, patch_size)
        modules = published_names.pctnet_modules(config)
        return _translate(tensors, config, modules, _unused_of_pctnet(tensors, config))
    if any(name.startswith("encoder.en_conv0.") for name in tensors):
        config = published_names.fmunet_config(tensors)
        return _translate(tensors, config, published_names.fmunet_modules(config), {})
    raise BundleError(
        f"{path} holds an unknown network with tensors such as {next(iter(tensors))}.",
        code="checkpoint-unknown-network",
        remedy="Give a checkpoint of the published PCT-Net or FMUNet.",
    )


def _translate(
    tensors: Mapping[str, Tensor],
    config: NetworkConfig,
    modules: Mapping[str, str],
    unused: Mapping[str, str],
) -> PublishedWeights:
    ours = {name: published_names.rename(name, modules) for name in tensors if name not in unused}
    unknown = [name for name, our_name in ours.items() if our_name is None]
    if unknown:
        raise BundleError(
            f"{len(unknown)} tensors belong to no part of the published {config.architecture}, "
            f"such as {unknown[0]}.",
            code="checkpoint-unknown-tensors",
            remedy="The checkpoint comes from a changed network, which is not supported.",
        )
    names = {our_name: name for name, our_name in ours.items() if our_name is not None}
    weights = {our_name: tensors[name] for our_name, name in names.items()}
    return PublishedWeights(config, weights, names, unused)


def _unused_of_pctnet(tensors: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, str]:
    """Explain the tensors of a published PCT-Net that a network of one mode does not need."""
    unused = {}
    for name, tensor in tensors.items():
        variant = re.match(r"(?:embeddings|pred_heads)\.(\d)\.", name)
        if variant and int(variant[1]) != config.resolution_mode:
            unused[name] = f"it belongs to resolution mode {variant[1]}"
        elif re.search(r"\.norm_layer\.(weight|bias)$", name):
            unused[name] = "the published network never applies it"
        elif name.endswith(".attn.relative_position_index"):
            _refuse_other_index(name, tensor, config)
            unused[name] = "it is recomputed and was equal"
    return unused


def _refuse_other_index(name: str, index: Tensor, config: NetworkConfig) -> None:
    level = re.match(r"pyramid_ct\.convtrans_[ed]([234])\.", name)
    window = config.window_sizes[int(level[1]) - 2] if level else 0
    if not torch.equal(index.long(), relative_position_index(window, torch.device("cpu"))):
        raise BundleError(
            f"{name} is not the index that the published network uses.",
            code="checkpoint-other-index",
            remedy="The checkpoint comes from a changed network, which is not supported.",
        )


def _with_patch(config: NetworkConfig, patch_size: Size | None) -> NetworkConfig:
    if patch_size is None:
        if len(set(config.window_sizes)) > 1:
            _logger.warning(
                "The windows %s differ between levels. If a small training patch has cut them, "
                "give its size: windows that span it are not shifted.",
                config.window_sizes,
            )
        return config
    d, h, w = patch_size
    with_patch = dataclasses.replace(config, patch_size=(d, h, w))
    windows = effective_windows(with_patch)
    if windows != config.window_sizes:
        raise BundleError(
            f"The checkpoint's windows are {config.window_sizes}; a patch of {d}x{h}x{w} voxels in "
            f"resolution mode {config.resolution_mode} would cut them to {windows}, which needs "
            "bias tables of another shape.",
            code="patch-does-not-fit",
            remedy="Give the patch size and resolution mode that it was trained with, or none.",
        )
    return with_patch
