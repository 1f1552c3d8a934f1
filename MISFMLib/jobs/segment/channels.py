"""Cases of a folder whose channels are files of their own, named as nnU-Net names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from MISFMLib.errors import DataError
from MISFMLib.volumes.case_names import case_name
from MISFMLib.volumes.channel_files import channels_by_name

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def channels_together(paths: Sequence[Path], num_channels: int) -> Iterator[tuple[Path, ...]]:
    """Put the files case_0000, case_0001, … of a folder together; other files stay alone.

    Args:
        paths: Volumes of one folder.
        num_channels: Channels of a case; with one every file is a case.

    Raises:
        DataError: A case has other channels.
    """
    if num_channels == 1:
        yield from ((path,) for path in paths)
        return
    known = set(paths)
    groups: dict[Path, dict[int, Path]] = {}
    for path in paths:
        match = _CHANNEL.fullmatch(case_name(path))
        case = path.with_name(match[1]) if match else path
        groups.setdefault(case, {})[int(match[2]) if match else 0] = path
    for case, channels in groups.items():
        if len(channels) == 1 and case in known:
            yield (case,)
        elif sorted(channels) != list(range(num_channels)):
            raise DataError(
                f"{case.name} has the channels {', '.join(map(str, sorted(channels)))}; 0 to "
                f"{num_channels - 1} were expected.",
                code="channel-count",
                remedy="Give every case one file per channel, named case_0000, case_0001, …",
            )
        else:
            yield tuple(channels[number] for number in range(num_channels))


def doubts_of_order(files: Sequence[Path], channels: Sequence[str]) -> str:
    """Return what is odd about the files of a case whose names tell another order, or nothing."""
    told = channels_by_name(files, channels)
    if told == sorted(told):
        return ""
    names = ", ".join(channels[index] for index in told)
    return (
        f"By their names the files are {names}; they are taken as {', '.join(channels)}, in the "
        "order of the model. If the names are right, give them in that order."
    )


def check_channels(channels: Sequence[Path], num_channels: int) -> None:
    """Refuse a case with another number of files than the model has channels.

    Raises:
        DataError: The numbers differ.
    """
    if len(channels) != num_channels:
        raise DataError(
            f"{len(channels)} channels were given, the model expects {num_channels}: "
            f"{', '.join(path.name for path in channels)}.",
            code="channel-count",
            remedy="Join one file per channel by commas, in the model's order.",
        )
