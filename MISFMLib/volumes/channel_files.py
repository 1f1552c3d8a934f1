"""Which files are the volumes of one case, told by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.volumes.case_names import case_name

_NUMBER = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class FileCase:
    """The files of one case."""

    name: str
    files: tuple[Path, ...]
    """One for each channel, in their order."""


def cases_of_files(
    paths: Sequence[Path], channels: Sequence[str]
) -> tuple[list[FileCase], list[Path]]:
    """Put files together that are the volumes of one case.

    The name of a file says which channel it is: by the words of the channel (a_T1, a_T2), else by
    its number as nnU-Net has it (a_0000, a_0001), and the rest of the name is the case; where
    nothing is left (a/T1, a/T2) the folder names it. So T1_0001 and T2_0001 are one patient's.

    Args:
        paths: Volume files.
        channels: Names of the channels; with one every file is a case.

    Returns:
        The cases in the order of their first files, and files whose case is not whole.
    """
    if len(channels) == 1:
        return [FileCase(case_name(path), (path,)) for path in paths], []
    cases, alone = _grouped(paths, channels, _by_words)
    numbered, alone = _grouped(alone, channels, _by_number)
    cases += numbered
    place = {path: index for index, path in enumerate(paths)}
    return sorted(cases, key=lambda case: min(map(place.__getitem__, case.files))), alone


def channels_by_name(paths: Sequence[Path], channels: Sequence[str]) -> list[int]:
    """Return which channel each file of a case is by its name; as given where they do not say."""
    as_given = list(range(len(channels)))
    for parts in (_by_words, _by_number):
        told = [parts(case_name(path), channels)[1] for path in paths]
        if sorted(told) == as_given:
            return told
    return as_given


def _grouped(
    paths: Sequence[Path],
    channels: Sequence[str],
    parts: Callable[[str, Sequence[str]], tuple[str, int]],
) -> tuple[list[FileCase], list[Path]]:
    groups: dict[tuple[Path, str], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        name, channel = parts(case_name(path), channels)
        groups[path.parent, name][channel].append(path)
    cases, alone = [], []
    for (folder, name), found in groups.items():
        files = [path for of_channel in found.values() for path in of_channel]
        if sorted(found) == list(range(len(channels))) and len(files) == len(channels):
            whole = tuple(found[index][0] for index in range(len(channels)))
            cases.append(FileCase(name or folder.name or "case", whole))
        else:
            alone += files
    return cases, alone


def _by_number(name: str, channels: Sequence[str]) -> tuple[str, int]:
    """Return the name of the case and the number of the channel, -1 when the name tells none."""
    numbered = _NUMBER.fullmatch(name)
    if numbered and int(numbered[2]) < len(channels):
        return numbered[1], int(numbered[2])
    return name, -1


def _by_words(name: str, channels: Sequence[str]) -> tuple[str, int]:
    """Return the name of the case and the number of the channel, -1 when the name tells none."""
    parts = re.findall(r"[^\W_]+", name)
    words = [part.casefold() for part in parts]
    wanted = [re.findall(r"[^\W_]+", channel.casefold()) for channel in channels]
    matching = [i for i, each in enumerate(wanted) if each and all(word in words for word in each)]
    if not matching:
        return name, -1
    channel = max(matching, key=lambda index: len(wanted[index]))  # "T1 Gd" before "T1"
    rest = [part for part in parts if part.casefold() not in wanted[channel]]
    return "_".join(rest), channel
