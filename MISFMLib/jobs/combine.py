"""Several models of the same labels as one that averages them: the job of `models combine`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from MISFMLib.configs import NetworkConfig, encode
from MISFMLib.errors import ConfigError
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle, check_bundle_output, read_weights, write_bundle
from MISFMLib.models.bundle_manifest import BundleManifest, model_name

_FEWEST = 2
_SAME_SPACE = (
    "Train them with the same --spacing-dhw and --patch-size (for a benchmark in its options), "
    "on data of one kind."
)


def combine_models(sources: Sequence[str], output: Path, *, overwrite: bool = False) -> Bundle:
    """Write a bundle whose network averages the class probabilities of others, window by window.

    Memory holds the weights of all members, and beside the features of one at a time the sum.

    Args:
        sources: Installed names, bundle folders or zips: models of the same labels and model space,
            such as the folds of a cross-validation; their networks may differ.
        output: Bundle folder to write.
        overwrite: Replace a bundle that is there.

    Raises:
        ConfigError: The models do not belong together; the message says in what they differ.
        BundleError: A model is missing or damaged.
        OutputError: The output is there already, or cannot be written.
    """
    check_bundle_output(output, overwrite=overwrite)
    bundles = [store.find_model(source) for source in sources]
    if len(bundles) < _FEWEST:
        raise _refusal("One model alone is no ensemble.", "Name two or more models.")
    for source, bundle in zip(sources, bundles, strict=True):
        _check_member(source, bundle.manifest)
        _check_same(sources[0], bundles[0].manifest, source, bundle.manifest)
    weights: dict[str, np.ndarray[Any, Any]] = {}
    for number, bundle in enumerate(bundles):
        for name, array in read_weights(bundle).items():
            weights[f"members.{number}.{name}"] = array
    return write_bundle(output, _manifest(bundles, output), weights, overwrite=overwrite)


def _check_member(source: str, manifest: BundleManifest) -> None:
    """Refuse what cannot be a member of an ensemble."""
    problems = {
        "is no segmentation model": manifest.kind != "segmentation",
        "is an ensemble already": manifest.network.members > 1 or bool(manifest.network.kinds),
        "consists of several models": bool(manifest.parts),
        "needs the labels of another model": bool(manifest.preprocessing.previous_labels),
    }
    for problem, is_so in problems.items():
        if is_so:
            raise _refusal(f"{source} {problem}.", "Leave it out.")


def _check_same(first: str, wanted: BundleManifest, source: str, given: BundleManifest) -> None:
    """Refuse models that do not find the same labels in the same model space."""
    theirs, ours = (
        [(label.value, label.name) for label in manifest.labels] for manifest in (given, wanted)
    )
    if theirs != ours:
        raise _refusal(
            f"{source} finds {_listed(theirs)}; {first} finds {_listed(ours)}.",
            "Combine models of the same labels.",
            code="labels-differ",
        )
    spaces = encode(given.preprocessing), encode(wanted.preprocessing)
    for name, value in spaces[1].items():
        if spaces[0][name] != value:
            raise _refusal(
                f"{source} and {first} work in different spaces: {name} is {spaces[0][name]} and "
                f"{value}.",
                _SAME_SPACE,
                code="model-space-differs",
            )


def _listed(labels: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"{value} {name}" for value, name in labels)


def _refusal(message: str, remedy: str, code: str = "bad-ensemble") -> ConfigError:
    return ConfigError(message, code=code, remedy=remedy)


def _manifest(bundles: Sequence[Bundle], output: Path) -> BundleManifest:
    manifests = [bundle.manifest for bundle in bundles]
    first = manifests[0]
    return replace(
        first,
        name=model_name(output.name),
        title=output.name,
        description=f"{first.description} The mean of {len(bundles)} models.".strip(),
        authors=_joined([manifest.authors for manifest in manifests]),
        license=_joined([manifest.license for manifest in manifests], " AND "),
        training_data=_joined([manifest.training_data for manifest in manifests]),
        network=_network(manifests),
        evaluation={},
        provenance={
            f"member {number}": f"{manifest.name} {manifest.version}, {manifest.weights_sha256}"
            for number, manifest in enumerate(manifests, start=1)
        },
        weights_sha256="",
    )


def _network(manifests: Sequence[BundleManifest]) -> NetworkConfig:
    networks = [manifest.network for manifest in manifests]
    is_regional = manifests[0].preprocessing.decision == "regions"
    averaged = replace(networks[0], averaged="logits" if is_regional else "probabilities")
    if all(network == networks[0] for network in networks):
        return replace(averaged, members=len(networks))
    return replace(averaged, kinds=tuple(networks))


def _joined(texts: Sequence[str], separator: str = "; ") -> str:
    return separator.join(dict.fromkeys(text for text in texts if text))
