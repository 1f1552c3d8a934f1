"""Cases that a model knows already: it keeps digests of their images, and none of their names."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from MISFMLib.data.case_files import files_of
from MISFMLib.data.labelled_set import Case
from MISFMLib.models.bundle_manifest import UNKNOWN_IMAGES, BundleManifest

_BLOCK = 1 << 20
"""Bytes at beginning, middle and end of a file that are looked at: to read all of a thousand CTs
takes minutes, and these tell as much, since files without compression have the body in the middle
and the others a checksum at their end."""
_DIGITS = 16
"""Of a SHA-256: enough to tell millions of volumes apart."""


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


def known_cases(cases: Iterable[Case], manifest: BundleManifest) -> KnownCases:
    """Find the cases that a model knows, whatever they and their files are called now."""
    learnt, judged = set(manifest.training_images), set(manifest.held_out_images)
    if not (learnt | judged) - {UNKNOWN_IMAGES}:
        return NONE_KNOWN
    digests = image_digests(cases)
    return KnownCases(
        frozenset(name for name, digest in digests.items() if digest in learnt),
        frozenset(name for name, digest in digests.items() if digest in judged),
        is_whole=bool(learnt) and learnt <= set(digests.values()),
    )


def image_digests(cases: Iterable[Case]) -> dict[str, str]:
    """Return what tells the images of each case from all others, 16 hexadecimal digits, by name.

    Cases whose images cannot be read any more are left out.
    """
    digests = {}
    for case in cases:
        with contextlib.suppress(OSError):
            digests[case.name] = _digest(case)
    return digests


def _digest(case: Case) -> str:
    digest = hashlib.sha256()
    for path in case.images:
        for file in files_of(path):
            size = file.stat().st_size
            digest.update(size.to_bytes(8, "little"))
            with file.open("rb") as opened:
                for start in (0, (size - _BLOCK) // 2, size - _BLOCK):
                    opened.seek(max(0, start))
                    digest.update(opened.read(_BLOCK))
    return digest.hexdigest()[:_DIGITS]
