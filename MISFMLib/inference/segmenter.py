"""A trained model on a device: volumes in, label maps on the same grid out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from MISFMLib.bundle import Bundle
from MISFMLib.configs import LabelConfig, Precision, PreprocessingConfig, Size
from MISFMLib.data.preprocessing import PreparedVolume, prepare_volume
from MISFMLib.device import resolve_precision, select_device
from MISFMLib.errors import DeviceError
from MISFMLib.events import EventSink, Notice, Progress, ignore_events
from MISFMLib.inference.domain import domain_warnings
from MISFMLib.inference.ladder import Rung, memory_ladder
from MISFMLib.inference.postprocessing import clean_labels
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.sliding_window import Placement, WindowCounter, iterate_slabs
from MISFMLib.inference.windows import WindowConfig, count_windows, suitable_batch_size
from MISFMLib.networks import network_from_bundle
from MISFMLib.volume import LabelMap, Volume

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SegmenterOptions:
    """How a model is run; what the fields mean is told in `SegmentConfig`."""

    device: str = "auto"
    precision: Precision = "auto"
    overlap: float = 0.5
    batch_size: int | None = None
    mirroring: bool = False
    postprocessing: bool = True
    """Clean up the labels as the model says."""


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """A label map and how it came about."""

    label_map: LabelMap
    """Labels on the grid of the volume."""
    device: str
    """Device that computed the network."""
    precision: str
    """Number format of the network, such as ``float32``."""
    patch_size: Size
    """Windows in voxels of model space."""
    model_shape_dhw: Size
    """Voxels of the volume in model space."""
    windows: int
    """Windows computed."""
    timings_s: dict[str, float]
    """Seconds of the stages preprocess, network, restore, postprocess."""
    notices: tuple[str, ...]
    """What the user was told."""
    device_peak_bytes: int
    """Most memory that was in use on a CUDA device; 0 on others."""


@dataclass
class _Run:
    """What is collected while one volume is segmented."""

    events: EventSink
    notices: list[str] = field(default_factory=list)
    timings_s: dict[str, float] = field(default_factory=dict)

    def notify(self, message: str) -> None:
        """Tell the user and keep it for the report."""
        self.notices.append(message)
        self.events(Notice(message))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's seconds to a stage."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.timings_s[stage] = self.timings_s.get(stage, 0.0) + seconds


class Segmenter:
    """Segments any number of volumes with one network, which is loaded once.

    When a GPU runs out of memory, the volume is tried again in the ways of `memory_ladder`, each
    announced as a notice. The next volume starts at the top again.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: PreprocessingConfig,
        labels: Sequence[LabelConfig],
        options: SegmenterOptions,
    ) -> None:
        """Choose the device.

        Args:
            network: Maps (B, C, d, h, w) to logits (B, K, d, h, w); in eval mode.
            preprocessing: The model space.
            labels: Labels of the network's classes 1, 2, ...
            options: How to run it.

        Raises:
            ConfigError: An option is not possible.
            DeviceError: The device is absent, broken, or lacks the number format.
        """
        device = select_device(options.device)
        resolve_precision(options.precision, device)
        # A fifth to a third faster on the CPU, and what tensor cores ask for.
        self._network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._preprocessing = preprocessing
        self._labels = labels
        self._does_postprocessing = options.postprocessing
        self._placement = Placement(network=device, sums=device, precision=options.precision)
        self._windows = WindowConfig(
            patch_size=preprocessing.patch_size,
            overlap=options.overlap,
            batch_size=options.batch_size or suitable_batch_size(preprocessing.patch_size),
            mirroring=options.mirroring,
            mirror_axes=preprocessing.mirror_axes,
        )

    @classmethod
    def from_bundle(cls, bundle: Bundle, options: SegmenterOptions) -> Segmenter:
        """Load a bundle's network.

        Raises:
            BundleError: The bundle is damaged.
            ConfigError: An option is not possible.
            DeviceError: The device is absent, broken, or lacks the number format.
        """
        manifest = bundle.manifest
        network = network_from_bundle(bundle)
        return cls(network, manifest.preprocessing, manifest.labels, options)

    def segment(self, volume: Volume, events: EventSink = ignore_events) -> SegmentResult:
        """Segment a volume.

        Args:
            volume: Volume with the model's channels.
            events: Hears progress and notices between windows; may raise `JobCancelled` to stop.

        Raises:
            DataError: The volume has another number of channels than the model.
            DeviceError: Memory does not suffice in any way, or the logits are not finite.
            BundleError: The network does not fit its labels.
        """
        run = _Run(events)
        with run.timed("preprocess"):
            prepared = prepare_volume(volume, self._preprocessing)
            for warning in domain_warnings(volume, prepared.record, self._preprocessing):
                run.notify(warning)
        rung, label_map = self._climb_down(prepared, run)
        shape = prepared.record.model_shape_dhw
        del prepared  # frees its memory for the components
        if self._does_postprocessing:
            with run.timed("postprocess"):
                label_map = clean_labels(label_map, self._labels)
        if not label_map.array_DHW.any():
            run.notify("No voxel of any label was found.")
        return SegmentResult(
            label_map=label_map,
            device=str(rung.placement.network),
            precision=_precision_name(rung.placement),
            patch_size=rung.windows.patch_size,
            model_shape_dhw=shape,
            windows=count_windows(shape, rung.windows),
            timings_s=run.timings_s,
            notices=tuple(run.notices),
            device_peak_bytes=_device_peak(self._placement.network),
        )

    def _climb_down(self, prepared: PreparedVolume, run: _Run) -> tuple[Rung, LabelMap]:
        """Compute the label map on the first rung whose memory suffices."""
        for rung in memory_ladder(self._windows, self._placement):
            if rung.change:
                run.notify(f"The memory of the device does not suffice; trying {rung.change}.")
            try:
                return rung, self._compute(prepared, rung, run)
            except torch.OutOfMemoryError as error:
                _log.warning("out of memory: %s", error)
            if self._placement.network.type == "cuda":
                torch.cuda.empty_cache()
        raise DeviceError(
            "There is too little memory for this volume.",
            code="out-of-memory",
            remedy="Close other programs, or use a machine with more memory.",
        )

    def _compute(self, prepared: PreparedVolume, rung: Rung, run: _Run) -> LabelMap:
        start = time.perf_counter()
        restorer = LabelRestorer(prepared.record, self._labels)
        slabs = iterate_slabs(
            self._network.to(rung.placement.network),
            prepared.image_CDHW,
            rung.windows,
            rung.placement,
            _progress(run.events),
        )
        run.timings_s["restore"] = 0.0
        for slab in slabs:
            with run.timed("restore"):
                restorer.add(slab)
        seconds = time.perf_counter() - start
        run.timings_s["network"] = seconds - run.timings_s["restore"]
        return restorer.label_map()


def _progress(events: EventSink) -> WindowCounter:
    """Return a window counter that reports the share done and the time left."""
    start = time.perf_counter()

    def report(done: int, total: int) -> None:
        left_s = (time.perf_counter() - start) * (total - done) / done
        events(Progress("segment", done / total, f"window {done} of {total}", left_s))

    return report


def _precision_name(placement: Placement) -> str:
    return str(resolve_precision(placement.precision, placement.network)).removeprefix("torch.")


def _device_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
