"""Parts of volumes in the size of a network's window."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from MISFMLib.data.preprocessing import PreparedVolume
from MISFMLib.inference.windows import WindowConfig


def pad_to_patch(image_CDHW: torch.Tensor, config: WindowConfig) -> torch.Tensor:
    """Repeat the outermost voxels, or put zeros, around an image that is smaller than a patch."""
    missing = [max(0, p - n) for p, n in zip(config.patch_size, image_CDHW.shape[1:], strict=True)]
    if not any(missing):
        return image_CDHW
    flat_widths = [width for both in reversed(missing) for width in (both // 2, both - both // 2)]
    mode = "replicate" if config.padding == "edge" else "constant"
    return F.pad(image_CDHW[None], flat_widths, mode=mode)[0]


def central_window(prepared: PreparedVolume, windows: WindowConfig) -> torch.Tensor:
    """Cut the window in the middle of a volume, (1, C, d, h, w)."""
    patch_size = windows.patch_size
    starts = [max(0, n - p) // 2 for n, p in zip(prepared.shape[1:], patch_size, strict=True)]
    depths, rows, columns = (slice(s, s + p) for s, p in zip(starts, patch_size, strict=True))
    stop = min(depths.stop, prepared.shape[1])
    patch_CDHW = prepared.slices(depths.start, stop)[:, :, rows, columns]
    return pad_to_patch(patch_CDHW, windows)[None]
