"""Networks with trained weights: ready to segment, or as the start of a fine-tuning."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from MISFMLib.configs import NetworkConfig
from MISFMLib.errors import BundleError
from MISFMLib.models.bundle import Bundle, read_weights
from MISFMLib.networks.base import SegmentationNetwork
from MISFMLib.networks.build import NothingDrawn, build_network, build_shapes
from MISFMLib.networks.published import complete_report, read_published
from MISFMLib.networks.weights import LoadReport, load_trained

T = TypeVar("T")


def network_from_bundle(bundle: Bundle, *, deep_supervision: bool = False) -> SegmentationNetwork:
    """Build a bundle's network with its weights, in evaluation mode and float32.

    Args:
        bundle: Its weights are verified before use.
        deep_supervision: Return logits of four levels; heads that the bundle lacks are fresh.

    Raises:
        BundleError: The weights are damaged or do not fit the bundle's own settings.
    """
    source, weights = bundle.manifest.network, read_weights(bundle)
    config = dataclasses.replace(source, deep_supervision=deep_supervision)
    # A manifest may describe a network of any size: it is compared before it takes any memory.
    report = load_trained(build_shapes(config), source, weights)
    with contextlib.nullcontext() if report.newly_initialised else NothingDrawn():
        network = build_network(config)
    load_trained(network, source, weights)
    return network.eval()


def initialise(
    network: SegmentationNetwork,
    source: Bundle | Path,
    *,
    encoder_only: bool = False,
    is_other_task: bool = False,
) -> LoadReport:
    """Start a network from trained weights, for fine-tuning.

    Everything that fits is loaded. The class convolutions stay fresh when the classes differ or the
    source was trained for another task, as a pretrained bundle was, the input convolution when the
    channels differ, the bias tables of other window sizes, and the decoder of a bundle that holds
    an encoder only.

    Args:
        network: The network to train.
        source: A bundle, or the path of a published PyMIC checkpoint (.pt).
        encoder_only: Leave decoder and class convolutions fresh, as the published fine-tuning does
            after pretraining by restoring volumes (`openmedlab/MIS-FM`, `weights_load_mode`).
        is_other_task: Whether the classes of the source are others, even if they are as many.

    Returns:
        What became of every tensor, with reasons.

    Raises:
        BundleError: The source is damaged, or is another network in any other respect.
    """
    if isinstance(source, Bundle):
        config = source.manifest.network
        _refuse_other_structure(network.config, config)
        weights = _taken(network, read_weights(source), encoder_only)
        is_pretext = encoder_only or is_other_task or source.manifest.kind == "pretrained"
        return load_trained(network, config, weights, is_pretext=is_pretext)
    published = read_published(source, network.config.resolution_mode)
    _refuse_other_structure(network.config, published.config)
    tensors = _taken(network, published.weights, encoder_only)
    report = load_trained(
        network, published.config, tensors, is_pretext=encoder_only or is_other_task
    )
    return complete_report(published, report)


def _taken(
    network: SegmentationNetwork, weights: Mapping[str, T], encoder_only: bool
) -> Mapping[str, T]:
    if not encoder_only:
        return weights
    parts = network.encoder_parts
    return {name: weight for name, weight in weights.items() if name.startswith(parts)}


def _refuse_other_structure(config: NetworkConfig, source: NetworkConfig) -> None:
    wanted, given = _structure(config), _structure(source)
    problems = [
        f"{name} is {given[name]}, the network has {value}"
        for name, value in wanted.items()
        if given.get(name, value) != value
    ]
    if problems:
        raise BundleError(
            f"The weights belong to another network: {'; '.join(problems)}.",
            code="other-network",
            remedy="Take over the network settings of the source, or start from another one.",
        )


def _structure(config: NetworkConfig) -> dict[str, Any]:
    """Collect the settings that a fine-tuning cannot change."""
    structure: dict[str, Any] = {
        "architecture": config.architecture,
        "level_channels": config.level_channels,
        "resolution_mode": config.resolution_mode,
    }
    if config.architecture in ("pctnet", "swinunetr", "unetr", "nnformer", "unetrpp", "transunet"):
        structure |= {"depths": config.depths, "num_heads": config.num_heads}
    if config.architecture == "segresnet":
        structure["depths"] = config.depths
    if config.stages is not None:
        structure["stages"] = config.stages
    if config.architecture == "fmunet":
        structure["depth"] = config.depths[0]
    return structure
