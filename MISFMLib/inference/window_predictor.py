"""Logits of the windows of a volume, batch by batch.

Windows of one intensity, such as air clipped to one value, give the same logits wherever they lie:
they are computed once. In a CT so are the windows that see nothing but the air around the patient,
noise and all, as long as that answer is background throughout.

Axes: B batch; C channels; K classes; D, H, W depth, height, width of the volume; d, h, w of the
patch.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from MISFMLib.configs import SegmentPrecision
from MISFMLib.data.ahead import ahead
from MISFMLib.data.preprocessing import PreparedVolume
from MISFMLib.device import autocast
from MISFMLib.errors import ConfigError
from MISFMLib.inference.logit_ring import LogitRing
from MISFMLib.inference.patches import pad_to_patch
from MISFMLib.inference.windows import AxisWindow, WindowConfig

T = TypeVar("T")

_CPU = torch.device("cpu")
_OUTSIDE_AIR = "outside air"
_MOST_KEPT = 2**26
"""Logits of a window that are kept for others like it: a quarter of a gigabyte in float32."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where, and in which number format, the work is done."""

    network: torch.device = _CPU
    """Device that the network is on."""
    sums: torch.device = _CPU
    """Device that holds the sums of logits, float32."""
    precision: SegmentPrecision = "fp32"
    """Number format of the network."""


