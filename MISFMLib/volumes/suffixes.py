"""Endings of volume files; apart from what reads them, so that who lists 100 000 stays small."""

from __future__ import annotations

from pathlib import Path

VOLUME_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of volume files, the longer of two that fit first."""


def volume_suffix(path: Path) -> str:
    """Return the suffix of a volume file in lower case, or an empty string for other names."""
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), "")
