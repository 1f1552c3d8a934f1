"""Names of cases: the file's own where that is enough, else with the folders that differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from MISFMLib.volumes.suffixes import volume_suffix


def case_name(path: Path) -> str:
    """Return the name of a file without its volume suffix, or the name of a folder."""
    suffix = volume_suffix(path) or (".dcm" if path.name.lower().endswith(".dcm") else "")
    return path.name[: len(path.name) - len(suffix)]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name every path after its file, and where names repeat after what tells the paths apart.

    ``PA000001/ST000001/SE000001`` and ``PA000002/ST000001/SE000001``, as on the discs of hospitals,
    become ``PA000001_SE000001`` and ``PA000002_SE000001``.

    Args:
        paths: Volume files or DICOM folders.

    Returns:
        A name for each path; equal ones only for equal paths, or files that differ in suffix alone.
    """
    names = [case_name(path) for path in paths]
    if len(set(names)) == len(names) and "" not in names and ".." not in names:
        return names
    absolute = [path.absolute() for path in paths]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(absolute):
        groups[case_name(path)].append(index)
    names = [case_name(path) for path in absolute]
    for name, indices in groups.items():
        if len(indices) > 1:
            folders = [absolute[index].parent.parts for index in indices]
            for index, telling in zip(indices, _telling_parts(folders), strict=True):
                names[index] = "_".join([*telling, name])
    if len(set(names)) < len(names):  # joined names can coincide: a_b/c and a/b_c
        names = ["_".join([*_below_common(absolute, path), case_name(path)]) for path in absolute]
    return names


def without_channel(names: Sequence[str]) -> list[str]:
    """Return the names of cases without the number of their first channel, where all have it."""
    stems = [name.removesuffix("_0000") for name in names]
    return stems if all(map(str.__ne__, stems, names)) else list(names)


def _telling_parts(folders: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Return the parts in which paths differ; all behind the common beginning if lengths differ."""
    start = len(_common_start(folders))
    if len({len(parts) for parts in folders}) > 1:
        return [list(parts[start:]) for parts in folders]
    differing = [
        level
        for level in range(start, len(folders[0]))
        if len({parts[level] for parts in folders}) > 1
    ]
    return [[parts[level] for level in differing] for parts in folders]


def _common_start(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)


def _below_common(paths: Sequence[Path], path: Path) -> tuple[str, ...]:
    start = len(_common_start([other.parent.parts for other in paths]))
    return path.parent.parts[start:]
