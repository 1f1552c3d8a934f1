"""From slabs of logits in model space to a label map on the grid of the input volume.

Logits are resampled, not labels, and only for the slices at hand (`LabelResampler`). Crop, flips
and permutation are undone by writing through a view of the result, so nothing is copied.
Axes: K classes; D, H, W depth, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from MISFMLib.configs import LabelConfig, PreprocessingConfig
from MISFMLib.data.label_blocks import Decision
from MISFMLib.data.label_resampling import LabelResampler, Places
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.errors import BundleError
from MISFMLib.inference.logit_ring import LogitSlab
from MISFMLib.inference.postprocessing import clean_labels
from MISFMLib.inference.uncertainty import Uncertainty, UncertaintyRestorer
from MISFMLib.volumes.volume import Geometry, LabelMap

_SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "logits": torch.Tensor.float,
    "softmax": lambda logits: logits.softmax(0),
    "sigmoid": lambda logits: logits.sigmoid() - 0.5,  # regions are above zero
}


class LabelRestorer:
    """Collects the slabs of one volume, in order, into its label map.

    Voxels outside the crop are background.
    """

    def __init__(
        self,
        record: SpatialRecord,
        labels: Sequence[LabelConfig],
        *,
        space: PreprocessingConfig | None = None,
        with_uncertainty: bool = False,
    ) -> None:
        """Prepare for one volume.

        Args:
            record: How the volume was brought into model space.
            labels: Labels of the classes 1, 2, ...; class 0 is background with the value 0. Regions
                have no background: the first output belongs to the first label.
            space: Says how the label of a voxel follows from its logits; when not given, the class
                with the highest interpolated logit.
            with_uncertainty: Also collect how uncertain every voxel is.
        """
        space = space or PreprocessingConfig()
        self._record, self._labels, self._space = record, labels, space
        values = np.array([0, *(label.value for label in labels)])
        dtype = np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.uint16
        self._num_classes = len(values) if space.decision == "highest" else len(labels)
        self._geometry = record.input_geometry
        self._array_DHW = np.zeros(self._geometry.shape_dhw, dtype)
        values = values.astype(dtype)
        self._uncertainty = UncertaintyRestorer(record, values) if with_uncertainty else None
        self._decided_DHW = np.zeros(record.model_shape_dhw if space.decides_first else 0, dtype)
        places = Places(record.restoring_orders, record.coordinates)
        self._resampler = LabelResampler(
            record.model_shape_dhw,
            self._decided_DHW if space.decides_first else record.crop_view(self._array_DHW),
            values,
            self._uncertainty.add if self._uncertainty else None,
            Decision(space.is_regional, _SCORES[space.scores]),
            Places() if space.decides_first else places,
        )

    def add(self, slab: LogitSlab) -> None:
        """Take the next slab.

        Raises:
            BundleError: The network has another number of classes than the model has labels.
            DeviceError: The logits are not finite.
        """
        if len(slab.logits_KDHW) != self._num_classes:
            raise BundleError(
                f"The network has {len(slab.logits_KDHW)} classes, "
                f"the model names {self._num_classes} with what is none of its labels.",
                code="class-count",
                remedy="The model is damaged or was put together wrongly; get it again.",
            )
        self._resampler.add(slab.logits_KDHW)

    def label_map(self) -> LabelMap:
        """Return the label map; complete once all slabs were added."""
        if self._space.decides_first:
            self._take_decided()
        return LabelMap(self._array_DHW, self._geometry)

    def _take_decided(self) -> None:
        """Clean the labels on the model's grid and take the nearest one of every voxel back."""
        record = self._record
        geometry = Geometry(
            record.model_shape_dhw, record.model_spacing_dhw, (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)
        )
        cleaned = clean_labels(LabelMap(self._decided_DHW, geometry), self._labels)
        nearest = [np.rint(places).astype(int) for places in record.coordinates]
        record.crop_view(self._array_DHW)[...] = cleaned.array_DHW[np.ix_(*nearest)]

    def uncertainty(self) -> Uncertainty | None:
        """Return the uncertainty of every voxel, if it was asked for."""
        return self._uncertainty.uncertainty() if self._uncertainty else None
