"""The range of every number that a setting may hold, one per name.

Options, job files and manifests become the same dataclasses, which all look here: nan, infinity and
numbers beyond any machine are refused wherever they come from. `Testing/Library/test_ranges.py`
fails for a numeric field that has no range.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Range:
    """Which numbers are allowed."""

    low: float
    high: float
    above: bool = False
    """Whether `low` itself is not allowed."""
    below: bool = False
    """Whether `high` itself is not allowed."""

    def holds(self, value: float) -> bool:
        """Tell whether a number is allowed; nan never is."""
        is_high_enough = value > self.low if self.above else value >= self.low
        return is_high_enough and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:.12g}" if self.above else f"at least {self.low:.12g}"
        return f"{low} and {'below' if self.below else 'at most'} {self.high:.12g}"


_COUNT = Range(1, 10**9)
_EDGE = Range(1, 4096)
_EDGE_OR_NONE = Range(0, 4096)
_PART = Range(0, 1)
_MILLIMETRES = Range(1e-3, 1e3)
RANGES: dict[str, Range] = {
    # networks
    "in_channels": Range(1, 256),
    "num_classes": Range(1, 2**16),
    "level_channels": Range(1, 2**14),
    "resolution_mode": Range(0, 2),
    "dropout": Range(0, 1, below=True),
    "depths": Range(0, 64),
    "num_heads": Range(0, 1024),
    "window_sizes": Range(0, 64),
    "patch_size": _EDGE,
    "kernels": Range(0, 31),
    "strides": Range(0, 31),
    "blocks": Range(0, 128),
    "decoder_blocks": Range(0, 128),
    "norm_eps": Range(0, 1),
    "slope": Range(-10, 10),
    "members": Range(1, 100),
    # model space and labels
    "clip": Range(-1e9, 1e9),
    "mean": Range(-1e9, 1e9),
    "std": Range(0, 1e9, above=True),
    "spacing_dhw": _MILLIMETRES,
    "mirror_axes": Range(0, 2),
    "transpose": Range(0, 2),
    "order": Range(0, 3),
    "order_across": Range(0, 3),
    "crop_margin": _EDGE_OR_NONE,
    "previous_labels": Range(0, 2**16 - 1),
    "value": Range(0, 2**16 - 1),
    "color": Range(0, 255),
    "min_volume_mm3": Range(0, 1e12),
    # segmenting
    "overlap": Range(0, 1, below=True),
    "batch_size": Range(1, 2**16),
    "threads": Range(1, 1024),
    # training
    "validation_fraction": _PART,
    "steps": _COUNT,
    "minutes": Range(0, 1e7, above=True),
    "patience": _COUNT,
    "accumulate": Range(1, 2**16),
    "recompute_levels": Range(0, 5),
    "learning_rate": Range(0, 1e3, above=True),
    "weight_decay": Range(0, 1e3),
    "gradient_clip": Range(0, 1e30, above=True),
    "validate_every": _COUNT,
    "checkpoint_every": _COUNT,
    "devices": Range(1, 1024),
    "seed": Range(0, 2**32 - 1),
    "warm_up_steps": Range(0, 10**9),
    "layer_decay": Range(0, 1, above=True),
    "foreground_share": _PART,
    "num_levels": Range(1, 255),
    "smallest_block": _EDGE,
    "largest_block": _EDGE,
    "fraction": Range(0, 1, above=True),
    "halve_every": _COUNT,
    # preparing and quantizing
    "min_edge": _EDGE,
    "max_spacing_mm": Range(0, 1e3, above=True),
    "workers": Range(0, 1024),
    "calibration_cases": Range(1, 10**6),
    # commands
    "idle_minutes": Range(0, 1e6, above=True),
}


def range_problems(config: Any) -> list[str]:
    """Name the numbers of a config that are outside their range."""
    return [
        f"{name} is {getattr(config, name)}, it must be {RANGES[name]}"
        for name in numeric_fields(config.__class__)
        if not all(map(RANGES[name].holds, _numbers(getattr(config, name))))
    ]


@cache
def numeric_fields(config_class: Any) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass that hold numbers, alone or in tuples."""
    hints = typing.get_type_hints(config_class)
    fields = dataclasses.fields(config_class)
    return tuple(field.name for field in fields if _is_numeric(hints[field.name]))


def _is_numeric(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, tuple):
        return any(map(_is_numeric, arguments))
    if origin is typing.Literal:
        return all(isinstance(argument, int) for argument in arguments)
    return hint in (int, float)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value
    elif value is not None:
        yield math.nan  # which is in no range
