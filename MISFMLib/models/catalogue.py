"""The models MISFM knows of, installed or not: ``Resources/catalogue.json``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from MISFMLib.configs import decode
from MISFMLib.models.totalsegmentator import LICENCE_PAGE, TotalTask, read_tasks
from MISFMLib.resources import resource_path

_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One model that comes with MISFM or can be had."""

    name: str
    """Name to install it under."""
    kind: Literal["bundled", "bundle", "checkpoint", "nnunet"]
    """bundled: comes with MISFM. bundle: a zip to download. checkpoint: a .pt file to convert.
    nnunet: results folders of nnU-Net to download and import."""
    title: str
    """What it is, in a few words."""
    description: str
    """What it was made from and what it is good for."""
    license: str
    """Licence, and what it applies to."""
    paper: str = ""
    """Publication to cite."""
    page: str = ""
    """Page where people can get the file."""
    file: str = ""
    """Name of the file to get."""
    url: str = ""
    """Address from which a program can get the file; empty when only people can."""
    size_bytes: int | None = None
    """Size of the file; None when unknown."""
    sha256: str | None = None
    """SHA-256 of the file; None when unknown, an import then records it."""


def read_catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the entries in the order of the file."""
    content = json.loads(resource_path("catalogue.json").read_text("utf-8"))
    own = tuple(decode(CatalogueEntry, entry) for entry in content["models"])
    return own + tuple(map(_entry, read_tasks()))


@cache
def _entry(task: TotalTask) -> CatalogueEntry:
    structures = ", ".join(name.replace("_", " ") for name in task.labels)
    count, region = len(task.labels), ""
    if task.region:
        around = ", ".join(name.replace("_", " ") for name in task.region)
        region = f"Looks around {around} only, which {task.rough} finds: get that too. "
    return CatalogueEntry(
        name=task.name,
        kind="nnunet",
        title=f"TotalSegmentator {task.words}: {count} structure{'s' if count > 1 else ''}"
        f"{task.resolution}",
        description=f"{structures}. {region}Networks of nnU-Net, trained by the authors of "
        "TotalSegmentator; nothing of their package is needed or run.",
        license=task.license,
        paper="Wasserthal et al., TotalSegmentator: Robust Segmentation of 104 Anatomic Structures "
        "in CT Images, Radiology: Artificial Intelligence 5 (2023), doi:10.1148/ryai.230024",
        page=LICENCE_PAGE if task.needs_licence else task.urls[0].rsplit("/", 1)[0],
        file=f"{task.folders[0]}.zip",
        url="" if task.needs_licence else task.urls[0],
        size_bytes=task.size_bytes,
    )


def few_of(names: Sequence[str]) -> str:
    """Return the names for a message, and how many there are where they would fill the screen."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def meant(name: str, names: Sequence[str]) -> str:
    """Ask whether one of the names was meant that contain this one or resemble it."""
    plain = name.lower().replace("_", "-")
    containing = [other for other in names if plain in other.lower()]
    found = containing or difflib.get_close_matches(plain, names, n=3)
    return f"Did you mean {' or '.join(sorted(found, key=len)[:3])}? " if found else ""
