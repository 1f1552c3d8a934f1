"""What kind of model a file or folder is, from the names in it; needs no torch."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

from MISFMLib.models.bundle_files import METADATA

Kind = Literal["bundle", "monai", "nnunet", "checkpoint"]
_DEEPEST = 8
"""Folders below the one that was given in which a model is looked for."""


def kind_of(path: Path) -> Kind:
    """Tell what a model is: ours, of MONAI's form, results of nnU-Net, or a checkpoint.

    What is none of these is taken for a bundle of ours, so that its import says what is missing.
    """
    if any((above / "plans.json").is_file() for above in (path.parent, path.parent.parent)):
        return "nnunet"  # a fold or a checkpoint of its results; the import says what to give
    if path.suffix.lower() in (".pt", ".pth") and not path.is_dir():
        return "checkpoint"
    names = [name.replace("\\", "/") for name in _names(path)]
    metadata = [name for name in names if f"/{name}".endswith(f"/{METADATA}")]
    if metadata:
        outermost = min(metadata, key=len)
        return "bundle" if _is_ours(path, outermost) else "monai"
    is_nnunet = any(PurePosixPath(name).name == "plans.json" for name in names)
    return "nnunet" if is_nnunet else "bundle"


def _names(path: Path) -> list[str]:
    if path.is_dir():
        files = (file.relative_to(path) for file in path.rglob("*.json"))
        return [file.as_posix() for file in files if len(file.parts) <= _DEEPEST]
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return []


def _is_ours(path: Path, name: str) -> bool:
    try:
        if path.is_dir():
            content = (path / name).read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(name)
        values = json.loads(content)
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, NotImplementedError):
        return True
    return not isinstance(values, dict) or "misfm" in values or "network_data_format" not in values
