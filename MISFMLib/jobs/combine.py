"""Several models of the same labels as one that averages them: the job of `models combine`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from MISFMLib.configs import NetworkConfig, encode
from MISFMLib.errors import ConfigError
from MISFMLib.models import store
from MISFMLib.models.bundle import Bundle, check_bundle_output, read_weights, write_bundle
from MISFMLib.models.bundle_manifest import UNKNOWN_IMAGES, BundleManifest, model_name

MeanOf = Literal["probabilities", "weights"]
"""What of the models is averaged."""
Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]

_FEWEST = 2
_RELATED = 0.3
"""Cosine of the weights of two models from which they are of one descent. A model and what was
trained on from it show 0.6 to 0.8, models from different seeds next to 0."""
_SAME_SPACE = (
    "Train them with the same --spacing-dhw and --patch-size (for a benchmark in its options), "
    "on data of one kind."
)
_SAME_DESCENT = (
    "Average the weights of models that were trained on from the same one, or the probabilities."
)


def combine_models(
    sources: Sequence[str],
    output: Path,
    *,
    mean_of: MeanOf = "probabilities",
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle that is the mean of others.

    The mean of the class probabilities is taken window by window; memory holds the weights of all
    members, and beside the features of one at a time the sum. The mean of the weights is one
    network, as fast as each: between solutions that one training, or several that began at the
    same model, went through, it is often better than they are (Izmailov et al., arXiv 1803.05407;
    Wortsman et al., arXiv 2203.05482).

    Args:
        sources: Installed names, bundle folders or zips: models of the same labels and model space,
            such as the folds of a cross-validation; their networks may differ.
        output: Bundle folder to write.
        mean_of: What is averaged.
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
    _check_different(sources, bundles)
    for source, bundle in zip(sources, bundles, strict=True):
        _check_member(source, bundle.manifest)
        _check_same(sources[0], bundles[0].manifest, source, bundle.manifest)
    manifest = _manifest(bundles, output)
    if mean_of == "weights":
        _check_networks(sources, bundles)
        weights = _mean_weights(sources, bundles)
    else:
        manifest = replace(manifest, network=_network([bundle.manifest for bundle in bundles]))
        weights = {
            f"members.{number}.{name}": array
            for number, bundle in enumerate(bundles)
            for name, array in read_weights(bundle).items()
        }
    return write_bundle(output, manifest, weights, overwrite=overwrite)


def _check_different(sources: Sequence[str], bundles: Sequence[Bundle]) -> None:
    """Refuse one model that is named twice, as after a slip in a list of folds."""
    known: dict[str, str] = {}
    for source, bundle in zip(sources, bundles, strict=True):
        weights = bundle.manifest.weights_sha256
        if weights in known:
            same = f"{known[weights]} and {source} are the same model."
            raise _refusal(same, "Name each model once.")
        known[weights] = source


def _mean_weights(sources: Sequence[str], bundles: Sequence[Bundle]) -> Weights:
    """Average the weights, and the statistics of the norms with them; counters are the first's."""
    first, *others = (read_weights(bundle) for bundle in bundles)
    for source, other in zip(sources[1:], others, strict=True):
        if _cosine(first, other) < _RELATED:
            raise _refusal(
                f"The weights of {source} and {sources[0]} have nothing to do with each other.",
                _SAME_DESCENT,
                code="weights-unrelated",
            )
    return {
        name: _mean([array, *(other[name] for other in others)]) for name, array in first.items()
    }


def _mean(arrays: Sequence[Array]) -> Array:
    if not np.issubdtype(arrays[0].dtype, np.floating):
        return arrays[0]
    total = sum(array.astype(np.float64) for array in arrays)
    return np.asarray(total / len(arrays)).astype(arrays[0].dtype)


def _cosine(first: Weights, second: Weights) -> float:
    """Compare kernels and matrices; biases, norms and their statistics are alike in any network."""
    kernels = [name for name, array in first.items() if array.ndim > 1]
    ours, theirs = (
        np.concatenate([weights[name].ravel().astype(np.float64) for name in kernels])
        for weights in (first, second)
    )
    return float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)))


def _check_networks(sources: Sequence[str], bundles: Sequence[Bundle]) -> None:
    """Refuse the mean of the weights of different networks."""
    for source, bundle in zip(sources, bundles, strict=True):
        if bundle.manifest.network != bundles[0].manifest.network:
            raise _refusal(
                f"{source} and {sources[0]} are different networks.",
                _SAME_DESCENT,
                code="networks-differ",
            )


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
    learnt = {image for m in manifests for image in m.training_images or [UNKNOWN_IMAGES]}
    judged = {image for m in manifests for image in m.held_out_images}
    return replace(
        first,
        name=model_name(output.name),
        title=output.name,
        description=f"{first.description} The mean of {len(bundles)} models.".strip(),
        authors=_joined([manifest.authors for manifest in manifests]),
        license=_joined([manifest.license for manifest in manifests], " AND "),
        training_data=_joined([manifest.training_data for manifest in manifests]),
        evaluation={},
        training_images=tuple(sorted(learnt)),
        held_out_images=tuple(sorted(judged - learnt)),
        provenance={
            f"member {number}": f"{manifest.name} {manifest.version}, {manifest.weights_sha256}"
            for number, manifest in enumerate(manifests, start=1)
        },
        weights_sha256="",
    )


def _network(manifests: Sequence[BundleManifest]) -> NetworkConfig:
    networks = [manifest.network for manifest in manifests]
    is_regional = manifests[0].preprocessing.is_regional
    averaged = replace(networks[0], averaged="logits" if is_regional else "probabilities")
    if all(network == networks[0] for network in networks):
        return replace(averaged, members=len(networks))
    return replace(averaged, kinds=tuple(networks))


def _joined(texts: Sequence[str], separator: str = "; ") -> str:
    return separator.join(dict.fromkeys(text for text in texts if text))
