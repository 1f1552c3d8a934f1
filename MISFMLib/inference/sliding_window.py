"""Logits of a whole volume from overlapping windows, emitted slab by slab along depth.

Windows run in order of depth. The input is prepared as deep as the patch at a time, and a ring
buffer as deep holds the sums of the windows' weighted logits; slices that no later window touches
are emitted and their place is used again, so memory does not grow with the length of the scan.

Axes: B batch; C channels; K classes; D, H, W depth, height, width of the volume; d, h, w of the
patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import torch
from torch import nn

from MISFMLib.data.preprocessing import PreparedVolume
from MISFMLib.inference.logit_ring import LogitSlab
from MISFMLib.inference.window_predictor import Placement, WindowPredictor
from MISFMLib.inference.windows import WindowConfig

__all__ = ["Placement", "WindowCounter", "ignore_windows", "iterate_slabs", "predict_logits"]

_CPU = torch.device("cpu")

WindowCounter = Callable[[int, int], None]
"""Called between windows with the number done and the number of all; may raise to stop."""


def ignore_windows(_done: int, _total: int) -> None:
    """Window counter that drops everything."""


def predict_logits(
    network: nn.Module,
    image: torch.Tensor | PreparedVolume,
    config: WindowConfig,
    placement: Placement | None = None,
    on_window: WindowCounter = ignore_windows,
) -> torch.Tensor:
    """Predict the logits of a whole volume, for volumes whose logits fit into memory.

    Args:
        network: Maps (B, C, d, h, w) to logits (B, K, d, h, w); in eval mode.
        image: Prepared volume, or its intensities (C, D, H, W), float32, on the CPU.
        config: Windows.
        placement: Devices and number format; all on the CPU in float32 when not given.
        on_window: Hears how far it has come.

    Returns:
        Logits (K, D, H, W), float32, on the CPU.

    Raises:
        ConfigError: The network's logits have another size than its input.
    """
    logits_KDHW = torch.empty(0)
    for slab in iterate_slabs(network, image, config, placement, on_window):
        classes, depth, height, _ = slab.logits_KDHW.shape
        if not len(logits_KDHW):
            logits_KDHW = torch.empty(classes, *image.shape[1:])
        planes, rows = slice(slab.start, slab.start + depth), slice(slab.row, slab.row + height)
        logits_KDHW[:, planes, rows] = slab.logits_KDHW.to(_CPU)
    return logits_KDHW


def iterate_slabs(
    network: nn.Module,
    image: torch.Tensor | PreparedVolume,
    config: WindowConfig,
    placement: Placement | None = None,
    on_window: WindowCounter = ignore_windows,
) -> Iterator[LogitSlab]:
    """Predict the logits of a volume slab by slab, in order of depth.

    A volume smaller than the patch is padded on both sides, with its outermost voxels as training
    patches are or with zeros, and its logits are cropped again. Memory beside the input volume:
    float32 buffers of K x patch depth x H x W, or where that is much of K x patch depth x patch
    height x W and the overlap (see `LogitRing`), and C x patch depth x H x W.

    Args:
        network: Maps (B, C, d, h, w) to logits (B, K, d, h, w); in eval mode.
        image: Prepared volume, or its intensities (C, D, H, W), float32, on the CPU.
        config: Windows.
        placement: Devices and number format; all on the CPU in float32 when not given.
        on_window: Hears how far it has come.

    Yields:
        Slabs that together hold every voxel once: by depth, and those of the same slices, where
        there are several, by height.

    Raises:
        ConfigError: The network's logits have another size than its input.
    """
    _, depth, height, width = image.shape
    missing = [
        max(0, p - n) for p, n in zip(config.patch_size, (depth, height, width), strict=True)
    ]
    before, top, left = (voxels // 2 for voxels in missing)
    predictor = WindowPredictor(network, image, config, placement or Placement())
    for slab in _padded_slabs(predictor, on_window):
        first = max(before, slab.start)
        stop = min(before + depth, slab.start + slab.logits_KDHW.shape[1])
        first_row = max(top, slab.row)
        stop_row = min(top + height, slab.row + slab.logits_KDHW.shape[2])
        if first < stop and first_row < stop_row:
            cut = slice(first - slab.start, stop - slab.start)
            rows = slice(first_row - slab.row, stop_row - slab.row)
            logits_KDHW = slab.logits_KDHW[:, cut, rows, left : left + width]
            yield LogitSlab(first - before, logits_KDHW, first_row - top)


def _padded_slabs(predictor: WindowPredictor, on_window: WindowCounter) -> Iterator[LogitSlab]:
    """Yield slabs of a volume that is at least as large as a patch."""
    planes, rows, columns = predictor.axes
    total, done = len(planes) * len(rows) * len(columns), 0
    stops = [*(plane.start for plane in planes[1:]), predictor.shape[0]]
    with closing(predictor.slabs()) as slabs:
        for plane, stop, slab in zip(planes, stops, slabs, strict=True):
            these, reached = slice(plane.start, stop), rows[0]
            for batch in predictor.batches(slab):
                for logits_Kdhw, (row, column) in batch:
                    if row is not reached:
                        yield from predictor.ring.take(these, slice(reached.start, row.start))
                        reached = row
                    predictor.ring.add(logits_Kdhw, (plane, row, column))
                    done += 1
                on_window(done, total)
            yield from predictor.ring.take(these, slice(reached.start, predictor.shape[1]))
