"""What is chosen in the panel and saved with the scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..Job import Region, SegmentRequest
from ..Scene.Segmentations import referenceVolume

SPEEDS: dict[str, dict[str, Any]] = {
    "fast": {"overlap": 0.25},
    "normal": {},
    "best": {"mirroring": True},
}
"""Speed to the options of the job it stands for; what is not named has the library's default."""


def speedOptions(speed: str, *, hasInt8: bool) -> dict[str, Any]:
    """Return the options of the job that a speed stands for.

    Args:
        speed: A key of `SPEEDS`; any other stands for none.
        hasInt8: Whether the model has a version in 8-bit integers, which segments as well.
    """
    faster = {"precision": "int8"} if hasInt8 and speed == "fast" else {}
    return {**SPEEDS.get(speed, {}), **faster}


class _Text:
    """A text on the parameter node."""

    def __init__(self, default: str = "") -> None:
        self._default = default

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, parameters: Any, _owner: type) -> str:
        return parameters.node.GetParameter(self._name) or self._default

    def __set__(self, parameters: Any, value: str) -> None:
        parameters.node.SetParameter(self._name, str(value))


class _Number(_Text):
    """A number on the parameter node."""

    def __get__(self, parameters: Any, owner: type) -> float:
        return float(super().__get__(parameters, owner))


class _Switch(_Text):
    """A yes or no on the parameter node."""

    def __get__(self, parameters: Any, owner: type) -> bool:
        return super().__get__(parameters, owner) == "true"

    def __set__(self, parameters: Any, value: bool) -> None:
        super().__set__(parameters, "true" if value else "false")


class _Node(_Text):
    """A reference from the parameter node to another node."""

    def __get__(self, parameters: Any, _owner: type) -> Any:
        return parameters.node.GetNodeReference(self._name)

    def __set__(self, parameters: Any, node: Any) -> None:
        parameters.node.SetNodeReferenceID(self._name, node.GetID() if node else None)


class Parameters:
    """Named values on a vtkMRMLScriptedModuleNode.

    Reading a value that the scene lacks gives its default. Setting one fires the node's
    ModifiedEvent when it changes; several fire it once within ``with parameters.changing():``.
    """

    model = _Text()
    """Name or path of the model; "" when none is chosen."""
    speed = _Text("normal")
    """A key of `SPEEDS`."""
    output = _Node()
    """Segmentation node to update; None for a new one."""
    regionKind = _Text()
    """"" (whole volume), "roi" or "segment"."""
    roi = _Node()
    """Markups ROI node; None when none is chosen."""
    regionSegmentation = _Node()
    """Segmentation node with the segment to stay inside of; None when none is chosen."""
    regionSegment = _Text()
    """ID of that segment."""
    marginMm = _Number("10")
    """What the network sees around the region."""
    allFrames = _Switch("false")
    """Segment all frames of the sequence."""
    uncertainty = _Switch("false")
    """Also find out where the model is unsure."""
    only = _Text()
    """Names of the structures that are wanted, one a line; "" for all."""
    show3D = _Switch("false")
    """Show the result in 3D as soon as it is there."""

    def __init__(self, node: Any) -> None:
        """Wrap the node of `MISFMLogic().getParameterNode()`."""
        self.node = node

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Tell of all changes in the block at its end."""
        wasModifying = self.node.StartModify()
        try:
            yield
        finally:
            self.node.EndModify(wasModifying)

    def volume(self, channel: int = 0) -> Any:
        """Return the volume node chosen for a channel of the model, or None."""
        return self.node.GetNodeReference(f"volume{channel}")

    def setVolume(self, node: Any, channel: int = 0) -> None:
        """Choose a volume node for a channel; None for none.

        A segmentation to update belongs to its volume: with another one a new one is made, unless
        the segmentation is chosen again.
        """
        with self.changing():
            isOther = channel == 0 and node is not self.volume() and self.output is not None
            if isOther and referenceVolume(self.output) is not node:
                self.output = None
            self.node.SetNodeReferenceID(f"volume{channel}", node.GetID() if node else None)

    def region(self) -> Region | None:
        """Return the region that is chosen; None for the whole volume."""
        if self.regionKind == "roi" and self.roi is not None:
            return Region(self.roi, marginMm=self.marginMm)
        if self.regionKind == "segment" and self.regionSegmentation is not None:
            return Region(self.regionSegmentation, self.regionSegment, self.marginMm)
        return None

    def hasRegionSegment(self) -> bool:
        """Tell whether the segment to stay inside of is chosen, and still there."""
        node = self.regionSegmentation
        return node is not None and bool(node.GetSegmentation().GetSegment(self.regionSegment))

    def structures(self) -> set[str]:
        """Return the names of the structures that are wanted; empty for all."""
        return set(self.only.splitlines())

    def setStructures(self, names: Sequence[str]) -> None:
        """Want some structures only; all when there is no name."""
        self.only = "\n".join(names)

    def request(
        self,
        channels: int = 1,
        *,
        hasInt8: bool = False,
        labels: Sequence[str] = (),
        **options: Any,
    ) -> SegmentRequest:
        """Put together what is chosen.

        Args:
            channels: How many the model has.
            hasInt8: Whether the model has a version in 8-bit integers.
            labels: Structures of the model; those that are wanted of another one do not count.
            **options: Fields of `MISFMLib.configs.SegmentConfig` that belong to the machine, such
                as those of `Settings.options`; they go before what the speed stands for.
        """
        wanted = [name for name in labels if name in self.structures()]
        if wanted:
            options["only"] = ",".join(wanted)
        return SegmentRequest(
            volumes=tuple(self.volume(channel) for channel in range(channels)),
            model=self.model,
            output=self.output,
            region=self.region(),
            allFrames=self.allFrames,
            uncertainty=self.uncertainty,
            options={**speedOptions(self.speed, hasInt8=hasInt8), **options},
        )
