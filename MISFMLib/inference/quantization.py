"""A network in 8-bit integers, made by NNCF from windows like those it will see.

It is the fastest way to compute a network on a CPU, and the only one that may cost accuracy that
shows: so a version is used only where `misfm quantize` has found that it segments as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Sequence
from typing import Any

import torch

from MISFMLib.inference import openvino_conversion, openvino_network


def why_unavailable() -> str:
    """Return why networks cannot be quantised on this machine, as a sentence, or nothing."""
    problem = openvino_network.why_unavailable()
    if not problem and importlib.util.find_spec("nncf") is None:
        problem = "NNCF is not installed (pip install 'misfm[int8]')."
    return problem


def quantize(model: Any, windows: Sequence[torch.Tensor], *, accurate: bool = True) -> Any:
    """Return a model of OpenVINO in which convolutions and matrices are computed in int8.

    Args:
        model: The model, which is used up.
        windows: Windows (1, C, d, h, w) to find the ranges of the activations with.
        accurate: Correct the biases layer by layer, which takes a multiple of the time.
    """
    nncf = _import_nncf()
    # Its progress bars would mix with our events.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset([window.numpy() for window in windows]),
            subset_size=len(windows),
            model_type=nncf.ModelType.TRANSFORMER,
            fast_bias_correction=not accurate,
        )


def _import_nncf() -> Any:
    openvino_conversion.import_openvino()  # without the telemetry that NNCF would use too
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
