"""What is known about a labelled data set: its cases, labels, channels and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Case:
    """Files of one labelled subject, and how to read them."""

    name: str
    """Unique in the data set."""
    images: tuple[Path, ...]
    """One volume per channel, or one file that holds them all."""
    label: Path
    """Label map, or a folder with one mask per structure, named after it."""
    num_channels: int = 1
    """Channels of all images together."""
    unlabelled: int | None = None
    """Value in the label map of voxels that nobody labelled; they are neither learnt nor scored."""
    not_drawn: tuple[int, ...] = ()
    """Labels that nobody has drawn in this case: background there may be any of them."""
    label_names: Mapping[int, str] = field(default_factory=dict)
    """Value and name of the data set's labels; empty where they go by value alone."""


@dataclass(frozen=True)
class Split:
    """Names of the cases to learn from and of those that are held out."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Cases of a data set and what is known about them."""

    cases: tuple[Case, ...]
    """In the order of their names."""
    label_names: Mapping[int, str]
    """Foreground value to name; empty when the data set does not name them."""
    channels: tuple[str, ...] = ("image",)
    """Name of every channel, in the network's order."""
    modality: Literal["CT", "MR", ""] = ""
    """CT, MR, or empty when unknown or when channels have several."""
    split: Split | None = None
    """The data set's own split."""
    unpaired: tuple[Path, ...] = ()
    """Images without label map and label maps without image."""
    notices: tuple[str, ...] = ()
    """What was decided while the data set was read, and its user may not expect."""
    names_of_segments: bool = False
    """Whether the names come from the segments in the label maps' own files."""
