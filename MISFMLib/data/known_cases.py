"""Cases that a model knows already: it keeps digests of their images, and none of their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from MISFMLib.data.label_check import CaseFacts
from MISFMLib.models.bundle_manifest import BundleManifest


@dataclass(frozen=True)
class KnownCases:
    """Names of those cases of a data set that a model knows."""

    train: frozenset[str] = frozenset()
    """It has learnt from them."""
    validation: frozenset[str] = frozenset()
    """They have judged it."""
    is_whole: bool = False
    """Whether all that it has learnt from is among them."""


NONE_KNOWN = KnownCases()


def known_cases(facts: Mapping[str, CaseFacts], manifest: BundleManifest) -> KnownCases:
    """Find the cases that a model knows, whatever they and their files are called now."""
    learnt, judged = set(manifest.training_images), set(manifest.held_out_images)
    digests = {name: fact.image_digest for name, fact in facts.items()}
    return KnownCases(
        frozenset(name for name, digest in digests.items() if digest in learnt),
        frozenset(name for name, digest in digests.items() if digest in judged),
        is_whole=bool(learnt) and learnt <= set(digests.values()),
    )
