"""``misfm convert``: from a published PyMIC checkpoint (.pt) to a bundle without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from MISFMLib import __version__
from MISFMLib.configs import (
    IntensityConfig,
    NetworkConfig,
    PreprocessingConfig,
    ResolutionMode,
    Size,
)
from MISFMLib.models.bundle import (
    Bundle,
    BundleManifest,
    check_bundle_output,
    write_bundle,
)
from MISFMLib.models.bundle_files import file_sha256
from MISFMLib.models.catalogue import CatalogueEntry, read_catalogue
from MISFMLib.models.terminology import label_config
from MISFMLib.networks import (
    LoadReport,
    SegmentationNetwork,
    load_published_checkpoint,
    weights_to_numpy,
)
from MISFMLib.networks.safe_reading import read_iteration

_RELEASED_CLIP_HU = (-1000.0, 1000.0)
_RELEASED_PATCH: Size = (64, 128, 128)
_ARCHITECTURES = {"pctnet": "PCT-Net", "fmunet": "FMUNet"}


def convert_checkpoint(
    path: Path,
    output: Path,
    *,
    resolution_mode: ResolutionMode = 1,
    patch_size: Size | None = None,
    labels: Sequence[str] = (),
    overwrite: bool = False,
) -> tuple[Bundle, LoadReport]:
    """Write a published checkpoint as a bundle; code in the checkpoint is never run.

    The weights stay float32, so that the bundle computes what the checkpoint computed. A checkpoint
    does not tell how its volumes were prepared: the bundle says what the released weights were
    trained with, CT clipped to [-1000, 1000] HU and scaled to [-1, 1], in patches of 64x128x128
    voxels.

    Args:
        path: PyMIC checkpoint.
        output: Bundle folder to write; its name becomes the model's name.
        resolution_mode: Mode of a PCT-Net, which the checkpoint does not tell.
        patch_size: Patch in voxels that the network was trained with; the released one if None.
        labels: Names of the foreground classes of a network that segments. Without them the bundle
            is of the kind ``pretrained`` and keeps the heads for deep supervision.
        overwrite: Replace a bundle that is already there.

    Returns:
        The bundle, and what became of every tensor of the checkpoint.

    Raises:
        BundleError: The checkpoint is missing, damaged, unsafe or not understood completely.
        ConfigError: The number of labels or the name of the output does not fit.
        OutputError: The bundle exists already or cannot be written.
    """
    check_bundle_output(output, overwrite=overwrite)
    network, report = _load(path, resolution_mode, patch_size, deep_supervision=not labels)
    source = {
        "file": path.name,
        "sha256": file_sha256(path),
        "iteration": read_iteration(path),
        "converted_by": f"MISFM {__version__}",
    }
    manifest = BundleManifest(
        name=output.name,
        kind="segmentation" if labels else "pretrained",
        network=network.config,
        preprocessing=_released_preprocessing(network.config, patch_size or _RELEASED_PATCH),
        labels=tuple(label_config(value, name) for value, name in enumerate(labels, start=1)),
        provenance={key: value for key, value in source.items() if value is not None},
        **_texts(path, network.config),
    )
    weights = weights_to_numpy(network, half=False)
    return write_bundle(output, manifest, weights, overwrite=overwrite), report


def _load(
    path: Path, resolution_mode: ResolutionMode, patch_size: Size | None, *, deep_supervision: bool
) -> tuple[SegmentationNetwork, LoadReport]:
    """Load the checkpoint, with the heads for deep supervision only if it has all of them."""
    network, report = load_published_checkpoint(
        path,
        resolution_mode=resolution_mode,
        patch_size=patch_size,
        deep_supervision=deep_supervision,
    )
    if deep_supervision and report.newly_initialised:
        return _load(path, resolution_mode, patch_size, deep_supervision=False)
    return network, report


def _released_preprocessing(network: NetworkConfig, patch_size: Size) -> PreprocessingConfig:
    channels = network.in_channels
    names = tuple(f"image{index}" for index in range(1, channels + 1))
    return PreprocessingConfig(
        modality="CT",
        channels=names if channels > 1 else ("image",),
        intensity=(IntensityConfig(scheme="ct-clip", clip=_RELEASED_CLIP_HU),) * channels,
        patch_size=patch_size,
    )


def _texts(path: Path, network: NetworkConfig) -> dict[str, Any]:
    """Take the texts of the catalogue for a published file, else say that nothing is known."""
    entry = _catalogue_entry(path.name)
    limitations = "The checkpoint does not tell how its volumes were prepared; check that."
    if entry is None:
        return {
            "title": f"{_ARCHITECTURES[network.architecture]} from {path.name}",
            "description": f"Converted from the checkpoint {path.name}.",
            "limitations": limitations,
            "authors": "unknown",
            "license": "unknown",
        }
    return {
        "title": entry.title,
        "description": f"{entry.description} Paper: {entry.paper}",
        "intended_use": "Start for fine-tuning on own labels.",
        "limitations": limitations,
        "authors": entry.paper.split(",")[0],
        "license": entry.license,
        "training_data": f"See the paper. Weights published at {entry.page}",
    }


def _catalogue_entry(file: str) -> CatalogueEntry | None:
    return next((entry for entry in read_catalogue() if entry.file == file), None)
