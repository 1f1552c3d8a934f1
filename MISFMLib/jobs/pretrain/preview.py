"""What a picture of a pretext task shows: of every method what the network sees and answers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from MISFMLib.data.crops import CropSource
from MISFMLib.data.pretext import Sample
from MISFMLib.export.pretext_preview import Panel
from MISFMLib.training.pretext_losses import restored

_DEGREE = "\N{DEGREE SIGN}"


def show_volume(source: CropSource, index: int, name: str) -> Panel:
    """Show the middle slice of a volume; the others are not read."""
    depth, height, width = source.shape(index)
    (image_HW,) = source.crop(index, (depth // 2, 0, 0), (1, height, width))
    return Panel(name, image_HW)


def show_fusion(sample: Sample, outputs: Any, num_levels: int) -> list[Panel]:
    """Show both crops, the fused one, the true and the predicted levels."""
    finest_BKDHW = outputs if isinstance(outputs, Tensor) else outputs[0]
    return [
        *_origin(sample),
        _middle("fused", sample.image_BCDHW[0, 0]),
        _middle("label", sample.target[0], num_levels),
        _middle("prediction", finest_BKDHW[0].argmax(0), num_levels),
    ]


def show_fusion_masking(sample: Sample, outputs: Any, num_levels: int) -> list[Panel]:
    """Show the fused crops, what is left of them, the true and predicted levels, the restored."""
    scales = [outputs] if isinstance(outputs, Tensor) else outputs
    return [
        *_origin(sample),
        _middle("masked", sample.image_BCDHW[0, 0]),
        _middle("label", sample.target[0, 0], num_levels),
        _middle("prediction", scales[0][0, :-1].argmax(0), num_levels),
        _middle("restored", restored(scales[0][:, -1:])[0]),
    ]


def show_restoration(sample: Sample, outputs_B1DHW: Tensor) -> list[Panel]:
    """Show the crop, the damaged and the restored one."""
    return [
        *_origin(sample),
        _middle("damaged", sample.image_BCDHW[0, 0]),
        _middle("restored", restored(outputs_B1DHW)[0]),
    ]


def show_rotation(sample: Sample, logits_BK: Tensor) -> list[Panel]:
    """Show the crop, and the turned one with the answer."""
    truth, answer = 90 * int(sample.target), 90 * int(logits_BK.argmax())
    caption = f"turned by {truth}{_DEGREE}, answer {answer}{_DEGREE}"
    return [*_origin(sample), _middle(caption, sample.image_BCDHW[0, 0])]


def show_views(sample: Sample, _embeddings_BEDHW: Tensor) -> list[Panel]:
    """Show both views."""
    views_DHW = sample.image_BCDHW[:, 0]
    return [_middle(f"view {number}", view) for number, view in enumerate(views_DHW, start=1)]


def _origin(sample: Sample) -> list[Panel]:
    return [_middle(name, crop_DHW) for name, crop_DHW in sample.origin.items()]


def _middle(caption: str, volume_DHW: Tensor, num_levels: int = 0) -> Panel:
    slice_HW = volume_DHW[len(volume_DHW) // 2]
    return Panel(caption, slice_HW.float().cpu().numpy(), num_levels)
