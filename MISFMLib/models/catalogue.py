"""The models MISFM knows of, installed or not: ``Resources/catalogue.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from MISFMLib.configs import decode
from MISFMLib.resources import resource_path


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One model that comes with MISFM or can be had."""

    name: str
    """Name to install it under."""
    kind: Literal["bundled", "bundle", "checkpoint"]
    """bundled: comes with MISFM. bundle: a zip to download. checkpoint: a .pt file to convert."""
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
    return tuple(decode(CatalogueEntry, entry) for entry in content["models"])
