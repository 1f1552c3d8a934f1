"""What the chosen run will take, and whether the volume suits the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slicer.i18n import tr as _

from MISFMLib.errors import DataError
from MISFMLib.events import Measured

from .. import Messages
from ..Job import Job, Region, SegmentRequest
from ..Scene.Channels import gridTexts
from ..Scene.GridBox import boxOf
from ..Scene.SceneIO import checkVolume
from ..Scene.Segmentations import referenceVolume
from ..Scene.Sequences import framesOf
from ..Scene.VolumeFacts import VolumeFacts, dicomModality, domainWarnings, volumeFacts
from ..Setup.Models import Model
from .Forecast import Forecast, History, Run
from .Workload import Grid, Workload, workload


@dataclass(frozen=True)
class _Start:
    """What was known about a job before it started."""

    key: str
    work: Workload | None
    wasCold: bool
    wasFirst: bool


class Outlook:
    """Forecasts runs, and learns from those that end."""

    def __init__(self, history: History) -> None:
        """Keep the past runs."""
        self._history = history
        self._starts: dict[Job, _Start] = {}
        self._asked: dict[str, str] = {}
        self._known: tuple[tuple[Any, ...], VolumeFacts] | None = None
        """The last facts, and what they belong to: a panel asks often for the same."""

    def forecast(self, request: SegmentRequest, model: Model, *, isWarm: bool) -> Forecast | None:
        """Return what a run will take; None while this machine has no experience with it."""
        work = self.workload(request, model)
        if work is None:
            return None
        return self._history.forecast(_key(request, model), work, isWarm=isWarm)

    def wantsMeasurement(self, request: SegmentRequest, model: Model) -> bool:
        """Tell whether the worker has to be asked for a measurement; `keep` will be told."""
        self._asked[request.model] = _key(request, model)
        return not self._history.knows(_key(request, model))

    def keep(self, measured: Measured) -> None:
        """Remember what the worker has measured."""
        if measured.model in self._asked:
            self._history.keep(self._asked[measured.model], measured)

    def watch(self, job: Job, model: Model, *, wasCold: bool, wasFirst: bool) -> None:
        """Remember what a job has to do, and what its worker held before; see `Run`."""
        work = self.workload(job.request, model)
        self._starts[job] = _Start(_key(job.request, model), work, wasCold, wasFirst)

    def learn(self, job: Job) -> None:
        """Remember how long a watched job took that has finished, and forget the job."""
        start = self._starts.pop(job, None)
        if start is None or start.work is None or job.result is None:
            return
        report = job.result.report
        # The report of a single frame has no total, and of a segment only the run knew the size.
        if "seconds" in report and not _isSegment(job.request.region):
            run = Run(report, job.seconds, start.work, start.wasCold, start.wasFirst)
            self._history.learn(start.key, run)

    def workload(self, request: SegmentRequest, model: Model) -> Workload | None:
        """Count what there is to compute, at most; None when it is nothing that can be."""
        facts = self._facts(request, model)
        if facts is None:
            return None
        preprocessing = model.manifest.preprocessing
        networks = model.networksFor(request.options.get("only", ""))
        work = workload(
            Grid(
                facts.shapeDhw,
                facts.spacingDhw,
                facts.voxelBytes,
                facts.isOccupied(preprocessing),
            ),
            preprocessing,
            request.options,
            classes=1 + max(map(len, networks)),
        )
        frames = framesOf(request.volumes[0]) if request.allFrames else None
        count = len(frames.nodes) if frames is not None else 1
        windows = work.windows * len(networks)
        return replace(work, windows=windows * count, voxels=work.voxels * count)

    def warnings(self, request: SegmentRequest, model: Model) -> list[str]:
        """Return why the result may be poor."""
        facts, preprocessing = self._facts(request, model), model.manifest.preprocessing
        if facts is None:
            return []
        isSizeKnown = not _isSegment(request.region)
        grids = [] if request.allFrames else gridTexts(request.volumes)
        domain = domainWarnings(facts, preprocessing, isSizeKnown=isSizeKnown)
        return _outputWarnings(request) + grids + domain

    def firstThatFits(self, volume: Any, models: Sequence[Model]) -> Model:
        """Return the first model that a volume gives no warnings for, else the first of all."""
        for model in models:
            isUsable = model.manifest is not None and len(model.channels) == 1
            if volume is None or not isUsable or volume.GetImageData() is None:
                continue
            if not self.warnings(SegmentRequest((volume,), model.name), model):
                return model
        return models[0]

    def _facts(self, request: SegmentRequest, model: Model) -> VolumeFacts | None:
        # Of a segment as of the whole volume: its size takes longer to find out than this may.
        region = None if _isSegment(request.region) else request.region
        orientation = model.manifest.preprocessing.orientation
        try:
            checkVolume(request.volumes[0])
            box = boxOf(request.volumes[0], region, isRough=True)
        except DataError:
            return None
        volume = request.volumes[0]
        changed = volume.GetMTime(), volume.GetImageData().GetMTime(), dicomModality(volume)
        key = (volume.GetID(), *changed, orientation, box.extent)
        if self._known is None or self._known[0] != key:
            self._known = key, volumeFacts(volume, orientation, box)
        return self._known[1]


def _outputWarnings(request: SegmentRequest) -> list[str]:
    """Return what is lost when the segmentation to update belongs to another volume."""
    owner = referenceVolume(request.output) if request.output is not None else None
    if owner is None or owner is request.volumes[0]:
        return []
    return [
        _("{segmentation} belongs to {volume}: its segments of the same name are replaced.").format(
            segmentation=request.output.GetName(), volume=owner.GetName()
        )
    ]


def _isSegment(region: Region | None) -> bool:
    return region is not None and bool(region.segmentId)


def _key(request: SegmentRequest, model: Model) -> str:
    """Return what figures belong to: the weights, and the settings that change a window's time."""
    names = ("device", "precision", "threads")
    chosen = "-".join(str(request.options.get(name, "auto")) for name in names)
    return f"{model.manifest.name}-{model.manifest.weights_sha256[:8]}@{chosen}"


def forecastText(forecast: Forecast | None) -> str:
    """Return a forecast in words."""
    if forecast is None:
        return _("Ready. How long it takes will be known in a moment.")
    time, device = Messages.duration(forecast.seconds), Messages.deviceName(forecast.device)
    if not forecast.memoryBytes:
        return _("About {time} on the {device}.").format(time=time, device=device)
    return _("About {time} and {memory} of memory on the {device}.").format(
        time=time, memory=Messages.memory(forecast.memoryBytes), device=device
    )
