"""Random changes of training patches, the same for the same seed: MONAI's transforms.

Axes: C channel, D depth, H height, W width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from monai import transforms

from MISFMLib.configs import ResolutionMode, Size

Strength = Literal["none", "light", "strong"]


@dataclass(frozen=True, kw_only=True)
class _Amounts:
    """How much is changed, and how often."""

    spatial_chance: float
    rotation_degrees: float
    scale: float
    """Largest relative change of size."""
    intensity_chance: float
    noise: float
    """Largest standard deviation of the noise."""
    blur_voxels: tuple[float, float]
    """Standard deviation of the Gaussian."""
    contrast: float
    """Largest relative change of the intensities."""
    shift: float
    """Largest change of all intensities."""
    gamma: tuple[float, float]


_AMOUNTS = {
    "light": _Amounts(
        spatial_chance=0.3,
        rotation_degrees=15,
        scale=0.15,
        intensity_chance=0.15,
        noise=0.1,
        blur_voxels=(0.5, 1.0),
        contrast=0.25,
        shift=0.1,
        gamma=(0.7, 1.5),
    ),
    "strong": _Amounts(
        spatial_chance=0.6,
        rotation_degrees=30,
        scale=0.3,
        intensity_chance=0.3,
        noise=0.2,
        blur_voxels=(0.5, 1.5),
        contrast=0.4,
        shift=0.3,
        gamma=(0.5, 2.0),
    ),
}
_IMAGE = {"image": "bilinear"}
_LABEL = {"label": "nearest"}
"""What is changed, and how its voxels are resampled."""


class Augmentation:
    """Mirrors, turns and scales patches and changes their intensities.

    Image and label are resampled once and together.

    Attributes:
        margin: Voxels that are needed beyond the patch on either side of each axis, so that turned
            patches have corners.
    """

    def __init__(
        self,
        strength: Strength,
        patch_size: Size,
        *,
        mirror_axes: Sequence[int] = (0, 1, 2),
        resolution_mode: ResolutionMode = 0,
    ) -> None:
        """Set up the random transforms.

        Args:
            strength: none, light or strong; none does not mirror either.
            patch_size: Size of the result.
            mirror_axes: Axes that may be mirrored: 0 depth, 1 height, 2 width.
            resolution_mode: Where voxels are longer along depth, patches are turned less out of
                the plane (mode 1) or not at all (mode 2).
        """
        self.margin: Size = (0, 0, 0)
        self._changes: _Repeatable | None = None
        if strength == "none":
            return
        amounts = _AMOUNTS[strength]

        def spatial(modes: dict[str, str]) -> list[transforms.Transform]:
            mirrors = [transforms.RandFlipd([*modes], 0.5, axis) for axis in mirror_axes]
            return [_affine(amounts, patch_size, resolution_mode, modes), *mirrors]

        self._changes = _Repeatable([*spatial(_IMAGE | _LABEL), *_intensity(amounts)])
        self._changes_of_label = _Repeatable(spatial(_LABEL))
        self.margin = _margin(amounts, patch_size)

    def __call__(
        self, image_CDHW: torch.Tensor, label_DHW: torch.Tensor, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Change one patch.

        Args:
            image_CDHW: Intensities with the margin around the patch, float32.
            label_DHW: Classes with the margin, any type.
            seed: Decides all changes.

        Returns:
            Image (C, d, h, w) float32 and label (d, h, w) int64 of the patch size.
        """
        if self._changes is None:
            return image_CDHW, label_DHW.long()
        given = {"image": image_CDHW, "label": label_DHW[None].float()}
        changed = self._changes(given, seed)
        return changed["image"].as_tensor(), changed["label"][0].as_tensor().long()

    def label(self, label_DHW: torch.Tensor, seed: int) -> torch.Tensor:
        """Change the label of one patch alone, as together with its image."""
        if self._changes is None:
            return label_DHW.long()
        changed = self._changes_of_label({"label": label_DHW[None].float()}, seed)
        indices_DHW: torch.Tensor = changed["label"][0].as_tensor().long()
        return indices_DHW


class _Repeatable:
    """Random transforms that a seed decides, in every thread."""

    def __init__(self, steps: Sequence[transforms.Transform]) -> None:
        self._steps = transforms.Compose(steps)
        self._idle: list[transforms.Compose] = []
        """Copies that no thread uses: a copy takes longer than the changes of a small patch."""

    def __call__(self, given: dict[str, torch.Tensor], seed: int) -> dict[str, Any]:
        """Change what is given."""
        try:
            steps = self._idle.pop()
        except IndexError:
            steps = copy.deepcopy(self._steps)
        steps.set_random_state(seed=seed)
        changed: dict[str, Any] = steps(given)
        self._idle.append(steps)
        return changed


def _margin(amounts: _Amounts, patch_size: Size) -> Size:
    """Return half of what the bounding box of a turned and enlarged patch has more than the patch.

    The bound holds for a turn about one axis; for all three at once the corners, cut off by less
    than the outermost voxels, repeat the border.
    """
    angle = math.radians(amounts.rotation_degrees)
    growth = (math.cos(angle) + math.sin(angle)) * (1 + amounts.scale) - 1
    depth, height, width = (math.ceil(edge * growth / 2) for edge in patch_size)
    return depth, height, width


def _affine(
    amounts: _Amounts, patch_size: Size, resolution_mode: ResolutionMode, modes: dict[str, str]
) -> transforms.RandAffined:
    in_plane = math.radians(amounts.rotation_degrees)
    out_of_plane = in_plane * (1.0, 0.5, 0.0)[resolution_mode]
    return transforms.RandAffined(
        [*modes],
        spatial_size=patch_size,
        prob=amounts.spatial_chance,
        rotate_range=(in_plane, out_of_plane, out_of_plane),
        scale_range=(amounts.scale,) * 3,
        mode=[*modes.values()],
        padding_mode="border",
    )


def _intensity(amounts: _Amounts) -> list[transforms.Transform]:
    chance = amounts.intensity_chance
    blur = dict.fromkeys(("sigma_x", "sigma_y", "sigma_z"), amounts.blur_voxels)
    keys = [*_IMAGE]
    return [
        transforms.RandGaussianNoised(keys, prob=chance, std=amounts.noise),
        transforms.RandGaussianSmoothd(keys, prob=chance, **blur),
        transforms.RandScaleIntensityd(keys, prob=chance, factors=amounts.contrast),
        transforms.RandShiftIntensityd(keys, prob=chance, offsets=amounts.shift),
        transforms.RandAdjustContrastd(keys, prob=chance, gamma=amounts.gamma, retain_stats=True),
    ]
