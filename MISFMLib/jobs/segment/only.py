"""The structures that a user wants of a model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from MISFMLib.annotation.labels import plain
from MISFMLib.configs import LabelConfig, SegmentConfig
from MISFMLib.errors import ConfigError
from MISFMLib.models.bundle import BundleManifest


def wanted_labels(config: SegmentConfig, manifest: BundleManifest) -> tuple[LabelConfig, ...]:
    """Return the labels that a job shall give, in the model's order.

    Raises:
        ConfigError: The model has no structure of a name.
    """
    if not config.only:
        return manifest.labels
    known = {plain(label.name): label for label in manifest.labels}
    known |= {label.name: label for label in manifest.labels}  # which plain may make equal
    asked = list(_names(config.only, manifest.labels))
    found = {name: known.get(name) or known.get(plain(name)) for name in asked}
    unknown = [name for name, label in found.items() if label is None]
    if unknown or not asked:
        names = [label.name for label in manifest.labels]
        close = difflib.get_close_matches(plain((unknown or [""])[0]), known, n=3, cutoff=0.5)
        hint = ", ".join(dict.fromkeys(known[name].name for name in close)) or ", ".join(names[:10])
        raise ConfigError(
            f"{manifest.name} has no structure {', '.join(unknown) or config.only!r}.",
            code="unknown-structure",
            remedy=f"Close or possible names are: {hint}; `misfm models info` lists all.",
        )
    return tuple(label for label in manifest.labels if label in found.values())


def _names(text: str, labels: Sequence[LabelConfig]) -> Iterator[str]:
    """Divide a text at its commas, except those in the name of a structure."""
    with_commas = {plain(label.name) for label in labels if "," in label.name}
    words = text.split(",")
    while words:
        lengths = range(len(words), 1, -1)
        longest = next((n for n in lengths if plain(",".join(words[:n])) in with_commas), 1)
        if name := ",".join(words[:longest]).strip():
            yield name
        del words[:longest]
