"""A network converted to OpenVINO, which computes it on x86 CPUs faster than PyTorch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from MISFMLib.configs import Precision
from MISFMLib.device import cpu_features, resolve_precision
from MISFMLib.inference.openvino_conversion import import_openvino
from MISFMLib.inference.row_sums import sum_by_rows
from MISFMLib.inference.voxel_pairs import pair_voxels


def is_x86() -> bool:
    """Tell whether this is a CPU that networks are converted for."""
    return platform.machine().lower() in ("x86_64", "amd64")


def why_unavailable() -> str:
    """Return why OpenVINO cannot be used on this machine, as a sentence, or nothing."""
    if not is_x86():
        return f"OpenVINO is used on x86 CPUs only, this is {platform.machine()}."
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed (pip install 'misfm[cpu]')."
    return ""


def version() -> str:
    """Return the version of OpenVINO."""
    return importlib.metadata.version("openvino")


class OpenVINONetwork(nn.Module):
    """Maps (B, C, d, h, w) to logits (B, K, d, h, w), window by window.

    Together they would not be computed any faster. The logits of a single window are memory that
    the next call overwrites: with a hundred classes a copy takes a gigabyte. They are float32, or
    bfloat16 where the model gives that.
    """

    def __init__(self, model: Any, precision: str, threads: int, mean_dice: float = 1.0) -> None:
        """Compile a model of OpenVINO for this CPU; `mean_dice` is kept with it."""
        super().__init__()
        self.mean_dice = mean_dice
        properties = {
            "INFERENCE_PRECISION_HINT": _hint(precision),
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Processes side by side would all be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        model = model.clone()
        if properties["INFERENCE_PRECISION_HINT"] == "f32":
            sum_by_rows(model)
        pair_voxels(model, lanes=16 if "avx512f" in cpu_features() else 8)
        self._compiled = import_openvino().Core().compile_model(model, "CPU", properties)
        self._request: Any = None
        self._logits_1KDHW: torch.Tensor | None = None

    def forward(self, image_BCDHW: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        arrays = image_BCDHW.float().contiguous().numpy()
        if len(arrays) == 1:
            return self._infer(arrays)
        return torch.cat([self._infer(array_CDHW[None]).clone() for array_CDHW in arrays])

    def release(self) -> None:
        """Give back the memory that computing takes, most of a gigabyte, until the next window."""
        self._request = self._logits_1KDHW = None
        self._compiled.release_memory()

    def _infer(self, array_1CDHW: np.ndarray[Any, Any]) -> torch.Tensor:
        if self._request is None:
            self._prepare()
        results = self._request.infer({0: array_1CDHW}, share_outputs=True)
        if self._logits_1KDHW is not None:
            return self._logits_1KDHW
        (logits_1KDHW,) = results.values()
        return torch.from_numpy(logits_1KDHW)

    def _prepare(self) -> None:
        openvino = import_openvino()
        self._request = self._compiled.create_infer_request()
        output = self._compiled.output(0)
        if output.get_element_type() == openvino.Type.bf16:  # which NumPy does not know
            self._logits_1KDHW = torch.empty(list(output.shape), dtype=torch.bfloat16)
            memory = self._logits_1KDHW.view(torch.int16).numpy()
            shared = openvino.Tensor(memory, output.shape, openvino.Type.bf16)
            self._request.set_output_tensor(shared)


def _hint(precision: str) -> str:
    """Return the number format of what a model does not fix itself, by OpenVINO's name."""
    wanted: Precision = "auto" if precision == "int8" else cast(Precision, precision)
    dtype = resolve_precision(wanted, torch.device("cpu"))
    return {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
