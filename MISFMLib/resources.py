"""Files that come with the library: ``Resources/``, beside or inside the package, and presets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Return the path of a file or folder in ``Resources/``.

    Args:
        name: Path relative to ``Resources/``, with forward slashes.

    Raises:
        FileNotFoundError: The installation lacks it.
    """
    for folder in (_PACKAGE / "Resources", _PACKAGE.parent / "Resources"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"Resources/{name} is missing from this installation of MISFM")


def read_preset(name: str) -> dict[str, Any]:
    """Read a file of the folder ``presets``.

    Args:
        name: Its name without ``.json``.

    Raises:
        FileNotFoundError: There is no such preset.
    """
    content: dict[str, Any] = json.loads((_PACKAGE / "presets" / f"{name}.json").read_text("utf-8"))
    return content
