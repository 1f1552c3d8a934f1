"""How sure a network is of the label it gives each voxel, on the grid of the input volume.

The measure is the entropy of the class probabilities, the softmax of the same blended and resampled
logits that the label comes from; with mirror images these are the means over them. It tells where
the network wavers, not where it is wrong: it knows nothing of what the training never showed.
Axes: K classes; D, H, W depth, height, width; d, h, w of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from MISFMLib.data.label_resampling import Place
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.volumes.volume import Geometry

Labels = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Uncertainty:
    """What is known about every voxel besides its label; two bytes each."""

    percent_DHW: npt.NDArray[np.uint8]
    """Entropy in percent of the highest there can be: 0 sure, 100 all classes equally likely. Two
    equally likely ones of K classes give 100 log 2 / log K."""
    rival_DHW: Labels
    """Label of the second most likely class."""
    geometry: Geometry
    """Grid of the voxels."""


class UncertaintyRestorer:
    """Collects the scores that `LabelResampler` hands on into an `Uncertainty`.

    Voxels outside the crop are sure.
    """

    def __init__(self, record: SpatialRecord, values: Labels) -> None:
        """Prepare for one volume.

        Args:
            record: How the volume was brought into model space.
            values: Label of each class.
        """
        self._geometry = record.input_geometry
        self._values = values
        self._percent_DHW = np.zeros(self._geometry.shape_dhw, np.uint8)
        self._rival_DHW = np.zeros(self._geometry.shape_dhw, values.dtype)
        self._percent_view = record.crop_view(self._percent_DHW)
        self._rival_view = record.crop_view(self._rival_DHW)

    def add(self, place: Place, logits_Kdhw: torch.Tensor, classes_dhw: torch.Tensor) -> None:
        """Take the logits of a block, which are changed, and their highest classes."""
        self._percent_view[place] = percent_entropy(logits_Kdhw).cpu().numpy()
        rivals_dhw = logits_Kdhw.scatter_(0, classes_dhw[None], -math.inf).max(0).indices
        self._rival_view[place] = self._values[rivals_dhw.cpu().numpy()]

    def uncertainty(self) -> Uncertainty:
        """Return what was collected; complete once all slabs were added."""
        return Uncertainty(self._percent_DHW, self._rival_DHW, self._geometry)


def percent_entropy(logits_Kdhw: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the softmax in percent of log K, (d, h, w) uint8."""
    entropy_dhw = torch.special.entr(logits_Kdhw.softmax(0)).sum(0)
    percent_dhw: torch.Tensor = (entropy_dhw * (100 / math.log(len(logits_Kdhw)))).round()
    return percent_dhw.to(torch.uint8)
