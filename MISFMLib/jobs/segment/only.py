"""The structures that a user wants of a model."""

from __future__ import annotations

import difflib
import re

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
    known = {_plain(label.name): label for label in manifest.labels}
    asked = [name for name in map(str.strip, config.only.split(",")) if name]
    unknown = [name for name in asked if _plain(name) not in known]
    if unknown or not asked:
        names = [label.name for label in manifest.labels]
        close = difflib.get_close_matches(_plain((unknown or [""])[0]), known, n=3, cutoff=0.5)
        hint = ", ".join(known[name].name for name in close) or ", ".join(names[:10])
        raise ConfigError(
            f"{manifest.name} has no structure {', '.join(unknown) or config.only!r}.",
            code="unknown-structure",
            remedy=f"Close or possible names are: {hint}; `misfm models info` lists all.",
        )
    chosen = {known[_plain(name)].value for name in asked}
    return tuple(label for label in manifest.labels if label.value in chosen)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