def _even_batches(items: Sequence[T], largest: int) -> Iterator[Sequence[T]]:
    """Split into as few batches as possible, of nearly the same length: none is left alone."""
    count = -(-len(items) // largest)
    for number in range(count):
        yield items[len(items) * number // count : len(items) * (number + 1) // count]


_Place = tuple[AxisWindow, AxisWindow]
"""A window by height and width."""
_Shortcut = tuple[float, ...] | str | None
"""What a window shares its logits with: others of the same intensities, the outside air, none."""


@dataclass(frozen=True)
class _InputSlab:
    """What the windows that start at one slice see."""

    image_CdHW: torch.Tensor
    shortcuts: Sequence[_Shortcut]
    """One for every window, by height and width."""


class WindowPredictor:
    """Predicts windows and adds up their weighted logits.

    Windows may be added once all slices before them were taken.
    """

    def __init__(
        self,
        network: nn.Module,
        image: torch.Tensor | PreparedVolume,
        config: WindowConfig,
        placement: Placement,
    ) -> None:
        self.shape = [max(pair) for pair in zip(image.shape[1:], config.patch_size, strict=True)]
        self.axes = [
            [
                replace(window, weight=window.weight.to(placement.sums))
                for window in config.axis_windows(size, axis)
            ]
            for axis, size in enumerate(self.shape)
        ]
        self._places: list[_Place] = list(itertools.product(self.axes[1], self.axes[2]))
        self._network = network
        self._image = image
        self._config = config
        self._placement = placement
        self._air = image.outside_air if isinstance(image, PreparedVolume) else None
        weights_dhw = None if config.is_separable else config.weights_dhw()
        is_rounded = placement.precision not in ("auto", "fp32")
        self.ring = LogitRing(
            self.shape,
            config.patch_size,
            weights_dhw,
            plane_starts=[plane.start for plane in self.axes[0]],
            may_be_half=is_rounded,
        )
        self._answers: dict[_Shortcut, torch.Tensor] = {}
        self._is_air_labelled = False
        self._has_large_answers = False

    def slabs(self) -> Generator[_InputSlab, None, None]:
        """Yield the input for every slice that windows start at, in order.

        Where a GPU computes the network the CPU meanwhile prepares the next one.
        """
        if self._placement.network.type == "cpu":
            return (self._slab(plane) for plane in self.axes[0])
        return ahead(self._slab, self.axes[0], count=1)

    def batches(self, slab: _InputSlab) -> Iterator[Iterator[tuple[torch.Tensor, _Place]]]:
        """Yield the windows that start at one slice, batch by batch: their logits and places."""
        windows = list(zip(self._places, slab.shortcuts, strict=True))
        for batch in _even_batches(windows, self._config.batch_size):
            logits = self._predict_each(
                [(_cut(slab.image_CdHW, *place), shortcut) for place, shortcut in batch]
            )
            yield zip(logits, (place for place, _ in batch), strict=True)

    def _padded_slices(self, start: int) -> torch.Tensor:
        """Return the input's slices that windows from `start` on see, at least as large as they."""
        stop = min(start + self._config.patch_size[0], self._image.shape[1])
        if isinstance(self._image, torch.Tensor):
            return pad_to_patch(self._image[:, start:stop], self._config)
        return pad_to_patch(self._image.slices(start, stop), self._config)

    def _slab(self, plane: AxisWindow) -> _InputSlab:
        slab_CdHW = self._padded_slices(plane.start)
        shortcuts = [self._shortcut(slab_CdHW, plane, *place) for place in self._places]
        return _InputSlab(_copied(slab_CdHW, self._placement.sums), shortcuts)

    def _shortcut(
        self, slab_CdHW: torch.Tensor, plane: AxisWindow, row: AxisWindow, column: AxisWindow
    ) -> _Shortcut:
        uniform = _uniform_intensities(_cut(slab_CdHW, row, column))
        if uniform is None and self._air is not None:
            start = (plane.start, row.start, column.start)
            if self._air.holds(start, self._config.patch_size, self._image.shape[1:]):
                return _OUTSIDE_AIR
        return uniform

    def _predict_each(
        self, patches: Sequence[tuple[torch.Tensor, _Shortcut]]
    ) -> Iterator[torch.Tensor]:
        """Yield the logits of patches (C, d, h, w), each with what it shares them with."""
        answers = [self._answer(*patch) for patch in patches]
        varied = [
            patch_Cdhw
            for (patch_Cdhw, _), answer in zip(patches, answers, strict=True)
            if answer is None
        ]
        computed = iter(self._predict(varied) if varied else ())
        for answer in answers:
            yield next(computed) if answer is None else answer

    def _answer(self, patch_Cdhw: torch.Tensor, shortcut: _Shortcut) -> torch.Tensor | None:
        """Return the logits of a patch that shares them with others; the first is computed.

        Of the air the answer is kept, and of intensities the last one; none where one takes as much
        memory as all else, with a hundred classes.
        """
        if self._has_large_answers:
            self._answers.clear()
            return None
        if shortcut is None or (shortcut == _OUTSIDE_AIR and self._is_air_labelled):
            return None
        if shortcut not in self._answers:
            logits_Kdhw = self._predict([patch_Cdhw])[0].clone()
            if shortcut == _OUTSIDE_AIR and logits_Kdhw.argmax(0).any():
                self._is_air_labelled = True
                return logits_Kdhw
            for other in self._answers.keys() - {_OUTSIDE_AIR}:
                del self._answers[other]
            self._answers[shortcut] = logits_Kdhw
        return self._answers[shortcut]

    @torch.inference_mode()
    def _predict(self, patches_Cdhw: Sequence[torch.Tensor]) -> torch.Tensor:
        device = self._placement.network
        batch_BCdhw = torch.stack(list(patches_Cdhw)).to(device)
        with autocast(device, self._placement.precision):
            logits_BKdhw: torch.Tensor = self._network(batch_BCdhw)
            if self._config.mirroring:
                flips = _flips(self._config.mirror_axes)
                # An engine may use its memory again.
                logits_BKdhw = logits_BKdhw.to(torch.float32, copy=True)
                for axes in flips:
                    mirrored_BKdhw = self._network(batch_BCdhw.flip(axes)).float()
                    logits_BKdhw += mirrored_BKdhw.flip(axes)
                logits_BKdhw /= 1 + len(flips)
        self._has_large_answers = logits_BKdhw[0].numel() > _MOST_KEPT
        if logits_BKdhw.shape[2:] != batch_BCdhw.shape[2:]:
            raise ConfigError(
                f"The network turns a patch of {tuple(batch_BCdhw.shape[2:])} voxels into logits "
                f"of {tuple(logits_BKdhw.shape[2:])}, the same size was expected.",
                code="logit-size",
                remedy="Choose a patch size that the network's strides divide.",
            )
        return logits_BKdhw.to(self._placement.sums)


def _copied(slab_CdHW: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to a device, on CUDA without waiting for the kernels that it was given before."""
    if device.type != "cuda":
        return slab_CdHW.to(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        copied_CdHW = slab_CdHW.pin_memory().to(device, non_blocking=True)
    stream.synchronize()
    # Its memory is not to be used again while kernels of the stream that computes may read it.
    copied_CdHW.record_stream(torch.cuda.current_stream(device))
    return copied_CdHW


def _cut(slab_CdHW: torch.Tensor, row: AxisWindow, column: AxisWindow) -> torch.Tensor:
    rows, columns = (slice(axis.start, axis.start + len(axis.weight)) for axis in (row, column))
    return slab_CdHW[:, :, rows, columns]


def _uniform_intensities(patch_Cdhw: torch.Tensor) -> tuple[float, ...] | None:
    """Return the intensity of every channel if each has one only."""
    first_C111 = patch_Cdhw[:, :1, :1, :1]
    # The slice in the middle alone sorts out nearly all others.
    for part_Cdhw in (patch_Cdhw[:, patch_Cdhw.shape[1] // 2, None], patch_Cdhw):
        if not (part_Cdhw == first_C111).all():
            return None
    return tuple(first_C111.flatten().tolist())


def _flips(mirror_axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the axes of (B, C, d, h, w) to flip for each mirror image."""
    counts = range(1, len(mirror_axes) + 1)
    subsets = (axes for count in counts for axes in itertools.combinations(mirror_axes, count))
    return [tuple(axis + 2 for axis in axes) for axes in subsets]
