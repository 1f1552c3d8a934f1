"""What a model expects of a volume, and what its classes are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from MISFMLib.configs.coding import raise_problems
from MISFMLib.configs.ranges import range_problems
from MISFMLib.configs.types import Padding, Size, Spacing

_AXES = [sorted(axes) for axes in itertools.product("LR", "AP", "IS")]


@dataclass(frozen=True, kw_only=True)
class IntensityConfig:
    """How the intensities of one channel become network input; statistics are always per volume."""

    scheme: Literal[
        "ct-clip",
        "ct-percentile",
        "mr-zscore",
        "mr-percentile",
        "zscore",
        "zscore-inside",
        "unit-range",
        "divide-255",
        "none",
    ] = "mr-zscore"
    """ct-clip: clip HU to `clip` and scale to [-1, 1]. ct-percentile: clip to `clip` (percentiles
    of the training foreground in HU), then subtract `mean` and divide by `std`. mr-zscore: subtract
    the volume's mean and divide by its deviation. mr-percentile: clip to the volume's `clip`
    percentiles and scale to [-1, 1]. Those of nnU-Net beside ct-percentile: zscore (zeros count
    like other voxels), zscore-inside (of the nonzero voxels and the holes in them, the others keep
    their value), unit-range (minimum to 0, maximum to 1), divide-255, none."""
    clip: tuple[float, float] | None = None
    """Lower and upper bound: HU for the CT schemes, percentiles 0-100 for mr-percentile."""
    mean: float = 0.0
    """HU mean of the training foreground (ct-percentile)."""
    std: float = 1.0
    """HU standard deviation of the training foreground (ct-percentile)."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        low, high = self.clip or (0.0, 0.0)
        if low > high:
            problems.append(f"clip is {self.clip}, the first must not be above the second")
        if self.scheme == "mr-percentile" and not (low >= 0 and high <= 100):
            problems.append(f"clip is {self.clip}, percentiles from 0 to 100 were expected")
        raise_problems(problems, "Correct the intensity settings.")


