"""A network of PyTorch made a model of OpenVINO."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from MISFMLib.configs import NetworkConfig
from MISFMLib.networks import stride_dhw
from MISFMLib.networks.resolution import OF_ONE_SIZE


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports every import to Intel and Google.

    None in the place of a module makes its import fail; OpenVINO then does without.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def convert(network: nn.Module, image_BCDHW: torch.Tensor) -> Any:
    """Convert a network for images of exactly this shape to a model of OpenVINO.

    The network was run before, so that what it keeps between calls becomes a constant. One that
    computes the same whatever the size is traced on a small part: of a whole window with a hundred
    classes the tracing alone would take 11 GB.
    """
    openvino = import_openvino()
    with warnings.catch_warnings(), _root_logger_kept(), torch.no_grad():
        # The tracer warns of everything that it takes for constant; the shape shall be constant.
        warnings.simplefilter("ignore")
        example_BCDHW = _example(network, image_BCDHW)
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example_BCDHW, check_trace=False
        )
        shape = list(image_BCDHW.shape)
        return openvino.convert_model(traced, example_input=example_BCDHW, input=shape)


def is_bfloat16(logits_BKDHW: torch.Tensor) -> bool:
    """Tell whether all values are numbers of bfloat16: then OpenVINO computes them in that."""
    return all(
        torch.equal(logits, logits.bfloat16().to(logits.dtype)) for logits in logits_BKDHW.unbind(1)
    )


def with_bfloat16_logits(model: Any) -> Any:
    """Return a model that gives its logits as bfloat16.

    OpenVINO would make them float32 otherwise: the same values in twice the memory, beside those
    that it computed.
    """
    openvino = import_openvino()
    processor = openvino.preprocess.PrePostProcessor(model)
    processor.output(0).tensor().set_element_type(openvino.Type.bf16)
    return processor.build()


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Put the root logger back as it was.

    OpenVINO 2026.4.1 (tools/ovc/convert.py) lets it tell errors only while it converts, and leaves
    it so when the conversion fails: nobody would hear the readers' warnings any more.
    """
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def _example(network: nn.Module, image_BCDHW: torch.Tensor) -> torch.Tensor:
    """Return what a network is traced with: two voxels of the coarsest level where that will do."""
    config = getattr(network, "config", None)
    if not isinstance(config, NetworkConfig) or config.stages is None:
        return image_BCDHW
    if config.kinds or config.architecture in OF_ONE_SIZE:
        return image_BCDHW
    strides = stride_dhw(config)
    if any(size % stride for size, stride in zip(image_BCDHW.shape[2:], strides, strict=True)):
        return image_BCDHW  # the padding belongs to the size
    d, h, w = (2 * stride for stride in strides)
    return image_BCDHW[:, :, :d, :h, :w].contiguous()
