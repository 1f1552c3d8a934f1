"""Volumes below a folder: volume files and DICOM folders, linked ones included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from MISFMLib.files import real_path
from MISFMLib.volumes.dicom import is_series_folder
from MISFMLib.volumes.formats.problems import file_missing
from MISFMLib.volumes.suffixes import volume_suffix


def find_volumes(folder: Path) -> list[Path]:
    """Return the volume files and DICOM folders below a folder, sorted; hidden ones are left out.

    Raises:
        DataError: The folder does not exist.
    """
    if not folder.is_dir():
        raise file_missing(folder)
    return sorted(_volumes_below(folder))


def _volumes_below(folder: Path) -> Iterator[Path]:
    # Linked folders belong to a cohort too; one that leads back to its parents does not.
    seen = {str(parent) for parent in real_path(folder).parents}
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in seen
        ]
        files = [Path(place, name) for name in names if not name.startswith(".")]
        # Also links that lead nowhere and the like: what is wrong is told when they are read.
        volumes = [file for file in files if volume_suffix(file)]
        yield from volumes
        # Looking into 100 000 volume files for one in DICOM would take longer than finding them.
        if len(volumes) < len(files) and is_series_folder(Path(place)):
            yield Path(place)