@dataclass(frozen=True, kw_only=True)
class InterpolationConfig:
    """How voxels are interpolated; grids share their outer borders."""

    order: Literal[0, 1, 3] = 1
    """0 nearest, 1 linear, 3 cubic B-splines cut to the range of the values before."""
    separate: Literal["never", "anisotropic", "always"] = "never"
    """Whether the axis with the longest voxels is treated apart: anisotropic means where they are
    more than three times as long as the shortest, before the resampling or, if not, after it."""
    order_across: Literal[0, 1, 3] = 0
    """Order along the axis that is treated apart."""


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """From a volume as it was scanned to the model's space, and back."""

    modality: Literal["CT", "MR", "other"] = "other"
    """What the model expects to see; a volume that looks otherwise gives a warning."""
    channels: tuple[str, ...] = ("image",)
    """Names of the input channels in the network's order, such as ``T1``."""
    intensity: tuple[IntensityConfig, ...] = (IntensityConfig(),)
    """One scheme per channel."""
    spacing_dhw: Spacing | None = None
    """Voxel size in mm that volumes are resampled to; None keeps the volume's own."""
    orientation: str = "LPS"
    """Canonical axes as three letters for x, y, z in SimpleITK's sense; LPS is the DICOM order.
    Empty: the axes as stored."""
    transpose: Size = (0, 1, 2)
    """Which axis (0 depth, 1 height, 2 width) becomes depth, height, width of model space."""
    crop: Literal["none", "nonzero", "body"] = "none"
    """Cut empty borders before the network: none, nonzero (zero voxels), body (HU <= -500)."""
    crop_margin: int = 3
    """Voxels left around what the crop keeps."""
    keeps_depth: bool = False
    """Depth keeps the volume's own voxel size, for networks of slices."""
    resampling: InterpolationConfig = InterpolationConfig()
    """Interpolation of the intensities."""
    restoring: InterpolationConfig = InterpolationConfig()
    """Interpolation of the network's logits on the way back; of order 0 or 1."""
    decision: Literal["highest", "regions"] = "highest"
    """highest: the class with the highest logit. regions: every output is a region that may overlap
    others, painted in order of the labels where its logit is above zero; there is no background."""
    padding: Padding = "edge"
    """What lies around a volume that is smaller than the window."""
    windows: Literal["stepped", "even", "distinct"] = "stepped"
    """stepped: windows follow each other at one distance, the last ones are moved back, which can
    lead to several in one place. distinct: the same, each place once. even: spread evenly."""
    window_weights: Literal["gaussian", "constant", "gaussian-cut"] = "gaussian"
    """How the voxels of a window count. gaussian-cut: at least a thousandth of the middle."""
    monai_steps: tuple[dict[str, Any], ...] = ()
    """Steps of a bundle in MONAI's form, in their order; crop, intensity and voxel size then stand
    in them."""
    scores: Literal["logits", "softmax", "sigmoid"] = "logits"
    """What is interpolated on the way back."""
    decides_first: bool = False
    """Labels are decided and cleaned on the grid of the model, the nearest one is taken back."""
    overlap: float = 0.5
    """Overlap of neighbouring windows as a fraction of the patch unless the user chooses."""
    skips_air: bool = True
    """Windows in the air around the patient of a CT are not all computed."""
    previous_labels: tuple[int, ...] = ()
    """Labels of the model before this one in a cascade; each is one more input channel."""
    previous_resampling: InterpolationConfig | None = None
    """Interpolation of these labels, each as a volume of ones and zeros; that of the intensities,
    but linear instead of cubic, when not given."""
    previous_choice: Literal["nearest", "lowest", "above-half"] = "nearest"
    """Which of these labels a voxel takes: the one with the highest value, and of equal ones that
    of the nearest voxel or the lowest; or the last one above a half."""
    patch_size: Size = (64, 128, 128)
    """Window of the network in voxels of the model space."""
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    """Axes (0 depth, 1 height, 2 width) along which the model was trained on mirrored volumes."""

    def __post_init__(self) -> None:
        problems = range_problems(self)
        if len(self.intensity) != len(self.channels):
            problems.append(
                f"{len(self.intensity)} intensity schemes for {len(self.channels)} channels"
            )
        if self.orientation and sorted(self.orientation) not in _AXES:
            problems.append(f"orientation is {self.orientation!r}, three letters were expected")
        if sorted(self.transpose) != [0, 1, 2]:
            problems.append(f"transpose is {self.transpose}, it must hold 0, 1 and 2")
        if self.restoring.order == 3 or self.restoring.order_across == 3:
            problems.append("logits are restored with order 0 or 1 only")
        raise_problems(problems, "Correct the preprocessing settings.")

    @property
    def directions(self) -> str:
        """Letters of the body along depth, height and width of model space; empty as stored."""
        letters = self.orientation[::-1]
        return "".join(letters[axis] for axis in self.transpose) if letters else ""

    @property
    def is_regional(self) -> bool:
        """Whether every output of the network is a region that may overlap others."""
        return self.decision == "regions"

    @property
    def input_channels(self) -> int:
        """Channels of the network's input."""
        return len(self.channels) + len(self.previous_labels)


@dataclass(frozen=True)
class Code:
    """A coded concept, as DICOM writes it."""

    value: str
    """Code, such as ``10200004``."""
    scheme: str
    """Coding scheme, such as ``SCT`` for SNOMED CT."""
    meaning: str
    """Plain words, such as ``Liver``."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """One foreground class: how it is called, shown, coded and cleaned up."""

    value: int
    """Integer in the label map, 1 and up."""
    name: str
    """Name for people, unique in the model."""
    color: tuple[int, int, int] = (128, 174, 128)
    """Red, green, blue, 0 to 255."""
    category: Code = Code("85756007", "SCT", "Tissue")
    """Segmented property category."""
    type: Code = Code("85756007", "SCT", "Tissue")
    """Segmented property type."""
    modifier: Code | None = None
    """Modifier of the type, such as left or right."""
    keep_largest: bool = False
    """Keep only the largest connected component."""
    min_volume_mm3: float = 0.0
    """Remove connected components smaller than this."""
    fill_holes: bool = False
    """Fill cavities that the label encloses."""

    def __post_init__(self) -> None:
        raise_problems(range_problems(self), "Correct the label.")
