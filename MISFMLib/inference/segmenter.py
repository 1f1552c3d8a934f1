"""A trained model on a device: volumes in, label maps on the same grid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from MISFMLib.configs import LabelConfig, PreprocessingConfig
from MISFMLib.data.preparations import Preparations
from MISFMLib.events import EventSink, ignore_events
from MISFMLib.inference.engines import Engines
from MISFMLib.inference.one_model import OneModel
from MISFMLib.inference.results import SegmenterOptions, SegmentResult, joined
from MISFMLib.inference.window_time import WindowFigures
from MISFMLib.models.bundle import Bundle
from MISFMLib.volumes.volume import Volume

__all__ = ["SegmentResult", "Segmenter", "SegmenterOptions"]


class Segmenter:
    """Segments any number of volumes with a model, which is loaded once.

    A model is one network, or several whose labels are put together; see `OneModel`.

    Attributes:
        engines: The ways to compute the first network, which hold those of the others.
    """

    def __init__(
        self,
        engines: Engines,
        preprocessing: PreprocessingConfig,
        labels: Sequence[LabelConfig],
        options: SegmenterOptions,
    ) -> None:
        """Choose the device.

        Args:
            engines: The network, and those that segment together with it.
            preprocessing: The model space.
            labels: Labels of the network's classes 1, 2, ...
            options: How to run it.

        Raises:
            ConfigError: An option is not possible.
            DeviceError: The device is absent, broken, or lacks the number format.
        """
        self.engines = engines
        self._only = options.only
        self._first = OneModel(engines, preprocessing, labels, options)
        self._models = [self._first]
        for part in engines.parts:
            if part.bundle is not None:
                manifest = part.bundle.manifest
                self._models.append(
                    OneModel(part, manifest.preprocessing, manifest.labels, options)
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
        engines = Engines.from_bundle(bundle)
        return cls(engines, manifest.preprocessing, manifest.own_labels, options)

    def settle(self, volumes: int, earlier: str = "") -> None:
        """Compute all volumes that follow with one engine.

        Args:
            volumes: How many there will be, about as large as the first; it decides what pays.
            earlier: What has computed others of the same batch, as `SegmentResult.settled` says.

        Raises:
            OutputError: Something else was asked for.
        """
        self._first.settle(volumes, earlier)
        for model in self._models[1:]:
            model.settle(volumes)

    def step_down(self, steps: int) -> None:
        """Leave the first steps of the memory ladder out for the volumes that follow.

        Args:
            steps: How many; the last step is always tried.
        """
        for model in self._models:
            model.step_down(steps)

    def load_engine(self) -> None:
        """Load the engine that the next volume is likely to need, where one is kept on the disk.

        Only for the CPU: the memory of a GPU is taken when there is something to compute.
        """
        self._first.load_engine()

    def measure_window(self, is_wanted: Callable[[], bool]) -> WindowFigures:
        """Measure how long a window takes with the engine that the next volume starts with.

        Args:
            is_wanted: Asked again and again whether a volume waits for the network.

        Raises:
            InterruptedMeasurementError: One does.
        """
        return self._first.measure_window(is_wanted)

    def segment(self, volume: Volume, events: EventSink = ignore_events) -> SegmentResult:
        """Segment a volume, with all networks that find one of the wanted labels.

        Args:
            volume: Volume with the model's channels.
            events: Hears progress and notices between windows; may raise `JobCancelled` to stop.

        Raises:
            DataError: The volume has another number of channels than the model.
            DeviceError: Memory does not suffice in any way, or the logits are not finite.
            BundleError: A network does not fit its labels.
        """
        wanted = [model for model in self._models if model.finds_one_of(self._only)]
        models = (wanted or [self._first]) if self._only else self._models
        prepare = Preparations(volume, [model.preprocessing for model in models]).prepare
        # The label maps of five models and what their networks compute in would be gigabytes.
        is_one_of_several = len(models) > 1
        results: list[SegmentResult] = []
        for model in models:
            own = model.segment(volume, prepare, events, gives_back=is_one_of_several)
            results = [joined([*results, own], ())]
        return joined(results, self._only)
