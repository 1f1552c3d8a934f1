"""Networks converted to OpenVINO that are kept for the processes to come.

The conversion takes seconds, so its result is kept, in the user's own MISFM folder: a bundle may be
a zip, may lie where nobody can write, and is checked to hold nothing but its own files. What is
kept belongs to one model, window size and number format; it is checked against PyTorch when it is
made, and made again when anything it was made from has changed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from MISFMLib import __version__
from MISFMLib.configs import NetworkConfig, encode
from MISFMLib.device import cpu_features, cpu_name
from MISFMLib.errors import OutputError
from MISFMLib.files import write_json, written_atomically
from MISFMLib.inference import openvino_network
from MISFMLib.inference.deviation import (
    BOUNDS,
    RefusedError,
    measure_deviation,
    reference_logits,
)
from MISFMLib.inference.openvino_conversion import (
    convert,
    import_openvino,
    is_bfloat16,
    with_bfloat16_logits,
)
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.models import store

_log = logging.getLogger(__name__)

_MOST_MODELS = 8
"""Models whose converted networks are kept, those used last; one takes 80 to 250 MB."""
_MANY_LOGITS = 2**26
"""Logits of a window that take a quarter of a gigabyte in float32."""
_FILES = ("network.xml", "network.bin")
_RECORD = "record.json"


@dataclass(frozen=True)
class Recipe:
    """Everything that a converted network depends on, except the versions of the programs."""

    weights_sha256: str
    """Of the weights file of the bundle."""
    network: NetworkConfig
    """Settings of the bundle's network."""
    window_shape: tuple[int, int, int, int]
    """Channels, depth, height, width of a window."""
    precision: str
    """fp32, bf16 or int8."""

    @property
    def folder(self) -> Path:
        """Where the result is kept: one place, so that a new result replaces an outdated one."""
        shape = "x".join(map(str, self.window_shape))
        return store.engines_folder(self.weights_sha256) / f"{shape}-{self.precision}"

    def is_kept(self) -> bool:
        """Tell whether a conversion was made, with whatever result, and nothing has changed."""
        return bool(_read_record(self))

    def made_from(self) -> dict[str, Any]:
        """Return what a kept result must have been made from to be used; JSON types."""
        return {
            "recipe": encode(self),
            "misfm": __version__,
            "torch": torch.__version__,
            "openvino": openvino_network.version(),
            "norms": "summed by rows",
            "judged by": "mean Dice",
            "cpu": [cpu_name(), *cpu_features()],
        }


def load(recipe: Recipe, threads: int) -> OpenVINONetwork | None:
    """Return the network that is kept, or None where none is, or it is damaged or outdated.

    Raises:
        RefusedError: It was made before and lies too far from the reference.
    """
    record = _read_record(recipe)
    if not record:
        return None
    if record["refused"]:
        raise RefusedError(record["refused"])
    try:
        is_intact = record["sha256"] == {name: _sha256(recipe.folder / name) for name in _FILES}
    except OSError:
        is_intact = False
    if not is_intact:
        _log.warning("The converted network in %s is damaged.", recipe.folder)
        return None
    model = import_openvino().Core().read_model(recipe.folder / _FILES[0])
    with contextlib.suppress(OSError):  # of another user
        os.utime(recipe.folder.parent)
    mean_dice = record.get("deviation", {}).get("mean_dice", 1.0)
    return OpenVINONetwork(model, recipe.precision, threads, mean_dice)


def build(
    recipe: Recipe,
    threads: int,
    network: nn.Module,
    image_BCDHW: torch.Tensor,
    is_regional: bool = False,
) -> OpenVINONetwork:
    """Convert a network, check it against PyTorch and keep it.

    Args:
        recipe: What it is made from.
        threads: CPU threads.
        network: The network in float32, in eval mode, on the CPU.
        image_BCDHW: One window of a real volume.
        is_regional: Every channel of the logits is a region of its own.

    Raises:
        RefusedError: The result lies too far from the reference.
    """
    with torch.inference_mode():
        reference = reference_logits(network, image_BCDHW)
    model = convert(network, image_BCDHW)
    converted = OpenVINONetwork(model, recipe.precision, threads)
    with torch.inference_mode():
        logits_BKDHW = converted(image_BCDHW)
        deviation = measure_deviation(logits_BKDHW, reference, is_regional=is_regional)
    if logits_BKDHW.numel() > _MANY_LOGITS and is_bfloat16(logits_BKDHW):
        del logits_BKDHW, converted
        model = with_bfloat16_logits(model)
        converted = OpenVINONetwork(model, recipe.precision, threads)
    converted.mean_dice = deviation.mean_dice
    _log.info("OpenVINO in %s: %s", recipe.precision, deviation)
    refused = ""
    if deviation.exceeds(BOUNDS[recipe.precision]):
        refused = f"OpenVINO in {recipe.precision} is not accurate enough: {deviation}."
    try:
        keep(recipe, model, {"deviation": asdict(deviation)}, refused)
    except OutputError as error:
        _log.warning("The converted network is not kept: %s", error)
    if refused:
        raise RefusedError(refused)
    return converted


def keep(recipe: Recipe, model: Any, measured: Mapping[str, Any], refused: str) -> None:
    """Keep a converted network for the processes to come.

    Args:
        recipe: What it was made from.
        model: Model of OpenVINO.
        measured: How it was judged; JSON types.
        refused: Why it must not be used, as a sentence; the network itself is then not kept.

    Raises:
        OutputError: It cannot be written.
    """

    def is_ours(_folder: Path) -> str:
        return ""

    with written_atomically(recipe.folder, overwrite=True, foreign=is_ours) as folder:
        folder.mkdir()
        if not refused:
            # Not in half precision, which OpenVINO would store otherwise.
            import_openvino().save_model(model, folder / _FILES[0], compress_to_fp16=False)
            _check_saved(folder)
        record = {
            "made_from": recipe.made_from(),
            **measured,
            "refused": refused,
            "sha256": {name: _sha256(folder / name) for name in _FILES if not refused},
        }
        write_json(folder / _RECORD, record)
    with contextlib.suppress(OSError):  # another process may do the same
        _remove_least_used(recipe.folder.parents[1])


def _check_saved(folder: Path) -> None:
    """Read a network back, since OpenVINO's writer says nothing of a full disk.

    Raises:
        OSError: It was not written whole.
    """
    try:
        import_openvino().Core().read_model(folder / _FILES[0])
    except RuntimeError as error:
        raise OSError(errno.EIO, "it was not written whole") from error


def _remove_least_used(models_folder: Path) -> None:
    models = sorted(models_folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for folder in models[:-_MOST_MODELS]:
        shutil.rmtree(folder)


def _read_record(recipe: Recipe) -> dict[str, Any]:
    """Return the record of a kept result, empty unless it was made from the same."""
    try:
        record: dict[str, Any] = json.loads((recipe.folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if record.get("made_from") == recipe.made_from() else {}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
