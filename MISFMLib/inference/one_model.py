"""One network on a device, after the one before it in a cascade: volumes in, label maps out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch

from MISFMLib.configs import LabelConfig, PreprocessingConfig
from MISFMLib.data.preprocessing import PreparedVolume
from MISFMLib.device import cuda_peak_bytes, resolve_precision, select_device
from MISFMLib.errors import DeviceError, is_out_of_memory
from MISFMLib.events import EventSink
from MISFMLib.inference.domain import domain_warnings
from MISFMLib.inference.engine import Engine, Work
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.ladder import Rung, memory_ladder
from MISFMLib.inference.openvino_network import OpenVINONetwork
from MISFMLib.inference.patches import central_window
from MISFMLib.inference.postprocessing import clean_labels
from MISFMLib.inference.restoration import LabelRestorer
from MISFMLib.inference.results import SegmenterOptions, SegmentResult
from MISFMLib.inference.run import Run, window_progress
from MISFMLib.inference.settled import Settled, check_wish
from MISFMLib.inference.sliding_window import Placement, iterate_slabs
from MISFMLib.inference.uncertainty import Uncertainty
from MISFMLib.inference.where_to_look import UncertainPlace, find_uncertain_places
from MISFMLib.inference.window_time import WindowFigures, counted_windows, window_seconds
from MISFMLib.inference.windows import count_windows
from MISFMLib.volumes.volume import LabelMap, Volume

_log = logging.getLogger(__name__)

_DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
Prepare = Callable[[PreprocessingConfig, LabelMap | None], PreparedVolume]
_Restored = tuple[LabelMap, Uncertainty | None]


class OneModel:
    """Segments volumes with one network, after the one before it in a cascade.

    When a GPU runs out of memory, the volume is tried again in the ways of `memory_ladder`, each
    announced as a notice. The next volume starts at the top again.

    Attributes:
        preprocessing: The model space.
    """

    def __init__(
        self,
        engines: Engines,
        preprocessing: PreprocessingConfig,
        labels: Sequence[LabelConfig],
        options: SegmenterOptions,
    ) -> None:
        """Choose the device; args and errors are those of `Segmenter`."""
        device = select_device(options.device)
        if options.precision != "int8":
            resolve_precision(options.precision, device)
        self._engines = engines
        self._previous: OneModel | None = None
        if engines.previous is not None and engines.previous.bundle is not None:
            before = engines.previous.bundle.manifest
            plain = replace(options, postprocessing=False, uncertainty=False)
            self._previous = OneModel(engines.previous, before.preprocessing, before.labels, plain)
        self._engine_name = options.engine
        self._volumes = 1
        self._steps_down = 0
        self._settled: Settled | None = None
        self.preprocessing = preprocessing
        self._labels = labels
        self._does_postprocessing = options.postprocessing
        self._with_uncertainty = options.uncertainty
        self._placement = Placement(network=device, sums=device, precision=options.precision)
        self._windows = options.windows(preprocessing)

    def finds_one_of(self, values: Collection[int]) -> bool:
        """Tell whether one of these labels is among those of the network."""
        return any(label.value in values for label in self._labels)

    def settle(self, volumes: int, earlier: str = "") -> None:
        """Do as `Segmenter.settle` says, with the network before this one too."""
        self._volumes = max(1, volumes)
        self._settled = Settled.parse(earlier)
        if self._settled is not None:
            device, precision = self._placement.network.type, self._placement.precision
            check_wish(self._settled, self._engine_name, precision, device)
        if self._previous is not None:
            self._previous.settle(volumes)

    def step_down(self, steps: int) -> None:
        """Do as `Segmenter.step_down` says, with the network before this one too."""
        self._steps_down = steps
        if self._previous is not None:
            self._previous.step_down(steps)

    def load_engine(self) -> None:
        """Do as `Segmenter.load_engine` says."""
        if self._placement.network.type == "cpu":
            self._load_kept()

    def measure_window(self, is_wanted: Callable[[], bool]) -> WindowFigures:
        """Do as `Segmenter.measure_window` says; args and errors are the same."""
        engine = self._load_kept()
        device = self._placement.network
        channels = self.preprocessing.input_channels
        placement = replace(self._placement, precision=engine.precision)
        seconds = window_seconds(engine.network, channels, self._windows, placement, is_wanted)
        peak = cuda_peak_bytes(device)
        if device.type != "cpu":  # its memory is for volumes
            engine.network.cpu()
            torch.cuda.empty_cache()
        can_convert = engine.name.startswith("PyTorch") and self._engines.conversions.are_possible(
            device
        )
        return WindowFigures(str(device), engine.name, seconds, peak, can_convert)

    def _load_kept(self) -> Engine:
        placement = self._placement
        shape = (self.preprocessing.input_channels, *self._windows.patch_size)
        return self._engines.load_kept(
            self._engine_name, placement.precision, shape, placement.network
        )

    def segment(
        self, volume: Volume, prepare: Prepare, events: EventSink, *, gives_back: bool = False
    ) -> SegmentResult:
        """Segment a volume.

        Args:
            volume: Volume with the model's channels.
            prepare: Brings it into model space.
            events: Hears progress and notices between windows; may raise `JobCancelled` to stop.
            gives_back: Give back the memory that the network computes in.

        Raises:
            DataError: The volume has another number of channels than the model.
            DeviceError: Memory does not suffice in any way, or the logits are not finite.
            BundleError: The network does not fit its labels.
        """
        run = Run(events)
        previous = None
        if self._previous is not None:
            with run.timed("previous"):
                previous = self._previous.segment(volume, prepare, events).label_map
        with run.timed("preprocess"):
            prepared = prepare(self.preprocessing, previous)
            for warning in domain_warnings(volume, prepared.record, self.preprocessing):
                run.notify(warning)
        rung, engine, (label_map, uncertainty) = self._climb_down(prepared, run)
        shape = prepared.record.model_shape_dhw
        del prepared  # frees its memory for the components
        if gives_back and isinstance(engine.network, OpenVINONetwork):
            engine.network.release()
        places: tuple[UncertainPlace, ...] = ()
        percents = None
        if uncertainty is not None:
            with run.timed("uncertainty"):
                places = find_uncertain_places(uncertainty, label_map, self._labels)
            percents = Volume(uncertainty.percent_DHW[None], volume.geometry, volume.name)
            del uncertainty  # frees its other half
        if self._does_postprocessing:
            with run.timed("postprocess"):
                label_map = clean_labels(label_map, self._labels)
        if not label_map.array_DHW.any():
            run.notify("No voxel of any label was found.")
        return SegmentResult(
            label_map=label_map,
            device=str(rung.placement.network),
            precision=_DTYPE_NAMES[engine.precision],
            engine=engine.name,
            settled=str(Settled.from_engine(engine, rung.placement.network)),
            patch_size=rung.windows.patch_size,
            model_shape_dhw=shape,
            windows=count_windows(shape, rung.windows),
            computed_windows=run.computed_windows,
            timings_s=run.timings_s,
            notices=tuple(run.notices),
            device_peak_bytes=cuda_peak_bytes(self._placement.network),
            uncertainty=percents,
            places=places,
        )

    def _climb_down(self, prepared: PreparedVolume, run: Run) -> tuple[Rung, Engine, _Restored]:
        """Compute the label map on the first rung whose memory suffices."""
        rungs = list(memory_ladder(self._windows, self._placement))
        rungs = rungs[min(self._steps_down, len(rungs) - 1) :]
        for rung in rungs:
            if rung.change and rung is rungs[0]:
                run.notify(f"A process died over it; trying {rung.change}.")
            elif rung.change:
                run.notify(f"The memory of the device does not suffice; trying {rung.change}.")
            try:
                return rung, *self._compute_on(rung, prepared, run)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                _log.warning("out of memory: %s", error)
            self._engines.free_recordings()
            torch.cuda.empty_cache()
        raise DeviceError(
            "There is too little memory for this volume.",
            code="out-of-memory",
            remedy="Close other programs, or use a machine with more memory.",
        )

    def _compute_on(
        self, rung: Rung, prepared: PreparedVolume, run: Run
    ) -> tuple[Engine, _Restored]:
        """Compute the label map; when that fails, nothing here holds on to the engine's memory."""
        engine = self._choose_engine(prepared, rung, run)
        return engine, self._compute(prepared, rung, engine, run)

    def _choose_engine(self, prepared: PreparedVolume, rung: Rung, run: Run) -> Engine:
        patch_size, placement = rung.windows.patch_size, rung.placement
        work = Work(
            device=placement.network,
            windows=count_windows(prepared.record.model_shape_dhw, rung.windows),
            window_shape=(prepared.shape[0], *patch_size),
            sample=lambda: central_window(prepared, rung.windows),
        )
        # What memory enforces is told to the user, and holds for its volume alone.
        is_free = not rung.change or placement.network == self._placement.network
        with run.timed("engine"):
            if self._settled is not None and is_free:
                return self._engines.again(self._settled, work, run.tell_conversion)
            engine = self._engines.choose(
                self._engine_name,
                placement.precision,
                replace(work, windows=work.windows * self._volumes),
                run.tell_conversion,
            )
        if self._volumes > 1 and is_free:
            self._settled = Settled.from_engine(engine, placement.network)
        if self._engine_name == "openvino" and engine.reason:
            run.notify(f"PyTorch computes the network. {engine.reason}")
        elif placement.precision == "int8" and engine.reason:
            run.notify(f"The network is not computed in int8. {engine.reason}")
        return engine

    def _compute(self, prepared: PreparedVolume, rung: Rung, engine: Engine, run: Run) -> _Restored:
        start = time.perf_counter()
        restorer = LabelRestorer(
            prepared.record,
            self._labels,
            space=self.preprocessing,
            with_uncertainty=self._with_uncertainty,
        )
        slabs = iterate_slabs(
            engine.network,
            prepared,
            rung.windows,
            replace(rung.placement, precision=engine.precision),
            window_progress(run.events),
        )
        run.timings_s["restore"] = 0.0
        with counted_windows(engine.network) as batches:
            for slab in slabs:
                with run.timed("restore"):
                    restorer.add(slab)
        run.computed_windows = sum(batches)
        seconds = time.perf_counter() - start
        run.timings_s["network"] = seconds - run.timings_s["restore"]
        return restorer.label_map(), restorer.uncertainty()
