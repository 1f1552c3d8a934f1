"""From a volume as it was scanned to the network's input, with a record of the way back.

Steps: canonical axes, crop, intensities, voxel size. Intensities come before resampling, so that
clipping also keeps metal and other extremes from bleeding into their surroundings. Slices are
computed when they are asked for, so that a long scan never lies in memory a second time.
Axes: C channels; D, H, W depth, height, width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 the name everyone uses
import torch

from MISFMLib.configs import Padding, PreprocessingConfig
from MISFMLib.data.intensity import IntensityMap, intensity_map
from MISFMLib.data.interpolation import SlabInterpolation
from MISFMLib.data.model_labels import PreviousRule, labels_in_model_space, previous_in_model_space
from MISFMLib.data.model_space import model_axes, previous_rule, spatial_record
from MISFMLib.data.monai_steps import MonaiPreparation
from MISFMLib.data.outside_air import OutsideAir, find_outside_air
from MISFMLib.data.spatial import SpatialRecord, canonical_view
from MISFMLib.errors import DataError
from MISFMLib.volumes.volume import LabelMap, Volume


@dataclass(frozen=True)
class PreparedVolume:
    """A volume in model space, computed from the input volume slice by slice."""

    record: SpatialRecord
    """Where it lies in the input volume."""
    channels_DHW: Sequence[npt.NDArray[Any]]
    """Views of the input's channels, cropped and on canonical axes."""
    intensities: Sequence[IntensityMap]
    """Map of each channel's intensities."""
    skips_air: bool = False
    """Whether the channels are in Hounsfield units, and windows in the air may be left out."""
    inside_DHW: npt.NDArray[np.bool_] | None = None
    """Which voxels of the crop are foreground, where intensities or a cascade depend on that."""
    previous_DHW: npt.NDArray[Any] | None = None
    """Labels of the model before in a cascade, in the crop."""
    previous_labels: tuple[int, ...] = ()
    """Those that are channels."""
    previous_rule: PreviousRule | None = None
    """How they come onto the grid of the model."""
    padding: Padding = "edge"
    """What lies around it where a window is larger."""
    computed_CDHW: torch.Tensor | None = None
    """The network's input where it had to be computed as a whole, float32."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, depth, height, width in model space."""
        if self.computed_CDHW is not None:
            return (len(self.computed_CDHW), *self.record.model_shape_dhw)
        channels = len(self.channels_DHW) + len(self.previous_labels)
        return (channels, *self.record.model_shape_dhw)

    def slices(self, start: int, stop: int) -> torch.Tensor:
        """Compute some slices of the network's input, (C, stop - start, H, W) float32, on the CPU.

        Args:
            start: First slice.
            stop: End, exclusive.
        """
        if self.computed_CDHW is not None:
            return self.computed_CDHW[:, start:stop]
        image_CDHW = torch.empty(self.shape[0], stop - start, *self.shape[2:])
        for channel, interpolation in enumerate(self._interpolations):
            interpolation.fill(start, image_CDHW[channel])
        if self.previous_labels:
            values = torch.tensor(self.previous_labels, dtype=torch.int16)[:, None, None, None]
            image_CDHW[len(self.channels_DHW) :] = self._previous_model_DHW[start:stop] == values
        return image_CDHW

    @cached_property
    def _interpolations(self) -> list[SlabInterpolation]:
        return [
            SlabInterpolation(
                partial(self._mapped, channel),
                self.record.crop_shape_dhw,
                self.record.model_shape_dhw,
                self.record.orders,
                self.record.separate_axis,
            )
            for channel in range(len(self.channels_DHW))
        ]

    def _mapped(self, channel: int, start: int, stop: int) -> torch.Tensor:
        """Return slices of the crop with mapped intensities."""
        inside = None if self.inside_DHW is None else self.inside_DHW[start:stop]
        return torch.from_numpy(
            self.intensities[channel].apply(self.channels_DHW[channel][start:stop], inside)
        )

    @cached_property
    def _previous_model_DHW(self) -> torch.Tensor:  # noqa: N802 tensors carry their axes
        assert self.previous_DHW is not None, "prepare_volume was given the labels"
        assert self.inside_DHW is not None, "prepare_volume finds it for a cascade"
        return previous_in_model_space(
            self.previous_DHW, self.inside_DHW, self.record, self.previous_rule
        )

    @cached_property
    def image_CDHW(self) -> torch.Tensor:  # noqa: N802 tensors carry their axes
        """All of the network's input, float32, on the CPU; computed once and kept."""
        return self.slices(0, self.shape[1])

    @cached_property
    def outside_air(self) -> OutsideAir | None:
        """The air around the patient of a CT."""
        return find_outside_air(self.channels_DHW) if self.skips_air else None


