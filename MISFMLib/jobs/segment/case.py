"""One case of a segmentation job: read, segment, write."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MISFMLib.configs import LabelConfig, SegmentConfig
from MISFMLib.errors import ConfigError
from MISFMLib.events import EventSink, Notice, Progress
from MISFMLib.export.dicom_source import DicomSource
from MISFMLib.export.statistics import LabelVolume, label_volumes
from MISFMLib.files import write_json
from MISFMLib.inference.segmenter import Segmenter, SegmentResult
from MISFMLib.jobs.segment.as_totalsegmentator import segment_as_totalsegmentator
from MISFMLib.jobs.segment.channels import doubts_of_order
from MISFMLib.jobs.segment.only import wanted_labels
from MISFMLib.jobs.segment.plan import SegmentCase
from MISFMLib.jobs.segment.region import RegionFirst
from MISFMLib.jobs.segment.report import case_report
from MISFMLib.models.bundle import BundleManifest
from MISFMLib.volumes.dicom_seg import is_dicom_seg
from MISFMLib.volumes.volume import LabelMap, Volume, read_volume, write_label_map, write_volume


@dataclass(frozen=True)
class CaseResult:
    """What is known about a finished case."""

    report: dict[str, Any]
    """JSON types only."""
    volumes: Sequence[LabelVolume]
    """Volume of every label."""
    seconds: float
    """Time from the start of reading to the end of writing."""
    outputs: tuple[str, ...]
    """Files written."""
    engine: str
    """What computed the network, as `Settled` writes it down."""


@dataclass(frozen=True)
class CaseRunner:
    """Carries out the cases of one job, one after another."""

    config: SegmentConfig
    manifest: BundleManifest
    segmenter: Segmenter
    region_first: RegionFirst
    """Finds the region of tasks that look at one."""
    overwrite: bool
    """Replace results that are there."""
    read: Callable[..., Volume] = read_volume
    """Reads a volume; in a batch in another process."""

    def run(self, case: SegmentCase, events: EventSink) -> CaseResult:
        """Segment a case and write its results.

        Raises:
            MISFMError: The volume cannot be read or segmented, or a result cannot be written.
        """
        start = time.perf_counter()
        events(Progress("read", 0.0, case.name))
        volume, source = self._read(case, events)
        read_s = time.perf_counter() - start
        model = self.manifest.name
        result = self.region_first.segment(model, volume, self._compute, events)
        result = dataclasses.replace(result, timings_s={"read": read_s, **result.timings_s})
        volumes = label_volumes(result.label_map, self.labels)
        report = case_report(self.config, self.manifest, case, volume, result, volumes)
        events(Progress("write", 0.0, case.output.name))
        self._write(case, volume, result, report, source)
        seconds = time.perf_counter() - start
        outputs = tuple(map(str, case.results))
        return CaseResult(report, volumes, seconds, outputs, result.settled)

    @property
    def labels(self) -> tuple[LabelConfig, ...]:
        """Labels that the job gives."""
        return wanted_labels(self.config, self.manifest)

    def _compute(self, volume: Volume, events: EventSink) -> SegmentResult:
        if self.config.style == "own":
            return self.segmenter.segment(volume, events)
        return segment_as_totalsegmentator(self.segmenter, volume, self.manifest, events)

    def _read(self, case: SegmentCase, events: EventSink) -> tuple[Volume, DicomSource | None]:
        """Return the volume and, where it becomes a DICOM SEG, what that refers to."""
        paths = case.inputs if len(case.inputs) > 1 else case.inputs[0]
        channels = self.manifest.preprocessing.channels
        doubts = doubts_of_order(case.inputs, channels)
        if doubts:
            events(Notice(doubts))
        volume = self.read(paths, series=self.config.series, num_channels=len(channels))
        if not is_dicom_seg(case.output):
            return volume, None
        if not volume.dicom_files:
            raise ConfigError(
                f"{case.name} was not read from DICOM, to which a DICOM SEG has to refer.",
                code="not-dicom",
                remedy="Choose another output format, such as .seg.nrrd.",
            )
        from MISFMLib.export.dicom_seg import check_dicom_source  # needs highdicom

        source = check_dicom_source(volume, self.manifest)
        if source.mended:
            events(Notice(f"For the DICOM SEG {'; '.join(source.mended)}."))
        return volume, source

    def _write(
        self,
        case: SegmentCase,
        volume: Volume,
        result: SegmentResult,
        report: dict[str, Any],
        source: DicomSource | None,
    ) -> None:
        """Write all results, the label map last: once it is there, the case is done."""
        label_map = result.label_map
        if case.uncertainty is not None and result.uncertainty is not None:
            write_volume(result.uncertainty, case.uncertainty, overwrite=self.overwrite)
        if case.overview is not None:
            self._write_overview(volume, label_map, case.overview)
        if case.report is not None:
            write_json(case.report, report, overwrite=self.overwrite)
        if is_dicom_seg(case.output):
            self._write_dicom_seg(volume, label_map, case.output, source)
        else:
            labels = self.labels
            write_label_map(label_map, case.output, labels=labels, overwrite=self.overwrite)

    def _write_overview(self, volume: Volume, label_map: LabelMap, path: Path) -> None:
        from MISFMLib.export.overview import write_overview  # needs matplotlib

        write_overview(volume, label_map, self.labels, path, overwrite=self.overwrite)

    def _write_dicom_seg(
        self, volume: Volume, label_map: LabelMap, path: Path, source: DicomSource | None
    ) -> None:
        from MISFMLib.export.dicom_seg import write_dicom_seg  # needs highdicom

        write_dicom_seg(
            volume, label_map, self.manifest, path, source=source, overwrite=self.overwrite
        )
