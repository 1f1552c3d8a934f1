"""One volume for several models: what they have in common is cropped and resampled once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from MISFMLib.configs import IntensityConfig, PreprocessingConfig
from MISFMLib.data.preprocessing import PreparedVolume, prepare_volume
from MISFMLib.data.spatial import SpatialRecord
from MISFMLib.volumes.volume import LabelMap, Volume

_LARGEST_KEPT = 2**28
"""Voxels of the network's input that are kept for the models to come: a gigabyte."""


class Preparations:
    """Prepares a volume for one model after the other.

    Models with the same preprocessing get the same input, which is computed once. Those that differ
    in their intensities only, such as the parts of TotalSegmentator, share the crop.
    """

    def __init__(self, volume: Volume, wanted: Sequence[PreprocessingConfig]) -> None:
        """Look at the models.

        Args:
            volume: The volume.
            wanted: Preprocessing of every model that will ask.
        """
        self._volume = volume
        self._waiting = [_input_of(preprocessing) for preprocessing in wanted]
        self._kept: list[tuple[PreprocessingConfig, PreparedVolume]] = []
        self._records: list[tuple[PreprocessingConfig, SpatialRecord]] = []

    def prepare(
        self, preprocessing: PreprocessingConfig, previous: LabelMap | None
    ) -> PreparedVolume:
        """Return the volume as a model wants it.

        Args and errors are those of `prepare_volume`.
        """
        key = _input_of(preprocessing)
        if key in self._waiting:
            self._waiting.remove(key)
        is_wanted_again = key in self._waiting and previous is None
        prepared = next((made for known, made in self._kept if known == key), None)
        if prepared is None or previous is not None:
            grid = _grid_of(key)
            record = next((made for known, made in self._records if known == grid), None)
            prepared = prepare_volume(self._volume, preprocessing, previous, record)
            self._records.append((grid, prepared.record))
            if is_wanted_again and math.prod(prepared.shape) <= _LARGEST_KEPT:
                prepared = replace(prepared, computed_CDHW=prepared.image_CDHW)
            if is_wanted_again:
                self._kept.append((key, prepared))
        if not is_wanted_again:
            self._kept = [(known, made) for known, made in self._kept if known != key]
        return prepared


def _input_of(preprocessing: PreprocessingConfig) -> PreprocessingConfig:
    """Return the preprocessing without what does not touch the network's input."""
    plain = PreprocessingConfig()
    return replace(
        preprocessing,
        patch_size=plain.patch_size,
        overlap=plain.overlap,
        windows=plain.windows,
        window_weights=plain.window_weights,
        mirror_axes=plain.mirror_axes,
        decision=plain.decision,
        scores=plain.scores,
        decides_first=plain.decides_first,
    )


def _grid_of(preprocessing: PreprocessingConfig) -> PreprocessingConfig:
    """Return the preprocessing without what does not touch the place of the network's input."""
    plain = IntensityConfig()
    return replace(
        preprocessing, intensity=(plain,) * len(preprocessing.channels), modality="other"
    )
