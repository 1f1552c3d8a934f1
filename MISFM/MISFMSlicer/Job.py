"""What the panel asks for, and what becomes of it; plain data, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from MISFMLib.events import Failed, Notice, Progress


@dataclass(frozen=True)
class Region:
    """The part of the volume that is segmented."""

    node: Any
    """A vtkMRMLMarkupsROINode, or a vtkMRMLSegmentationNode; labels are kept only inside it."""
    segmentId: str = ""
    """The segment, when the node is a segmentation."""
    marginMm: float = 0.0
    """What the network sees around it, in millimetres."""


@dataclass(frozen=True)
class SegmentRequest:
    """One click on Segment."""

    volumes: tuple[Any, ...]
    """Volume nodes, one for each channel of the model, in its order."""
    model: str
    """Name of an installed model, or path of a bundle."""
    output: Any = None
    """Segmentation node to update; None makes a new one."""
    region: Region | None = None
    """None segments the whole volume."""
    allFrames: bool = False
    """Segment all frames of the sequence that the volume shows a frame of."""
    uncertainty: bool = False
    """Also find out where the model is unsure; not for sequences."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of `MISFMLib.configs.SegmentConfig` that are not the default: device, overlap,
    mirroring, threads, precision, batch_size, postprocessing."""


class JobState(Enum):
    """Where a job stands; the last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class SegmentVolume:
    """The size of one segment."""

    name: str
    """Name of the label."""
    voxels: int
    """Voxels in the segment; 0 when nothing was found."""
    volumeMl: float
    """Millilitres."""

    @property
    def shown(self) -> tuple[str, int, str]:
        """Name, voxels and millilitres as far as anybody sees them."""
        return self.name, self.voxels, f"{self.volumeMl:.4f}"


@dataclass(frozen=True)
class Place:
    """Where the model wavers."""

    position: tuple[float, ...]
    """In the world: R, A and S in mm."""
    labels: tuple[str, ...]
    """What it wavers between, the most probable first."""


@dataclass
class JobResult:
    """What a finished job brought into the scene; the user may have removed the nodes since."""

    segmentation: Any
    """The vtkMRMLSegmentationNode; of a sequence, the one that shows the current frame."""
    table: Any
    """The vtkMRMLTableNode with the volume of every segment."""
    volumes: tuple[SegmentVolume, ...]
    """One for each label of the model; of a sequence, of the current frame."""
    report: dict[str, Any]
    """The report of the library: model, versions, options, device, timings."""
    frames: int = 1
    """Frames that were segmented."""
    uncertainty: Any = None
    """The vtkMRMLScalarVolumeNode; None when it was not asked for."""
    places: tuple[Place, ...] = ()
    """Where to look first; empty when the uncertainty was not asked for."""

    @property
    def isEmpty(self) -> bool:
        """Whether no voxel of any label was found."""
        return not any(volume.voxels for volume in self.volumes)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the labels of which no voxel was found."""
        return tuple(volume.name for volume in self.volumes if not volume.voxels)


@dataclass(eq=False)
class Job:
    """One request on its way; `MISFMLogic` changes it, everyone else reads it."""

    request: SegmentRequest
    title: str
    """Volume and model, for people."""
    state: JobState = JobState.WAITING
    progress: Progress | None = None
    """The last progress: stage, fraction 0 to 1, message, eta_s."""
    notices: list[Notice] = field(default_factory=list)
    """What the user should know though the job goes on."""
    result: JobResult | None = None
    """Set when it is finished."""
    failure: Failed | None = None
    """Set when it failed: message, code, remedy, traceback."""
    log: str = ""
    """What the worker wrote beside its events, once it has ended."""
    seconds: float = 0.0
    """How long it ran, once it has ended."""

    @property
    def hasEnded(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in (JobState.WAITING, JobState.RUNNING)
