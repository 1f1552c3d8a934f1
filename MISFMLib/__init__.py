"""MISFM: PCT-Net, Volume Fusion and fast sliding-window segmentation of CT and MR volumes.

The names in `__all__` are what Python programs use; see `MISFMLib.api`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "finetune", "load_model", "pretrain", "segment"]


def __getattr__(name: str) -> Any:
    # Late, because the interface brings torch, and most that import the package need none.
    if name in __all__:
        return getattr(importlib.import_module("MISFMLib.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
