"""Reading .pt files without running what is pickled in them."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MISFMLib.errors import BundleError

_DTYPES = "?bBhHiIlLqQefdU"
_POINTER, _LARGEST_POINTER = b"version https://git-lfs", 1024
_PATH_KINDS = ("", "Posix", "Windows", "PurePosix", "PureWindows")
_SIGNS_OF_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
)
"""What torch.load lets through, depending on where the damage is: archive, pickle or storage."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the network weights of a PyMIC checkpoint or a plain state dictionary.

    The prefix ``module.``, which data-parallel training puts before all names, is removed.

    Returns:
        Finite tensors on the CPU by name.

    Raises:
        BundleError: The file is missing, damaged, holds no weights, or refers to code.
    """
    content = _read_safely(path)
    if isinstance(content, Mapping) and isinstance(content.get("model_state_dict"), Mapping):
        content = content["model_state_dict"]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise BundleError(
            f"{path} holds no network weights.",
            code="checkpoint-no-weights",
            remedy="Give a PyMIC checkpoint (with model_state_dict) or a state dictionary.",
        )
    _check_finite(path, content)
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dictionary, or the one under the key ``model`` or ``state_dict``.

    Returns:
        Finite tensors by name.

    Raises:
        BundleError: The file is missing, damaged, holds no weights, or refers to code.
    """
    content = _read_safely(path)
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise _damaged(path)
    _check_finite(path, content)
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def read_nnunet(path: Path) -> dict[str, Any]:
    """Read a checkpoint of nnU-Net without its optimizer.

    Returns:
        ``network_weights`` (finite tensors by name), ``init_args``, ``trainer_name`` and so on.

    Raises:
        BundleError: The file is missing, damaged, is no checkpoint of nnU-Net, or refers to code.
    """
    content = _read_safely(path)
    weights = content.get("network_weights") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(weights, Mapping) or not weights:
        raise BundleError(
            f"{path} is no checkpoint of nnU-Net: it has no network_weights.",
            code="checkpoint-no-weights",
            remedy="Give a results folder of nnU-Net v2 as it was trained or exported.",
        )
    if not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise _damaged(path)
    _check_finite(path, weights)
    return {**content, "network_weights": dict(weights)}


def _check_finite(path: Path, tensors: Mapping[Any, Tensor]) -> None:
    broken = [str(name) for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise BundleError(
            f"{path} holds NaN or infinity in {len(broken)} tensors, such as {broken[0]}.",
            code="checkpoint-not-finite",
            remedy="Take another checkpoint; this training had diverged.",
        )


def read_iteration(path: Path) -> int | None:
    """Return after how many training iterations a checkpoint was saved; None if it does not tell.

    Raises:
        BundleError: The file is missing, damaged, or refers to code.
    """
    content = _read_safely(path)
    iteration = content.get("iteration") if isinstance(content, Mapping) else None
    return iteration if isinstance(iteration, int) else None


def _read_safely(path: Path) -> object:
    """Unpickle tensors, plain containers and NumPy scalars; anything else is refused."""
    try:
        with torch.serialization.safe_globals(_numpy_scalar_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} does not exist.", code="checkpoint-missing", remedy="Check the path."
        ) from error
    except (pickle.UnpicklingError, RuntimeError) as error:
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise BundleError(
                f"{path} refers to the code {refused[1]}, which was not run.",
                code="checkpoint-unsafe",
                remedy="Do not use it; get the file from its publisher.",
            ) from error
        raise _damaged(path) from error
    except _SIGNS_OF_DAMAGE as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> BundleError:
    if path.is_file() and path.stat().st_size < _LARGEST_POINTER:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return BundleError(
                    f"{path} is a pointer of Git LFS; the file itself was not fetched.",
                    code="checkpoint-not-fetched",
                    remedy="Run `git lfs pull` in the clone, or download the file.",
                )
    return BundleError(
        f"{path} is damaged or no checkpoint.",
        code="checkpoint-damaged",
        remedy="Get the file again.",
    )


def _numpy_scalar_globals() -> list[Any]:
    """List what pickled NumPy scalars and arrays refer to, by the names of NumPy 1 and 2.

    PyMIC stores the validation score of its best checkpoints as such a scalar, nnU-Net all that it
    logs. Trainers of others add dictionaries with defaults and paths, which become empty texts.
    """
    rebuild_scalar, rebuild_array = np.float32(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    return [
        *((rebuild_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((rebuild_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        *(type(np.dtype(code)) for code in _DTYPES),
        (_plain_dict, "collections.defaultdict"),
        *((kind, f"builtins.{kind.__name__}") for kind in (list, dict, set, int, float, str)),
        *((_no_path, f"{name}Path") for name in _PATHS),
    ]


def _plain_dict(*_default: object) -> dict[object, object]:
    return {}


def _no_path(*_parts: str) -> str:
    return ""


_PATHS = [f"{module}.{kind}" for module in ("pathlib", "pathlib._local") for kind in _PATH_KINDS]
