"""What MONAI reads in a bundle: ``configs/metadata.json`` and ``configs/inference.json``.

Keys and formats follow https://monai.readthedocs.io/en/stable/mb_specification.html and the schema
in Project-MONAI/MONAI ``monai/bundle/meta_schema.json`` (MONAI 1.4). The versions of torch and
MONAI are taken from their installation records, so that neither is imported.
"""

from __future__ import annotations

import importlib.metadata
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MISFMLib import __version__
from MISFMLib.configs import NetworkConfig, encode
from MISFMLib.errors import BundleError
from MISFMLib.models.bundle_manifest import BundleManifest

FORMAT = 1
"""Version of our own keys; raised when an older MISFM could misread them."""
_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_REQUIRED = (
    "schema",
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "optional_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
)
_LOWEST_VERSIONS = {"monai": "1.4.0", "torch": "2.4.0", "numpy": "1.24.0", "safetensors": "0.4.3"}


def metadata(manifest: BundleManifest) -> dict[str, Any]:
    """Return the content of ``configs/metadata.json``."""
    return {
        "schema": _SCHEMA,
        "version": manifest.version,
        "changelog": {manifest.version: "written by MISFM " + __version__},
        "monai_version": _package_version("monai"),
        "pytorch_version": _package_version("torch"),
        "numpy_version": _package_version("numpy"),
        "required_packages_version": {
            "misfm": __version__,
            "safetensors": _package_version("safetensors"),
        },
        "optional_packages_version": {},
        "name": manifest.title or manifest.name,
        "task": manifest.title or manifest.name,
        "description": manifest.description,
        "authors": manifest.authors,
        "copyright": f"{manifest.authors}; licence: {manifest.license}",
        "intended_use": manifest.intended_use,
        "data_source": manifest.training_data,
        "network_data_format": _network_data_format(manifest),
        "misfm": {"format": FORMAT, **_finite(encode(manifest))},
    }


def own_values(path: Path, content: Any) -> Mapping[str, Any]:
    """Return our own keys of a ``configs/metadata.json``, ready to be decoded.

    Raises:
        BundleError: Keys that MONAI or we require are missing, or a newer MISFM wrote them.
    """
    own = content.get("misfm") if isinstance(content, dict) else None
    if not isinstance(own, dict) or not isinstance(own.get("format"), int):
        raise BundleError(
            f"{path} was not written by MISFM: its metadata has no key misfm with a format.",
            code="bundle-foreign",
            remedy="Use a bundle made by MISFM; bundles of other programs run with MONAI.",
        )
    if own["format"] > FORMAT:
        raise BundleError(
            f"{path} has format {own['format']}, this version of MISFM reads up to {FORMAT}.",
            code="bundle-format-newer",
            remedy="Update MISFM.",
        )
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise BundleError(
            f"{path} lacks {', '.join(missing)} in its metadata.",
            code="bundle-bad-manifest",
            remedy="Get the bundle again.",
        )
    return {key: value for key, value in own.items() if key != "format"}


def inference_config(network: NetworkConfig) -> dict[str, Any]:
    """Return the content of ``configs/inference.json``, read by MONAI's ConfigParser.

    ``network_def`` is the network with new weights, ``network`` the one with the bundle's weights,
    in eval mode. ``bundle_root`` is the working folder unless the caller sets it.
    """
    return {
        "bundle_root": ".",
        "network_def": {"_target_": "MISFMLib.networks.build_network", "config": encode(network)},
        "bundle": {"_target_": "MISFMLib.models.bundle.read_bundle", "path": "@bundle_root"},
        "network": {"_target_": "MISFMLib.networks.network_from_bundle", "bundle": "@bundle"},
    }


def _network_data_format(manifest: BundleManifest) -> dict[str, Any]:
    preprocessing, classes = manifest.preprocessing, manifest.network.num_classes
    shared = {
        "type": "image",
        "modality": {"CT": "CT", "MR": "MR"}.get(preprocessing.modality, "n/a"),
        "spatial_shape": ["*", "*", "*"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
    }
    names = ["background", *(label.name for label in manifest.labels)]
    if manifest.kind == "pretrained":
        names = [f"pretext class {index}" for index in range(classes)]
    image = {
        "format": "magnitude",
        "num_channels": len(preprocessing.channels),
        "channel_def": _numbered(preprocessing.channels),
    }
    prediction = {"format": "labels", "num_channels": classes, "channel_def": _numbered(names)}
    return {"inputs": {"image": shared | image}, "outputs": {"pred": shared | prediction}}


def _numbered(names: tuple[str, ...] | list[str]) -> dict[str, str]:
    return {str(index): name for index, name in enumerate(names)}


def _package_version(name: str) -> str:
    """Return the three numbers of an installed version, or of the lowest that we support."""
    try:
        found = re.match(r"\d+\.\d+\.\d+", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        found = None
    return found.group() if found else _LOWEST_VERSIONS[name]


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not know, by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
