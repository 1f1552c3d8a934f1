"""The tasks of TotalSegmentator as a table, and where its weights lie; needs no torch.

Its weights are results folders of nnU-Net v2. Nothing of its package is imported or called.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from MISFMLib.configs import decode
from MISFMLib.resources import resource_path

LICENCE_PAGE = "https://backend.totalsegmentator.com/license-academic/"
_RELEASES = "https://github.com/wasserth/TotalSegmentator/releases/download"
_NON_COMMERCIAL = "brain_aneurysm"


@dataclass(frozen=True, kw_only=True)
class TotalTask:
    """One task with one resolution."""

    name: str
    """Name of the model here."""
    task: str
    """Name of the task there."""
    mode: str
    """default, fast or fastest."""
    folders: tuple[str, ...]
    """Results folders, also the names of the zips; the labels of later ones go over earlier ones.
    """
    release: str = ""
    """Release that the zips belong to; empty for those that need a licence number."""
    configuration: str
    """Configuration of nnU-Net."""
    trainer: str
    """Trainer of nnU-Net."""
    spacing_xyz: tuple[float, float, float] | None = None
    """Voxel size in mm that volumes are resampled to before nnU-Net sees them; None for none."""
    labels: tuple[str, ...]
    """Names of the structures in the order of their numbers."""
    values: tuple[int, ...] | None = None
    """Their numbers; 1, 2, ... when not given."""
    region: tuple[str, ...] = ()
    """Structures around which the task looks; everywhere when empty."""
    rough: str = ""
    """Name of the model here that finds those, or without a region those that are asked for."""
    margin_mm: float = 0.0
    """Margin of the box around them."""
    needs_licence: bool
    """Whether the weights are given out for a licence number only."""
    size_bytes: int | None = None
    """Size of the download, about; None when unknown."""

    @property
    def urls(self) -> list[str]:
        """Addresses of the zips."""
        return [f"{_RELEASES}/{self.release}/{folder}.zip" for folder in self.folders]

    @property
    def words(self) -> str:
        """Name for people."""
        mode = "" if self.mode == "default" else f" ({self.mode})"
        return self.task.replace("_", " ") + mode

    @property
    def resolution(self) -> str:
        """Voxel size for people."""
        if self.spacing_xyz is None:
            return ""
        edges = list(dict.fromkeys(f"{edge:.2g}" for edge in self.spacing_xyz))
        return f" at {' x '.join(edges)} mm"

    @property
    def license(self) -> str:
        """Licence of the weights."""
        if self.needs_licence:
            return f"needs a licence number of TotalSegmentator, see {LICENCE_PAGE}"
        return "CC-BY-NC-4.0" if self.task == _NON_COMMERCIAL else "Apache-2.0"

    @property
    def overlap(self) -> float:
        """Overlap of windows: the large models are run with a step of 0.8, the others of 0.5."""
        return 0.2 if self.task.startswith("total") else 0.5

    def value_of(self, label: str) -> int | None:
        """Return the number of a structure."""
        if label not in self.labels:
            return None
        index = self.labels.index(label)
        return index + 1 if self.values is None else self.values[index]


@lru_cache(maxsize=1)
def read_tasks() -> tuple[TotalTask, ...]:
    """Return all tasks."""
    content = json.loads(resource_path("totalsegmentator.json").read_text("utf-8"))
    return tuple(decode(TotalTask, entry) for entry in content["models"])


def find_task(name: str) -> TotalTask | None:
    """Return the task of a model's name."""
    return next((task for task in read_tasks() if task.name == name), None)


def weights_folders() -> list[Path]:
    """Return the folders in which TotalSegmentator keeps its weights, as far as they are there."""
    folders = []
    if os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        folders.append(Path(os.environ["TOTALSEG_WEIGHTS_PATH"]))
    home = os.environ.get("TOTALSEG_HOME_DIR")
    base = Path(home) if home else _home() / ".totalsegmentator"
    folders.append(base.expanduser() / "nnunet" / "results")
    return [folder for folder in folders if folder.is_dir()]


def _home() -> Path:
    """Return the user's folder; in containers without one TotalSegmentator writes to /tmp."""
    return Path("/tmp") if Path.home() == Path("/") else Path.home()


def installed_folders(folder: str) -> list[Path]:
    """Return where a results folder may lie that TotalSegmentator has downloaded.

    Like nnU-Net it goes by the number of the data set; the words behind it differ in some releases.

    Args:
        folder: Its name in the table, which is looked for first.
    """
    number = folder.split("_", 1)[0]
    return [
        found
        for place in weights_folders()
        for found in (place / folder, *sorted(place.glob(f"{number}_*")))
        if found.is_dir()
    ]