def prepare_volume(
    volume: Volume,
    preprocessing: PreprocessingConfig,
    previous: LabelMap | None = None,
    record: SpatialRecord | None = None,
) -> PreparedVolume:
    """Bring a volume into model space.

    Args:
        volume: Volume with the channels of the model.
        preprocessing: Orientation, crop, intensity schemes and voxel size.
        previous: Labels of the model before in a cascade, on the grid of the volume.
        record: Where the volume lies in model space, if that is known.

    Raises:
        DataError: The volume has another number of channels than the model, or is empty.
    """
    given, expected = len(volume.array_CDHW), len(preprocessing.channels)
    if given != expected:
        raise DataError(
            f"{volume.name} has {given} channel(s), the model expects {expected}: "
            f"{', '.join(preprocessing.channels)}.",
            code="channel-count",
            remedy="Give one file per channel, joined by commas, in this order; in a folder name "
            "them case_0000, case_0001, …",
        )
    if preprocessing.monai_steps:
        return _prepare_by_steps(volume, preprocessing)
    record = record or spatial_record(volume, preprocessing)
    channels_DHW = [record.crop_view(array_DHW) for array_DHW in volume.array_CDHW]
    inside_DHW = None
    is_masked = any(config.scheme == "zscore-inside" for config in preprocessing.intensity)
    if is_masked or preprocessing.previous_labels:
        inside_DHW = filled_foreground(channels_DHW)
        if previous is not None:  # what has a label is no background, as in nnU-Net
            inside_DHW |= record.crop_view(previous.array_DHW) != 0
    intensities = [
        intensity_map(cropped_DHW, config, inside_DHW)
        for cropped_DHW, config in zip(channels_DHW, preprocessing.intensity, strict=True)
    ]
    return PreparedVolume(
        record,
        channels_DHW,
        intensities,
        preprocessing.modality == "CT" and preprocessing.skips_air,
        inside_DHW,
        None if previous is None else record.crop_view(previous.array_DHW),
        preprocessing.previous_labels,
        previous_rule(record, preprocessing) if preprocessing.previous_labels else None,
        preprocessing.padding,
    )


def _prepare_by_steps(volume: Volume, preprocessing: PreprocessingConfig) -> PreparedVolume:
    geometry = volume.geometry
    axes, flips = model_axes(geometry.direction, preprocessing)
    canonical = [canonical_view(array_DHW, axes, flips) for array_DHW in volume.array_CDHW]
    image_CDHW = torch.from_numpy(np.stack([np.asarray(c, np.float32) for c in canonical]))
    # Columns are voxel axes x, y, z in LPS; array axes run the other way.
    axes_mm = np.reshape(geometry.direction, (3, 3)) @ np.diag(geometry.spacing_dhw[::-1])
    axes_mm = axes_mm[:, [2 - axis for axis in axes]] * np.where(flips, -1.0, 1.0)
    preparation = MonaiPreparation(image_CDHW, np.diag([-1.0, -1.0, 1.0]) @ axes_mm)
    preparation.run(preprocessing.monai_steps)
    (first, second, third), turned = preparation.order, preparation.flips
    flips = (flips[first] ^ turned[0], flips[second] ^ turned[1], flips[third] ^ turned[2])
    axes = (axes[first], axes[second], axes[third])
    canonical = [canonical_view(array_DHW, axes, flips) for array_DHW in volume.array_CDHW]
    spans = [inside.nonzero()[0] for inside in preparation.is_inside]
    (d0, d1), (h0, h1), (w0, w1) = ((int(span[0]), int(span[-1]) + 1) for span in spans)
    depth, height, width = preparation.image_CDHW.shape[1:]
    record = SpatialRecord(
        geometry,
        axes,
        flips,
        (d0, h0, w0),
        (d1, h1, w1),
        (depth, height, width),
        coordinates=tuple(
            tuple(places[start:stop].tolist())
            for places, start, stop in zip(
                preparation.coordinates, (d0, h0, w0), (d1, h1, w1), strict=True
            )
        ),
    )
    return PreparedVolume(
        record, canonical, (), padding=preprocessing.padding, computed_CDHW=preparation.image_CDHW
    )


def filled_foreground(channels_DHW: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return the voxels that are nonzero in any channel, and the holes that they enclose."""
    is_nonzero_DHW: npt.NDArray[np.bool_] = np.logical_or.reduce([c != 0 for c in channels_DHW])
    image = sitk.GetImageFromArray(is_nonzero_DHW.astype(np.uint8))
    # The voxels around the image are no foreground either, whatever touches its border.
    filled = sitk.BinaryFillhole(image, False)
    inside_DHW: npt.NDArray[np.bool_] = sitk.GetArrayFromImage(filled).astype(bool)
    return inside_DHW


def prepare_label_map(label_map: LabelMap, record: SpatialRecord) -> torch.Tensor:
    """Bring a label map into the model space of its volume.

    Each label is resampled as a volume of ones and zeros, and the label with the highest value wins
    each voxel. This is how predictions go back to the input's grid, so no step is learnt that comes
    from the grid alone.

    Args:
        label_map: Label map on the grid of the volume that `record` came from, values up to 255.
        record: The record of the prepared volume.

    Returns:
        Label values (D, H, W), uint8.

    Raises:
        DataError: The label map lies on another grid than the volume, or has values above 255.
    """
    if not label_map.geometry.same_grid(record.input_geometry):
        raise DataError(
            "The label map lies on another grid than its volume.",
            code="grid-mismatch",
            remedy="Resample the label map to the volume's grid.",
        )
    labels_DHW = record.crop_view(label_map.array_DHW)
    if labels_DHW.max() > np.iinfo(np.uint8).max:
        raise DataError(
            f"The label map has the value {labels_DHW.max()}, up to 255 are possible.",
            code="label-value",
            remedy="Number the labels from 1 without gaps.",
        )
    return labels_in_model_space(labels_DHW, record)
