"""The published sources of pretraining data (Resources/pdata.json), against a local copy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from MISFMLib.configs import decode
from MISFMLib.resources import resource_path

_FILE = "pdata.json"


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """A public or private data set that was pretrained on."""

    key: str
    """Short stable name."""
    name: str
    folders: tuple[str, ...]
    """Names that the folder of a local copy may have; upper and lower case are the same."""
    body_part: str
    published_count: int
    """How many the authors had."""
    counted: Literal["patients", "scans"]
    """What they counted: scans are volume files or DICOM series, patients the folders of such."""
    licence: str
    access: str
    """How to get it."""
    request_at: str
    """Address where to get it, or unknown."""
    note: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Data sets that belong together."""

    name: str
    sources: tuple[ManifestSource, ...]
    published_count: int
    note: str


@dataclass(frozen=True, kw_only=True)
class CopyCheck:
    """How much of a data set a local copy holds."""

    source: ManifestSource
    found: int

    @property
    def missing(self) -> int:
        """What lacks to the published count."""
        return max(0, self.source.published_count - self.found)

    def line(self) -> str:
        """Say it to people."""
        source = self.source
        text = f"{source.name}: {self.found} of {source.published_count} {source.counted}"
        if self.missing:
            text += f", {self.missing} missing ({source.licence}; {source.access}"
            text += f"; {source.request_at})" if source.request_at != "unknown" else ")"
        return text


def read_manifest(name: str) -> Manifest:
    """Read a manifest that comes with the library.

    Args:
        name: pdata-1k, pdata-10k or pdata-110k.
    """
    content: dict[str, Any] = json.loads(resource_path(_FILE).read_text("utf-8"))
    known = {entry["key"]: decode(ManifestSource, entry) for entry in content["sources"]}
    chosen: dict[str, Any] = content["manifests"][name]
    return Manifest(
        name=name,
        sources=tuple(known[key] for key in chosen["sources"]),
        published_count=chosen["published_count"],
        note=chosen["note"],
    )


def check_copy(manifest: Manifest, names: Iterable[str]) -> list[CopyCheck]:
    """Count what a local copy holds of each data set.

    Args:
        manifest: The data sets.
        names: One path per scan, with forward slashes; a folder on the way is called like its data
            set.
    """
    paths = [name.split("/") for name in names]
    return [CopyCheck(source=source, found=_count(source, paths)) for source in manifest.sources]


def _count(source: ManifestSource, paths: Iterable[list[str]]) -> int:
    folders = {folder.lower() for folder in source.folders}
    below = []
    for parts in paths:
        place = next((i for i, part in enumerate(parts[:-1]) if part.lower() in folders), None)
        if place is not None:
            below.append(parts[place + 1 :])
    return len({parts[0] for parts in below}) if source.counted == "patients" else len(below)
